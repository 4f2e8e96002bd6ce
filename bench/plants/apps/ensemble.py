"""An ensemble whose members run side by side, each session with its own pool of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

from pinchpoint.stages import stage

MEMBERS = 4
THREADS_EACH = 8
AT_ONCE = 4

_options = ort.SessionOptions()
_options.intra_op_num_threads = THREADS_EACH
_path = str(Path(__file__).with_name("model.onnx"))
SESSIONS = [ort.InferenceSession(_path, _options, providers=["CPUExecutionProvider"]) for _ in range(MEMBERS)]
POOL = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="member")


@stage("model")
def members(image: np.ndarray) -> list[np.ndarray]:
    """Every member's answer."""
    answers = POOL.map(lambda session: session.run(None, {"x": image})[0], SESSIONS)
    return list(answers)


def handle(image: np.ndarray) -> float:
    """The mean over the members."""
    return float(np.mean([answer.mean() for answer in members(image)]))


def example_inputs() -> list[np.ndarray]:
    """Images."""
    random = np.random.default_rng(0)
    return [random.standard_normal((1, 32, 56, 56), dtype=np.float32) for _ in range(4)]
