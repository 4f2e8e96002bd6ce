"""A filter bank whose state fades: gains and a chain of squashing, on values that may be all but zero."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from pinchpoint.stages import stage

SCALE = 1.0  # of the values that come in
STEPS = 12
AS_ZERO = False

WIDTH = 1 << 17
NODES = [helper.make_node("Tanh", [f"x{n}"], [f"x{n + 1}"]) for n in range(STEPS)]
GRAPH = helper.make_graph(
    NODES,
    "filters",
    [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, WIDTH])],
    [helper.make_tensor_value_info(f"x{STEPS}", TensorProto.FLOAT, [1, WIDTH])],
)
MODEL = helper.make_model(GRAPH, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString()
OPTIONS = ort.SessionOptions()
OPTIONS.intra_op_num_threads = 1
OPTIONS.add_session_config_entry("session.set_denormal_as_zero", str(int(AS_ZERO)))
SESSION = ort.InferenceSession(MODEL, OPTIONS, providers=["CPUExecutionProvider"])


def handle(signal: np.ndarray) -> float:
    """The largest response."""
    with stage("model"):
        (out,) = SESSION.run(None, {"x0": signal})
    return float(out[0, 0])


def example_inputs() -> list[np.ndarray]:
    """Random signals of one loudness."""
    random = np.random.default_rng(0)
    return [(random.uniform(0.5, 1.0, (1, WIDTH)) * SCALE).astype(np.float32) for _ in range(8)]
