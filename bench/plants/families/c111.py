"""C111, denormal floats: signals that have faded to 1e-40, and weights of that size.

Shapes and operators are the same; processors differ in how much longer they take, some hardly at all.
"""

from __future__ import annotations

import functools
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.plants.contract import Case, expect, story
from bench.plants.graphs import networks
from bench.plants.preparing import app, model

ROUNDS, TIMES_SLOWER = 5, 1.3
SMALL, USUAL = 1e-40, 0.5


@functools.cache
def slow_denormals() -> str | None:
    """Whether this processor takes longer for denormals in the operator that the plants use."""
    import onnxruntime

    session = onnxruntime.InferenceSession(normalised(4, USUAL).SerializeToString(), providers=["CPUExecutionProvider"])
    seconds = []
    for scale in (USUAL, SMALL):
        feed = {"x": np.full((1, 64, 64, 64), scale, np.float32)}
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            session.run(None, feed)
            times.append(time.perf_counter() - start)
        seconds.append(min(times))
    return None if seconds[1] > TIMES_SLOWER * seconds[0] else "this processor is as fast on denormals"


def normalised(steps: int, scale: float) -> onnx.ModelProto:
    """A chain of squashing steps behind a gain of `scale`, on images of 64 channels."""
    nodes = [helper.make_node("Mul", ["x", "gain"], ["y0"])]
    nodes += [helper.make_node("Tanh", [f"y{n}"], [f"y{n + 1}"]) for n in range(steps)]
    shape = [1, 64, 64, 64]
    graph = helper.make_graph(
        nodes,
        "normalised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"y{steps}", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.full((64, 1, 1), scale, np.float32), "gain")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


SIGNALS = story(
    "C111",
    "develop",
    "signals",
    fault=Case(
        app("fading_state", SCALE=SMALL),
        expect("C111", where="model"),
        "signals that have faded to 1e-40 in a chain of operators that are slow on such values",
        slow_denormals,
    ),
    healthy=Case(
        app("fading_state", SCALE=SMALL, AS_ZERO=True),
        expect(absent="C111"),
        "the same signals, taken for zero",
        slow_denormals,
    ),
    lookalike=Case(
        app("fading_state", STEPS=24),
        expect(absent="C111"),
        "as slow, by twice as many operators on signals of usual loudness",
        slow_denormals,
    ),
)

WEIGHTS = story(
    "C111", "test", "weights",
    fault=Case(
        model(lambda: normalised(12, SMALL), options="--set intra_op_threads=2"),
        expect("C111", where="model"),
        "a gain of 1e-40 that training drove towards zero, on two threads",
        slow_denormals,
    ),
    healthy=Case(
        model(lambda: normalised(12, USUAL), options="--set intra_op_threads=2"), expect(absent="C111"), "a usual gain",
    ),
    lookalike=Case(
        model(lambda: networks.conv3x3(4), options="--set intra_op_threads=1"),
        expect("C101", where="model", absent="C111"),
        "as much time on CPU, in arithmetic that must be done",
    ),
)  # fmt: skip

PLANTS = (*SIGNALS, *WEIGHTS)
