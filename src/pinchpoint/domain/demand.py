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


@dataclass(frozen=True, slots=True)
class Crowding:
    """What company does to a request: its mean seconds at the load that is judged, and the share of them by which that is longer
    than alone.
    """

    load: int
    latency_s: Quantity
    longer: Quantity


OF_MOST = 0.9  # of the highest throughput, at the knee
AS_MANY = 0.95  # of the highest throughput: a line that is longer costs a few percent, and what is full stays full
FEWEST_VISITS = 3  # with two, a 95 % interval is six times as wide as with four


def crowding(rungs: Sequence[Rung]) -> Crowding | None:
    """The same from the rungs; None where one in flight was not measured, or no more serve as many a second."""
    full, alone = saturated(rungs), next((rung for rung in rungs if rung.load == 1), None)
    if full is None or alone is None or full.load == 1 or full.latency_s.low <= 0:
        return None
    now, then = full.latency_s, alone.latency_s
    shares = (1 - then.value / now.value, 1 - then.high / now.low, 1 - then.low / now.high)
    value, low, high = (min(max(share, 0.0), 1.0) for share in shares)
    return Crowding(full.load, now, Quantity(value, low, high, min(now.n, then.n)))


def best(rungs: Sequence[Rung]) -> Rung | None:
    """The load with the highest throughput; None without any."""
    return max(rungs, key=lambda rung: rung.throughput_per_s.value, default=None)


def saturated(rungs: Sequence[Rung]) -> Rung | None:
    """The highest load that serves nearly as many a second as the best, by their intervals: on a flat curve the best is chance,
    and may be one at which a full resource has nobody waiting for a tenth of the time. One that was visited too seldom to be
    known well comes last, since nothing could be told there.
    """
    alike = as_many(rungs)
    known = [rung for rung in alike if rung.load > 1 and rung.throughput_per_s.n >= FEWEST_VISITS]
    return max(known or alike, key=lambda rung: rung.load, default=None)


def as_many(rungs: Sequence[Rung]) -> tuple[Rung, ...]:
    """The loads that serve nearly as many a second as the best, by their intervals; none without any."""
    most = best(rungs)
    least = AS_MANY * most.throughput_per_s.low if most is not None else 0.0
    return tuple(rung for rung in rungs if rung.throughput_per_s.high >= least)


def knee(rungs: Sequence[Rung]) -> Rung | None:
    """The lowest load above one that serves nearly as many a second as the best: beyond it a line of all requests grows."""
    most = best(rungs)
    enough = OF_MOST * most.throughput_per_s.value if most is not None else 0.0
    several = [rung for rung in rungs if rung.load > 1 and rung.throughput_per_s.value >= enough]
    return min(several, key=lambda rung: rung.load, default=None)
