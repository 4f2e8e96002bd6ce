"""Prepares large camera frames for a model: float arithmetic on the whole frame, one numpy expression after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pinchpoint.stages import stage

REUSE = False  # write each step into one buffer
GAMMA = 0.0  # a power of each pixel as well
SHAPE = (2160, 2048, 3)
THREADS = 0

_options = ort.SessionOptions()
_options.intra_op_num_threads = THREADS
SESSION = ort.InferenceSession(
    str(Path(__file__).with_name("model.onnx")), _options, providers=["CPUExecutionProvider"]
)
BUFFER = np.empty(SHAPE, np.float32)


@stage
def preprocess(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Black level, gain, offset; a coarse grid of the result goes to the model."""
    if REUSE:
        out = BUFFER
        np.subtract(frame, np.float32(16), out=out)
        np.multiply(out, np.float32(1 / 219), out=out)
        np.add(out, np.float32(0.01), out=out)
    else:
        out = (frame - np.float32(16)) * np.float32(1 / 219) + np.float32(0.01)
    if GAMMA:
        np.power(out, np.float32(GAMMA), out=out)
    return out.reshape(-1)[: 16 * 1024].reshape(16, 1024)


def handle(frame: NDArray[np.float32]) -> float:
    """How much there is to see in the frame."""
    features = preprocess(frame)
    with stage("model"):
        (answer,) = SESSION.run(None, {"x": features})
    return float(answer.mean())


def example_inputs() -> list[NDArray[np.float32]]:
    """Two frames, as the capture library hands them over."""
    random = np.random.default_rng(0)
    return [random.uniform(16, 235, SHAPE).astype(np.float32) for _ in range(2)]
