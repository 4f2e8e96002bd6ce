"""Recommendations from an in-memory catalogue that a background thread refreshes, both under one lock."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from pinchpoint.stages import stage

REFRESH = "under lock"  # or "swap": fetch first, then exchange the reference
FETCH_S = 0.012
PAUSE_S = 0.0002  # shorter than any request, so that each of them meets the lock

SESSION = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
LOCK = threading.Lock()
CATALOGUE = {"items": np.random.default_rng(0).standard_normal((64, 1024), dtype=np.float32)}


def _fetched() -> np.ndarray:
    time.sleep(FETCH_S)  # the catalogue's database takes its time
    return CATALOGUE["items"]


def _keep_fresh() -> None:
    while True:
        if REFRESH == "under lock":
            with LOCK:
                CATALOGUE["items"] = _fetched()
        else:
            fresh = _fetched()
            with LOCK:
                CATALOGUE["items"] = fresh
        time.sleep(PAUSE_S)


threading.Thread(target=_keep_fresh, name="refresh", daemon=True).start()


@stage("catalogue")
def catalogue() -> np.ndarray:
    """The catalogue as of now."""
    with LOCK:
        return CATALOGUE["items"]


def handle(user: int) -> int:
    """The best item for a user."""
    items = catalogue()
    with stage("model"):
        (scores,) = SESSION.run(None, {"x": items})
    return int((scores[:, user % scores.shape[1]]).argmax())


def example_inputs() -> list[int]:
    """Users."""
    return list(range(25))
