"""Run -> Rungs, Demands: what was reached at each load, and the busy seconds of each resource a completed request.

Operational analysis (Denning & Buzen 1978, The Operational Analysis of Queueing Network Models): a resource of capacity m
that is busy for D seconds a request completes at most (m - background) / D requests a second, and the resource with the
smallest such ceiling is the bottleneck. Background is what is busy while nothing is asked, measured with the target left
alone; D is given at each load, so that a demand that drifts with load shows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pinchpoint import roofline, service_use, stats
from pinchpoint.domain.demand import AS_MANY, Demand, Rung, as_many
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Run, Visit
from pinchpoint.domain.split import Ceilings
from pinchpoint.timeline import steady

CPU, GIL, LOCK, LOOP, DISK, MEMORY = "cpu", "gil", "lock", "loop", "disk", "memory bandwidth"
PROCESS = service_use.PROCESS  # of several that serve alike, where requests lie unevenly among them
POOLS = ("pool", "semaphore")
FEWEST_READINGS = 30  # of the interpreter's lock at one load
MODELS = ("onnx", "torch")  # whose requests are runs of their sessions and nothing else
STREAMED_BYTES = 64 << 20  # of a working set: less may come from a cache of each core's own
Busy = Callable[[Visit], float]
NEARLY_FULL = 0.75  # of the time: what is busier may hold throughput back by itself
ONE_OF_THEM = 1.2  # uses of all pools made at one line a request, at most: each request goes to one of them


def rungs(ladder: Sequence[Visit], crew: str = "threads") -> tuple[Rung, ...]:
    """Throughput and latency at each load, ascending; `crew` says who served the visits."""
    found = []
    for load in sorted({visit.load for visit in ladder if visit.load}):
        visits = [visit for visit in ladder if visit.load == load and visit.done]
        if visits:
            p99 = float(np.median([visit.quantiles_s[-1] for visit in visits]))
            enough = sum(visit.done for visit in visits) >= stats.samples_needed(0.99)
            found.append(
                Rung(
                    load,
                    _rate(visits),
                    _not_negative(
                        _over(visits, lambda visit: visit.mean_s * visit.done, lambda visit: float(visit.done))
                    ),
                    p99 if enough else None,
                    crew,
                )
            )
    return tuple(found)


def _rate(visits: Sequence[Visit]) -> Quantity:
    """Requests a second, known to no more than a request in each visit: it counts whole ones."""
    found = _over(visits, lambda visit: float(visit.done), lambda visit: visit.seconds)
    least = math.sqrt(len(visits)) / sum(visit.done for visit in visits) * found.value
    low, high = min(found.low, found.value - least), max(found.high, found.value + least)
    return _not_negative(replace(found, low=low, high=high))


def demands(run: Run) -> tuple[Demand, ...]:
    """Every resource that was watched, at every load."""
    ladder = service_use.ladder_of(run)
    idle = [visit for visit in ladder if visit.load == 0]
    if not idle:
        return ()
    found: list[Demand] = []
    background = _over(idle, lambda visit: visit.cpu_s, lambda visit: visit.seconds)
    soft = sorted({(each.kind, each.name, each.capacity) for visit in ladder for each in visit.held})
    for load in sorted({visit.load for visit in ladder if visit.load and visit.done}):
        visits = [visit for visit in ladder if visit.load == load and visit.done]
        if run.service is None or run.telemetry.column("process.cpu_s") is not None:
            found.append(_cpus(run, visits, background))
        found += _gil(visits, idle)
        looked = [visit for visit in visits if visit.looked]
        for kind, name, capacity in soft if looked else ():
            found.append(_clocked(f"{kind} {name}".strip(), looked, _holder(kind, name), exact(0.0), capacity))
        found += _bandwidth(run, visits)
    one = run.requests.latency_s[steady(run).typical] if run.service is not None else ()
    if len(one) > 1:
        latency = stats.mean_interval(one)
        found = [_with_handing_over(each, _reached(ladder, each.load), latency) for each in found]
    alone = {each.resource: each.seconds_per_request for each in found if each.load == 1}
    return tuple(replace(each, drift=_drift(each.seconds_per_request, alone.get(each.resource))) for each in found)


def kind_of(demand: Demand) -> str:
    """The kind of a resource, without the place that made it."""
    return demand.resource.split(" ")[0]


def uneven(run: Run, found: Sequence[Demand], load: int) -> tuple[Demand, ...]:
    """The resources that serve alike among which requests lie unevenly at a load, the busiest first: processes of a server, or
    pools (semaphores) of the same size made at one line, of which each request uses one. None where requests lie evenly.
    """
    groups: dict[tuple[str, float], list[Demand]] = defaultdict(list)
    for each in found:
        if each.load == load and kind_of(each) in (PROCESS, *POOLS):
            made_at = PROCESS if kind_of(each) == PROCESS else each.resource.split(" #")[0]
            groups[made_at, each.capacity].append(each)
    ordered = [sorted(group, key=_used, reverse=True) for group in groups.values() if len(group) > 1]
    lopsided = [
        group
        for group in ordered
        if _used(group[-1]) < service_use.UNEVEN * _used(group[0])
        and (kind_of(group[0]) == PROCESS or _one_each(run, load, group))
    ]
    most = max(lopsided, key=lambda group: _used(group[0]), default=[])
    return tuple(most)


def _used(demand: Demand) -> float:
    return demand.utilization.value if demand.utilization else 0.0


def _one_each(run: Run, load: int, group: Sequence[Demand]) -> bool:
    """Whether a request uses one of these resources, and not several one after the other."""
    names = {each.resource for each in group}
    visits = [visit for visit in run.ladder if visit.load == load]
    uses = sum(each.count for visit in visits for each in visit.held if f"{each.kind} {each.name}" in names)
    return uses <= ONE_OF_THEM * sum(visit.done for visit in visits)


def _cpus(run: Run, visits: Sequence[Visit], background: Quantity) -> Demand:
    """The CPUs. Those that the client of a server on this host takes are not idle, but for a server with a quota of its own."""
    capacity = run.environment.effective_cpus
    found = _clocked(CPU, visits, lambda visit: visit.cpu_s, background, capacity)
    if run.service is None or run.environment.quota_cpus is not None:
        return found
    used = _over(visits, lambda visit: visit.cpu_s + visit.client_cpu_s, lambda visit: visit.seconds * capacity)
    return replace(found, utilization=_not_negative(used))


def _reached(ladder: Sequence[Visit], load: int) -> Quantity:
    """Requests a second at a load, and at all others with several in flight where as many are served as at this one."""
    alike = {rung.load for rung in as_many(rungs(ladder)) if rung.load > 1}
    return _rate([visit for visit in ladder if visit.done and visit.load in (alike if load in alike else {load})])


def _with_handing_over(demand: Demand, rate: Quantity, alone: Quantity) -> Demand:
    """A server's workers with the time in which they get their next request and hand on their last answer: they look idle then,
    and serve nobody else. So it is where they are nearly always busy while others wait, and where as many requests are served at
    a time, each as fast as `alone` (Little 1961, L = X R), as there are workers. What is surer by the moments looked at stays.
    """
    used, workers = demand.utilization, demand.capacity
    waited_for = kind_of(demand) == service_use.POOL and demand.load >= 2 * workers
    if not waited_for or used is None or not NEARLY_FULL < used.value < 1 or rate.low <= 0:
        return demand
    value, low, high = (
        x * r / workers for x, r in ((rate.value, alone.value), (rate.low, alone.low), (rate.high, alone.high))
    )
    if value < AS_MANY or low <= used.low:
        return demand
    each = Quantity(workers / rate.value, workers / rate.high, workers / rate.low, rate.n)
    taken = Quantity(value, low, high, rate.n).clipped(0.0, 1.0)
    return _demand(demand.resource, demand.load, each, exact(0.0), workers, taken)


def _drift(now: Quantity | None, alone: Quantity | None) -> Quantity | None:
    """How many times the demand of one request alone it is now; None where they may be the same."""
    if now is None or alone is None or alone.low <= 0 or (now.low <= alone.high and alone.low <= now.high):
        return None
    return Quantity(now.value / alone.value, now.low / alone.high, now.high / alone.low, min(now.n, alone.n))


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
    return _demand(resource, visits[0].load, _not_negative(each), background, capacity, _not_negative(used))


def _not_negative(found: Quantity) -> Quantity:
    """An interval of few visits may reach below what is possible."""
    return replace(found, value=max(found.value, 0.0), low=max(found.low, 0.0))


def _holder(kind: str, name: str) -> Busy:
    return lambda visit: sum(each.held_s for each in visit.held if (each.kind, each.name) == (kind, name))


def _gil(visits: Sequence[Visit], idle: Sequence[Visit]) -> list[Demand]:
    """The interpreter's lock, from readings at random moments; those of a process left alone are its background."""
    read, read_idle = sum(visit.gil_probes for visit in visits), sum(visit.gil_probes for visit in idle)
    if read < FEWEST_READINGS or not read_idle:
        return []
    background = _over(idle, lambda visit: float(visit.gil_held), lambda visit: float(max(visit.gil_probes, 1)))
    found = _clocked(GIL, visits, _held_seconds, background, 1.0)
    assert found.utilization is not None
    share = stats.share_interval(sum(visit.gil_held for visit in visits), read)
    used = replace(
        share, low=min(share.low, found.utilization.low), high=min(max(share.high, found.utilization.high), 1.0)
    )
    rate = _over(visits, lambda visit: float(visit.done), lambda visit: visit.seconds).value
    value, low, high = (max(end - background.value, 0.0) / rate for end in (used.value, used.low, used.high))
    return [_demand(GIL, visits[0].load, Quantity(value, low, high, used.n), background, 1.0, used)]


def _held_seconds(visit: Visit) -> float:
    return visit.seconds * visit.gil_held / visit.gil_probes if visit.gil_probes else 0.0


def _bandwidth(run: Run, visits: Sequence[Visit]) -> list[Demand]:
    """Memory bandwidth, where the bytes of a request are known and come from no cache: at the best that all CPUs reach."""
    sessions = [each for each in roofline.sessions(run) if each.arm.working_set_bytes >= STREAMED_BYTES]
    if not sessions or run.target.kind not in MODELS:
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
    told_apart = each.low > 0  # from no demand at all, which has no ceiling
    ceiling = Quantity(room / each.value, room / each.high, room / each.low, each.n) if told_apart else None
    return Demand(resource, load, each, background, capacity, ceiling, used)
