"""C114, one operator on a slow path of the runtime: found by timing onnxruntime 1.32's CPU kernels.

Resize by cubic interpolation costs 40 times the linear one, LpPool 300 times AveragePool, MatMul on int32 20 times float32.
Not C101: these operators are far below the machine's arithmetic and bandwidth.
"""

from functools import partial

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ALL_THREADS, CORES, convolutions
from bench.plants.graphs import descriptor, one_large_convolution, quantised_by_hand, segmenter
from bench.plants.preparing import app, model

NOT_SLOW_PATH = "C101 C105 C106 M101 M102"

CUBIC = story(
    "C114",
    "develop",
    "cubic",
    fault=Case(
        model(partial(segmenter, "cubic"), options=ALL_THREADS, truth={"gain": 40}),
        expect("C114", where="model", absent=NOT_SLOW_PATH),
        "a segmentation head whose logits are enlarged by cubic interpolation, on one thread, pixel by pixel",
    ),
    healthy=Case(
        model(partial(segmenter, "linear"), options=ALL_THREADS),
        expect(where="model", absent="C114"),
        "linear interpolation: the convolutions are the time",
    ),
    lookalike=Case(
        model(one_large_convolution, options=ALL_THREADS),
        expect("C101", where="model", absent="C114"),
        "one operator is nearly all of the time too, at the speed of the machine",
    ),
)

POOLING = story(
    "C114",
    "test",
    "pooling",
    fault=Case(
        app("model_service", network=partial(descriptor, "lp", 64, 40), THREADS=CORES, truth={"gain": 5}),
        expect("C114", where="model", absent="C105 C106 M101 M102"),
        "an image descriptor with LpPool",
    ),
    healthy=Case(
        app("model_service", network=partial(descriptor, "average", 64, 40), THREADS=CORES),
        expect(where="model", absent="C114"),
        "the same sum by Mul, AveragePool, Mul and Sqrt",
    ),
    lookalike=Case(
        app("model_service", network=partial(one_large_convolution, 96, 40, 7), THREADS=CORES),
        expect("C101", where="model", absent="C114"),
        "a descriptor whose time is one 7x7 convolution at full speed",
    ),
)

INTEGERS = story(
    "C114", "test", "integers",
    fault=Case(
        app("async_service", network=partial(quantised_by_hand, True), THREADS=CORES, truth={"gain": 13}),
        expect("C114", where="model", absent="C101 C105 C106 M101 M102"),
        "a model quantised by hand to int32, for which MatMul is a plain loop on one thread",
    ),
    healthy=Case(
        app("async_service", network=partial(quantised_by_hand, False), THREADS=CORES),
        expect(where="model", absent="C114"),
        "the same whole numbers in float32, which holds them exactly",
    ),
    lookalike=Case(
        app("async_service", network=convolutions(5), THREADS=CORES),
        expect("C101", where="model", absent="C114"),
        "five operators with a fifth of the time each, at full speed",
    ),
)  # fmt: skip

PLANTS = (*CUBIC, *POOLING, *INTEGERS)
