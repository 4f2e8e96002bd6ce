"""Click prediction: a user's history is read from a feature file, then scored. The file is far larger than memory in
production, so it is read past the page cache (DIRECT).
"""

from __future__ import annotations

import mmap
import os
import random
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pinchpoint.stages import stage

FILE = "features.bin"
DIRECT = True
RECORD = 512 * 1024  # bytes: 256 events of 512 float32
RECORDS_PER_REQUEST = 2

SESSION = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
DESCRIPTOR = os.open(FILE, os.O_RDONLY | (os.O_DIRECT if DIRECT else 0))
COUNT = os.fstat(DESCRIPTOR).st_size // RECORD
BUFFER = mmap.mmap(-1, RECORD)  # page-aligned, as direct reads ask


@stage("features")
def history(user: int) -> NDArray[np.float32]:
    """A user's events, summed over their records."""
    total = np.zeros((64, 1024), np.float32)
    for record in range(RECORDS_PER_REQUEST):
        os.preadv(DESCRIPTOR, [BUFFER], (user * 7919 + record * 104729) % COUNT * RECORD)
        total += np.frombuffer(BUFFER, np.float32, 64 * 1024).reshape(64, 1024)
    return np.nan_to_num(total, posinf=0, neginf=0).clip(-8, 8)


def handle(user: int) -> float:
    """The mean click probability of this user."""
    events = history(user)
    with stage("model"):
        (scores,) = SESSION.run(None, {"x": events})
    return float(1 / (1 + np.exp(-scores.mean())))


def example_inputs() -> list[int]:
    """Four hundred users."""
    return random.Random(0).sample(range(1_000_000), 400)
