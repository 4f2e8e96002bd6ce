"""What the target is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

THREADS, PROCESSES = "threads", "processes"


@dataclass(frozen=True, slots=True)
class Workload:
    """One request in flight for `budget_s` seconds of recording, with inputs drawn by `seed`.

    `timeout_s` is how long a single request, or the load of the target, may take before the target counts as hung.
    `observe` is the largest share of requests whose costly clocks are read; the others are the control arm.
    `workers` says what serves several requests at once: threads of one process (tasks, for a coroutine), or processes.
    """

    budget_s: float = 60.0
    concurrency: int = 1
    seed: int = 0
    timeout_s: float = 120.0
    observe: float = 0.5
    batch: int = 1
    length: int = 128
    workers: str = THREADS
