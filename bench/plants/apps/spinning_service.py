"""A classifier on a session with a pool of threads, and perhaps a thread that keeps an index fresh."""

from __future__ import annotations

import threading
import zlib
from pathlib import Path

import numpy as np
import onnxruntime as ort

from pinchpoint.stages import stage

THREADS = 2  # of the session's pool
SPINNING = True  # as the runtime does by default
REFRESH = False

OPTIONS = ort.SessionOptions()
OPTIONS.intra_op_num_threads = THREADS
OPTIONS.add_session_config_entry("session.intra_op.allow_spinning", str(int(SPINNING)))
SESSION = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), OPTIONS, providers=["CPUExecutionProvider"])
NAME = SESSION.get_inputs()[0].name


def _refresh() -> None:
    block = bytes(1 << 20)
    while True:
        zlib.crc32(block)


if REFRESH:
    threading.Thread(target=_refresh, daemon=True).start()


def handle(image: np.ndarray) -> float:
    """The highest score."""
    with stage("model"):
        (scores,) = SESSION.run(None, {NAME: image})
    return float(scores.max())


def example_inputs() -> list[np.ndarray]:
    """Random images."""
    shape = [size if isinstance(size, int) else 1 for size in SESSION.get_inputs()[0].shape]
    random = np.random.default_rng(0)
    return [random.standard_normal(shape, dtype=np.float32) for _ in range(4)]
