"""Inference in a worker thread; the request's thread waits for the answer by polling, or for an event."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort

from pinchpoint.stages import stage

WAIT = "poll"  # "poll" the job, "event", or "worker polls"
INTERVAL_S = 0.01

SESSION = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])


@dataclass
class Job:
    """A request on its way through the worker."""

    features: np.ndarray
    done: threading.Event = field(default_factory=threading.Event)
    answer: float = 0.0


JOBS: queue.Queue[Job] = queue.Queue()


def _worker() -> None:
    while True:
        if WAIT == "worker polls" and JOBS.empty():
            time.sleep(INTERVAL_S)
            continue
        job = JOBS.get()
        with stage("model"):
            job.answer = float(SESSION.run(None, {"x": job.features})[0].mean())
        job.done.set()


threading.Thread(target=_worker, name="worker", daemon=True).start()


@stage("wait for worker")
def _answered(job: Job) -> float:
    if WAIT != "poll":
        job.done.wait()
    while not job.done.is_set():
        time.sleep(INTERVAL_S)
    return job.answer


def handle(features: np.ndarray) -> float:
    """One prediction."""
    job = Job(features)
    JOBS.put(job)
    return _answered(job)


def example_inputs() -> list[np.ndarray]:
    """Feature blocks."""
    random = np.random.default_rng(6)
    return [random.standard_normal((16, 1024), dtype=np.float32) for _ in range(10)]
