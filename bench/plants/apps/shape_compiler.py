"""A sequence scorer that plans its work for each length of input, and remembers the plans."""

from __future__ import annotations

import time

import numpy as np

from pinchpoint.stages import stage

PLAN_MS = 30  # of CPU time to plan for a length that did not come before; 0: nothing to plan
LENGTHS = 60  # how many lengths there are among the requests
REQUESTS = 900
BY_VALUE = False  # answers are remembered by what was asked, not plans by its shape
LARGE = False  # lengths that are rare are also large

PLANS: dict[object, np.ndarray] = {}
WEIGHTS = np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32)


def _work(milliseconds: float) -> None:
    end = time.thread_time() + milliseconds / 1e3
    while time.thread_time() < end:
        pass


@stage("preprocess")
def planned(sequence: np.ndarray) -> np.ndarray:
    """The plan for a sequence of this length."""
    key: object = sequence.tobytes() if BY_VALUE else sequence.shape
    if key not in PLANS:
        if PLAN_MS:
            _work(PLAN_MS)
        PLANS[key] = WEIGHTS
    return PLANS[key]


def handle(sequence: np.ndarray) -> float:
    """The score of a sequence."""
    plan = planned(sequence)
    with stage("model"):
        _work(len(sequence) / 50)
        return float((sequence @ plan).max())


def example_inputs() -> list[np.ndarray]:
    """Sequences of 50 steps and more; each length but the first comes first somewhere in the list, and then again."""
    random = np.random.default_rng(0)
    every = max(REQUESTS // LENGTHS, 1)
    found = []
    for number in range(REQUESTS):
        known = int(random.integers(0, number // every + 1)) if number % 3 else 0
        extra = number // every if number % every == every - 1 or LENGTHS >= REQUESTS else known
        steps = 50 + extra * (20 if LARGE else 1) % (600 if LARGE else 1000)
        found.append(random.standard_normal((steps, 256), dtype=np.float32))
    return found
