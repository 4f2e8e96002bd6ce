"""M102, activations streamed: elementwise operators on tensors far larger than the cache, one after the other.

There are no weights to speak of (not M101), few operators (not C105) and one floating-point operation for 8 to 12 bytes.
"""

from functools import partial

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ALL_THREADS, CORES, convolutions
from bench.plants.graphs import blend, networks
from bench.plants.preparing import app, model

ELEMENTWISE = story(
    "M102",
    "develop",
    "elementwise",
    fault=Case(
        model(partial(networks.elementwise, 8, 16_000_000), options=ALL_THREADS),
        expect("M102", where="model", absent="C101 C105 C106 C107 M101 M104 M107"),
        "eight operators over 64 MB",
    ),
    healthy=Case(
        model(partial(networks.elementwise, 1000, 8192), options=ALL_THREADS),
        expect(where="model", absent="M101 M102"),
        "a thousand of them over 32 kB, which stay in the first caches",
    ),
    lookalike=Case(
        model(partial(networks.tiny_operators, 2000), options=ALL_THREADS),
        expect("C105", where="model", absent="M102 M101"),
        "the same operators, tiny",
    ),
)

BLEND = story(
    "M102", "test", "blend",
    fault=Case(
        app("model_service", network=partial(blend, 1080, 1920), THREADS=CORES, REQUESTS=2),
        expect("M102", where="model", absent="C101 C105 C106 M101 M107"),
        "compositing of full HD frames in float32, 25 MB each, three frames in and four layers",
    ),
    healthy=Case(
        app("model_service", network=partial(blend, 64, 64, 100), THREADS=CORES),
        expect(where="model", absent="M102 M101"),
        "a hundred layers on thumbnails, which stay in the cache",
    ),
    lookalike=Case(
        app("model_service", network=convolutions(2, 64, 112), THREADS=CORES),
        expect("C101", where="model", absent="M102"),
        "large activations as well, but each number of them costs 1,152 operations",
    ),
)  # fmt: skip

PLANTS = (*ELEMENTWISE, *BLEND)
