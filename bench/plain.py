"""Plain ONNX Runtime, timed by us: what a change gains when it is made, two arms interleaved A B B A."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

Run = Callable[[], object]
Feed = Mapping[str, npt.NDArray[np.generic]]

ORDER = "ABBA"
BLOCK_S = 0.4  # long enough that the spinning threads of the other arm's pool (a few ms) are asleep for most of it
WARM_RUNS = 2  # of a block: the other arm's data are in the caches, its threads may still spin
LEAST_RUNS = 3  # of a block: a median of fewer is no median
ROUNDS = 3  # of A B B A: some 2 s an arm


def session(model: Path, *, threads: int, optimise: bool = True) -> ort.InferenceSession:
    """A session as the tool opens it with these settings."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def runner(opened: ort.InferenceSession, batch: int = 1, seed: int = 0) -> Run:
    """A call that answers one random request of so many items."""
    feed = random_feed(opened, batch, seed)
    return lambda: opened.run(None, dict(feed))


def random_feed(opened: ort.InferenceSession, batch: int, seed: int = 0) -> Feed:
    """Normal floats for every input, the free dimension being the batch."""
    rng = np.random.default_rng(seed)
    shapes = {each.name: [d if isinstance(d, int) else batch for d in each.shape] for each in opened.get_inputs()}
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def medians(first: Run, second: Run, rounds: int = ROUNDS, block_s: float = BLOCK_S) -> tuple[float, float]:
    """Median seconds of two arms, interleaved."""
    seconds: dict[str, list[float]] = {"A": [], "B": []}
    arms = {"A": first, "B": second}
    for arm in ORDER * rounds:
        seconds[arm] += block(arms[arm], block_s)
    return statistics.median(seconds["A"]), statistics.median(seconds["B"])


def median(run: Run, block_s: float = BLOCK_S) -> float:
    """Median seconds of one arm alone."""
    return statistics.median(block(run, block_s))


def block(run: Run, seconds: float) -> Sequence[float]:
    """Seconds of each run for so long, after the warm-up."""
    for _ in range(WARM_RUNS):
        run()
    found: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(found) < LEAST_RUNS or time.perf_counter() < deadline:
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found
