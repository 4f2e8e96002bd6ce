"""The demand table: busy seconds of each resource a completed request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pinchpoint.domain.quantity import Quantity


@dataclass(frozen=True, slots=True)
class Demand:
    """Service demand of one resource at one load, with its capacity and the ceiling that follows.

    `drift` is the demand over that with one request in flight, where their intervals do not meet; nothing is extrapolated
    from a demand that drifts.
    """

    resource: str
    load: int
    seconds_per_request: Quantity | None
    background_per_s: Quantity | None
    capacity: float
    ceiling_per_s: Quantity | None
    utilization: Quantity | None
    drift: Quantity | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """What was reached with `load` requests in flight: completions a second, and seconds a request took.

    `crew` says who served them: threads of one process, or a process each.
    """

    load: int
    throughput_per_s: Quantity
    latency_s: Quantity
    p99_s: float | None
    crew: str = "threads"


def best(rungs: Sequence[Rung]) -> Rung | None:
    """The load with the highest throughput; None without any."""
    return max(rungs, key=lambda rung: rung.throughput_per_s.value, default=None)


def saturated(rungs: Sequence[Rung]) -> Rung | None:
    """The highest load that serves as many a second as the best, by their intervals: on a flat curve the best is chance, and
    may be one at which a full resource has nobody waiting for a tenth of the time.
    """
    most = best(rungs)
    if most is None:
        return None
    low = most.throughput_per_s.low
    return max((rung for rung in rungs if rung.throughput_per_s.high >= low), key=lambda rung: rung.load)
