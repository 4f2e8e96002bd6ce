"""Run -> Rungs, Demands: what was reached at each load, and the busy seconds of each resource a completed request.

Operational analysis (Denning & Buzen 1978, The Operational Analysis of Queueing Network Models): a resource of capacity m
that is busy for D seconds a request completes at most (m - background) / D requests a second, and the resource with the
smallest such ceiling is the bottleneck. Background is what is busy while nothing is asked, measured with the target left
alone; D is given at each load, so that a demand that drifts with load shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pinchpoint import roofline, stats
from pinchpoint.domain.demand import Demand, Rung
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Run, Visit
from pinchpoint.domain.split import Ceilings

CPU, GIL, LOCK, MEMORY = "cpu", "gil", "lock ", "memory bandwidth"
FEWEST_KNOCKS = 10
FALSE_KNOCKS = 0.2  # held in an idle process: more, and knocking tells nothing here
STREAMED_BYTES = 64 << 20  # of a working set: less may come from a cache of each core's own
Busy = Callable[[Visit], float]


def rungs(run: Run) -> tuple[Rung, ...]:
    """Throughput and latency at each load, ascending."""
    found = []
    for load in sorted({visit.load for visit in run.ladder if visit.load}):
        visits = [visit for visit in run.ladder if visit.load == load and visit.done]
        if visits:
            p99 = float(np.median([visit.quantiles_s[-1] for visit in visits]))
            enough = sum(visit.done for visit in visits) >= stats.samples_needed(0.99)
            found.append(
                Rung(
                    load,
                    _over(visits, lambda visit: float(visit.done), lambda visit: visit.seconds),
                    _over(visits, lambda visit: visit.mean_s * visit.done, lambda visit: float(visit.done)),
                    p99 if enough else None,
                )
            )
    return tuple(found)


def demands(run: Run) -> tuple[Demand, ...]:
    """Every resource that was watched, at every load."""
    idle = [visit for visit in run.ladder if visit.load == 0]
    if not idle:
        return ()
    found: list[Demand] = []
    background = _over(idle, lambda visit: visit.cpu_s, lambda visit: visit.seconds)
    names = sorted({lock.name for visit in run.ladder for lock in visit.locks})
    for load in sorted({visit.load for visit in run.ladder if visit.load and visit.done}):
        visits = [visit for visit in run.ladder if visit.load == load and visit.done]
        found.append(_clocked(CPU, visits, lambda visit: visit.cpu_s, background, run.environment.effective_cpus))
        found += _gil(visits, idle)
        found += [_clocked(LOCK + name, visits, _holder(name), exact(0.0), 1.0) for name in names]
        found += _bandwidth(run, visits)
    return tuple(found)


def _over(visits: Sequence[Visit], top: Busy, bottom: Busy) -> Quantity:
    """The ratio of two sums over visits; without an interval where there is one visit."""
    above, below = [top(visit) for visit in visits], [bottom(visit) for visit in visits]
    if len(visits) < 2:
        return exact(above[0] / below[0], 1)
    return stats.ratio_interval(above, below)


def _clocked(resource: str, visits: Sequence[Visit], busy: Busy, background: Quantity, capacity: float) -> Demand:
    """A resource whose busy seconds are counted by a clock."""
    each = _over(
        visits, lambda visit: max(busy(visit) - background.value * visit.seconds, 0.0), lambda v: float(v.done)
    )
    used = _over(visits, busy, lambda visit: visit.seconds * capacity)
    return _demand(resource, visits[0].load, each, background, capacity, used)


def _holder(name: str) -> Busy:
    return lambda visit: sum(lock.held_s for lock in visit.locks if lock.name == name)


def _gil(visits: Sequence[Visit], idle: Sequence[Visit]) -> list[Demand]:
    """The interpreter's lock, from random knocks; those that find it held in an idle process are false."""
    knocks, held = sum(visit.gil_probes for visit in visits), sum(visit.gil_held for visit in visits)
    idle_knocks = sum(visit.gil_probes for visit in idle)
    if knocks < FEWEST_KNOCKS or not idle_knocks:
        return []
    false = sum(visit.gil_held for visit in idle) / idle_knocks
    if false > FALSE_KNOCKS:
        return []
    share = stats.share_interval(held, knocks)
    value, low, high = (max(end - false, 0.0) / (1 - false) for end in (share.value, share.low, share.high))
    used = Quantity(value, low, high, knocks)
    rate = _over(visits, lambda visit: float(visit.done), lambda visit: visit.seconds).value
    each = Quantity(used.value / rate, used.low / rate, used.high / rate, knocks)
    return [_demand(GIL, visits[0].load, each, exact(0.0), 1.0, used)]


def _bandwidth(run: Run, visits: Sequence[Visit]) -> list[Demand]:
    """Memory bandwidth, where the bytes of a request are known and come from no cache: at the best that all CPUs reach."""
    sessions = [each for each in roofline.sessions(run) if each.arm.working_set_bytes >= STREAMED_BYTES]
    if not sessions or run.target.kind != "onnx":
        return []
    most = Ceilings(run.environment.ceilings, max(1, int(run.environment.effective_cpus)))
    each = exact(0.0)
    for session in sessions:
        read = most.at("read_bytes_per_s", session.arm.working_set_bytes)
        if read is None:
            return []
        moved = sum(item.operator.cost.weight_bytes for item in session.splits if item.operator.cost is not None)
        each = Quantity(
            each.value + moved / read.value, each.low + moved / read.high, each.high + moved / read.low, read.n
        )
    rate = _over(visits, lambda visit: float(visit.done), lambda visit: visit.seconds)
    used = Quantity(each.value * rate.value, each.low * rate.low, each.high * rate.high, rate.n)
    return [_demand(MEMORY, visits[0].load, each, exact(0.0), 1.0, used)]


def _demand(resource: str, load: int, each: Quantity, background: Quantity, capacity: float, used: Quantity) -> Demand:
    room = max(capacity - background.value, 0.0)
    ceiling = (
        Quantity(room / each.value, room / each.high, room / max(each.low, 1e-12), each.n) if each.value > 0 else None
    )
    return Demand(resource, load, each, background, capacity, ceiling, used)
