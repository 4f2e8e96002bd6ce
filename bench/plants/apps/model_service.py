"""Serves one ONNX model: arrays in, arrays out; how its session is set up comes from the deployment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

THREADS = 0  # 0: as many as the runtime likes
OPTIMISE = True
REQUESTS = 8
ROWS = 1  # what a free dimension is bound to

Feed = dict[str, NDArray[np.generic]]


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if OPTIMISE else level.ORT_DISABLE_ALL
    return options


MODEL = Path(__file__).with_name("model.onnx")
SESSION = ort.InferenceSession(str(MODEL), _options(), providers=["CPUExecutionProvider"])


def handle(feed: Feed) -> list[float]:
    """One prediction, summarised so that the answer is small."""
    (answer,) = SESSION.run(None, feed)[:1]
    return answer.reshape(-1)[:10].tolist()


def example_inputs() -> list[Feed]:
    """Random requests of the model's own shapes; whole numbers are token or row ids."""
    random = np.random.default_rng(7)
    return [{item.name: _values(item, random) for item in SESSION.get_inputs()} for _ in range(REQUESTS)]


def _values(item: ort.NodeArg, random: np.random.Generator) -> NDArray[np.generic]:
    shape = [size if isinstance(size, int) else ROWS for size in item.shape]
    if item.type == "tensor(int64)":
        return random.integers(0, 2, shape)
    return random.standard_normal(shape, dtype=np.float32)
