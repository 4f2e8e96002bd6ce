"""C112, graph optimisation off where it matters: foldable weights, BatchNormalization, LayerNorm and GELU in parts.

The look-alikes have it off as well and would gain nothing, so that naming C112 there would be advice without effect.
"""

from functools import partial

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ALL_THREADS, CORES, matmuls
from bench.plants.graphs import networks, traced_transformer
from bench.plants.preparing import app, model

OFF = "--set graph_optimization=disabled"
TRACED = partial(traced_transformer, 8, 64, 1024)

CONVNET = story(
    "C112",
    "develop",
    "convnet",
    fault=Case(
        model(networks.unoptimised_convnet, options=f"{ALL_THREADS} {OFF}", truth={"gain": 7}),
        expect("C112", where="model", absent="C105 C106 M101"),
        "what a careless export leaves, with optimisation disabled",
    ),
    healthy=Case(
        model(networks.unoptimised_convnet, options=ALL_THREADS),
        expect(where="model", absent="C112"),
        "the same file with the runtime's default",
    ),
    lookalike=Case(
        model(matmuls(4, 1024), options=f"{ALL_THREADS} {OFF} --batch 64"),
        expect("C101", where="model", absent="C112"),
        "disabled too, but four products of matrices are all there is",
    ),
)

TRANSFORMER = story(
    "C112", "test", "transformer",
    fault=Case(
        app("model_service", network=TRACED, OPTIMISE=False, THREADS=CORES, truth={"gain": 2}),
        expect("C112", where="model", absent="C105 C106 M101"),
        "a service whose options disable optimisation, left over from a debugging session",
    ),
    healthy=Case(
        app("model_service", network=TRACED, THREADS=CORES),
        expect(where="model", absent="C112"),
        "the same with all optimisations",
    ),
    lookalike=Case(
        app("model_service", network=partial(networks.tiny_operators, 4000), OPTIMISE=False, THREADS=1),
        expect("C105", where="model", absent="C112 C101"),
        "disabled, with 4,000 tiny operators that no optimiser can remove",
    ),
)  # fmt: skip

PLANTS = (*CONVNET, *TRANSFORMER)
