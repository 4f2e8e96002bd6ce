"""Workload -> due times. Open loops know them before they start, whatever the target does; pure, seeded, without end.

A process of arrivals is shared between workers without loss: a Poisson process splits into independent ones of a part of the
rate (Ross, Introduction to Probability Models, 5.3.4), constant and burst arrivals are dealt out in turn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from pinchpoint.domain.arrivals import POISSON, Arrivals

NS = 1_000_000_000


def due_times(arrivals: Arrivals, seed: object, worker: int, workers: int) -> Iterator[int]:
    """Nanoseconds since the start at which this worker's requests are due, ascending; without end."""
    if arrivals.loop == POISSON:
        yield from _poisson(arrivals.rate_per_s / workers, random.Random(f"{seed} arrivals {worker}"))  # noqa: S311
        return
    step = arrivals.burst / arrivals.rate_per_s * NS
    turn = worker
    while True:
        yield round(turn // arrivals.burst * step)
        turn += workers


def _poisson(rate: float, generator: random.Random) -> Iterator[int]:
    at = 0.0
    gap = generator.expovariate
    while True:
        at += gap(rate)
        yield round(at * NS)


def share(total: int, worker: int, workers: int) -> int:
    """How many of `total` things are this worker's: they are dealt out in turn."""
    return (total - worker + workers - 1) // workers
