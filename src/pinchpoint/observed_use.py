"""Run of a server that was only watched -> Observed: how busy what it uses was, with intervals over the stretches of time.

Nothing here is a time of a request: how many there were, and how many at once, nobody knows. So a resource is told by the share
of the time in which it was in use, and what Python threads do by shares of what was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pinchpoint import demands, stats
from pinchpoint.domain.observed import Awaited, Observed, Part, Use
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import DISK, FAULT, FUTEX, NETWORK, RUNNING, SYNC, Floats, Run
from pinchpoint.domain.service import ACTIVE, ALL, HOLDING, INTERPRETER, SELECTOR, UNKNOWN_LOAD, ServerThread, Service
from pinchpoint.moments_of_service import FEWEST
from pinchpoint.service_ledger import INSIDE, shares
from pinchpoint.service_use import OF_THE_SERVER, POOL, UNEVEN, USED, Looked, looked_at, serving_loops
from pinchpoint.stack_stages import LAUNCHER, Place
from pinchpoint.timeline import Mask

WITH_OTHERS = f"{demands.CPU} with others"
STORAGE = (DISK, SYNC, FAULT)
OTHERS = 0  # the thread number of connections to other services
AT_REST = ("std|selectors.py|", "std|asyncio/")  # where an event loop waits, whoever called it
SEVERAL = 2  # threads that want the interpreter: one alone waits for nobody
MOST_PARTS = 12
MOST_PEERS = 8


def observed(run: Run) -> Observed:
    """What was seen."""
    service = run.service
    assert service is not None
    looked = [looked_at(run.samples, begin, end) for begin, end in service.stretches]
    lengths = _lengths(service)
    resident = _readings(run, "process.rss_bytes")
    tool = _grown(run, "tool.cpu_s")
    return Observed(
        seconds=float(lengths.sum()),
        stretches=len(lengths),
        uses=tuple(_uses(run, service, looked)),
        starved=_over(_grown(run, "process.run_delay_s"), lengths),
        throttled=_throttled(run),
        storage=_moments_with(looked, _in_storage),
        backlog=_over(_readings(run, "backlog.waiting"), np.ones(len(lengths))),
        rss_bytes=_over(resident, np.ones(len(lengths))),
        growth_bytes_per_s=_over(_grown(run, "process.rss_bytes"), lengths, least=None),
        cpu_time=_parts({} if (of := shares(service, ACTIVE, UNKNOWN_LOAD, ())).keys() == {INSIDE} else of),
        waits=_parts(shares(service, ALL, UNKNOWN_LOAD, _at_rest(service))),
        peers=tuple(_peers(service, looked)),
        tool_cpus=_over(tool, lengths),
    )


def _uses(run: Run, service: Service, looked: Sequence[Looked]) -> Iterator[Use]:
    """Every resource that could be watched."""
    cpus = run.environment.effective_cpus
    if (used := _over(_grown(run, "process.cpu_s"), _lengths(service) * cpus)) is not None:
        yield Use(demands.CPU, cpus, used)
    if (used := _with_others(run, service)) is not None:
        yield Use(WITH_OTHERS, float(run.environment.affinity), used)
    if (gil := _interpreter(service, looked)) is not None:
        yield Use(demands.GIL, 1.0, gil)
    if sum(each.moments for each in looked) < FEWEST:
        return
    yield from _loops(service, looked)
    yield from _lock(looked)
    if working := _workers(service):
        numbers = [each.thread for each in working]
        taken = [float(each.busy(numbers).sum()) for each in looked]
        yield from _use(f"{POOL} {OF_THE_SERVER}", float(len(working)), looked, taken)


def _with_others(run: Run, service: Service) -> Quantity | None:
    """The same of the CPUs that the processes may run on, whoever has them, and without what watching took; None under a quota of
    their own, which nobody else uses up.
    """
    busy, steal, tool = (_grown(run, name) for name in ("host.busy_s", "host.steal_s", "tool.cpu_s"))
    if busy is None or steal is None or tool is None or run.environment.quota_cpus is not None:
        return None
    used = _over(np.maximum(busy + steal - tool, 0.0), _lengths(service) * run.environment.affinity)
    return None if used is None else used.clipped(0.0, 1.0)


def _loops(service: Service, looked: Sequence[Looked]) -> Iterator[Use]:
    """Each event loop that does anything; of processes that serve alike and unevenly, the processes, idle ones too."""
    serving = serving_loops(service, looked)
    uneven = _uneven(service, looked)
    for loop in [
        each for each in service.threads if each in serving or (each.parked == SELECTOR and each.process in uneven)
    ]:
        name = f"{demands.LOOP} of process {loop.process}" if len(serving) > 1 else demands.LOOP
        if loop.process in uneven:
            name = f"{demands.PROCESS} {loop.process}"
        yield from _use(name, 1.0, looked, [float(each.computing([loop.thread]).sum()) for each in looked])


def _uneven(service: Service, looked: Sequence[Looked]) -> frozenset[int]:
    """Siblings of one name with an event loop each, where one has far less to do than another; none where all have as much."""
    moments = sum(each.moments for each in looked)
    loops = {each.process: each.thread for each in service.threads if each.parked == SELECTOR}
    siblings: dict[tuple[int, str], list[int]] = {}
    for each in service.served.processes:
        if each.pid in loops:
            siblings.setdefault((each.parent, each.name), []).append(each.pid)
    alike = max(siblings.values(), key=len, default=[])
    busy = [sum(seen.computing([loops[pid]]).sum() for seen in looked) / moments for pid in alike]
    return frozenset(alike) if len(alike) > 1 and min(busy) < UNEVEN * max(busy) else frozenset()


def _use(resource: str, capacity: float, looked: Sequence[Looked], in_use: Sequence[float]) -> Iterator[Use]:
    """A resource of which so many places were in use, summed over the moments of each stretch."""
    used = _over(np.array(in_use), np.array([each.moments * capacity for each in looked], dtype=float))
    if used is not None:
        yield Use(resource, capacity, used.clipped(0.0, 1.0))


def _interpreter(service: Service, looked: Sequence[Looked]) -> Quantity | None:
    """The share of the looks in which an interpreter's lock was held, a process that does anything on average; None where nobody
    looked, or no two threads of a process want it. Where threads wait for it, it is held or handed over.
    """
    look = service.look(HOLDING, UNKNOWN_LOAD)
    moments = sum(each.moments for each in looked)
    if look is None or look.moments < demands.FEWEST_READINGS or moments < FEWEST:
        return None
    threads: dict[int, list[int]] = {}
    for each in service.threads:
        if each.python is not False:
            threads.setdefault(each.process, []).append(each.thread)
    wanted = np.concatenate([each.thread[(each.site == RUNNING) | (each.place == INTERPRETER)] for each in looked])
    counts = Counter(wanted.tolist())
    wants = {pid: [one for one in own if counts[one] > USED * moments] for pid, own in threads.items()}
    busy = {pid: own for pid, own in wants.items() if own}
    if all(len(own) < SEVERAL for own in busy.values()):
        return None
    held = sum(stack.count for stack in service.stacks if stack.kind == HOLDING)
    waits = sum(each.awaited(own) * each.moments for own in busy.values() for each in looked if each.moments) / moments
    looks = look.moments * max(len(busy), 1)
    return stats.share_interval(min(max(held, round(look.moments * waits)), looks), looks)


def _lock(looked: Sequence[Looked]) -> Iterator[Use]:
    """The lock of the user's own code that threads wait for most: whenever one waits, somebody holds it."""
    found: Counter[int] = Counter()
    for each in looked:
        mine = (each.site == FUTEX) & (each.place > 0)
        found.update(each.place[mine].tolist())
    for place, _ in found.most_common(1):
        if (held := _moments_with(looked, _waits_at(place))) is not None:
            yield Use(f"{demands.LOCK} {OF_THE_SERVER}", 1.0, held)


def _waits_at(place: int) -> Callable[[Looked], Mask]:
    return lambda seen: (seen.site == FUTEX) & (seen.place == place)


def _workers(service: Service) -> list[ServerThread]:
    """The threads of processes that serve one request after the other: each has one Python thread, which is no event loop, and
    none of them started another. Threads of one process are not told: a pool grows while there is work, so that nobody knows how
    many there may be.
    """
    parents = {each.parent for each in service.served.processes}
    pythons: dict[int, list[ServerThread]] = {}
    for each in service.threads:
        if each.python:
            pythons.setdefault(each.process, []).append(each)
    looped = {each.process for each in service.threads if each.parked == SELECTOR}
    return [own[0] for pid, own in pythons.items() if len(own) == 1 and pid not in looped | parents]


def _moments_with(looked: Sequence[Looked], chosen: Callable[[Looked], Mask]) -> Quantity | None:
    """The share of the moments in which there is any row of some."""
    found = [float(len(np.unique(each.at[chosen(each)]))) for each in looked]
    share = _over(np.array(found), np.array([each.moments for each in looked], dtype=float))
    return None if share is None else share.clipped(0.0, 1.0)


def _in_storage(seen: Looked) -> Mask:
    found: Mask = np.isin(seen.site, STORAGE)
    return found


def _calls_another(seen: Looked) -> Mask:
    found: Mask = (seen.thread == OTHERS) & (seen.site == NETWORK)
    return found


def _peers(service: Service, looked: Sequence[Looked]) -> Iterator[Awaited]:
    """Other services, of which each is awaited as unevenly as all of them together."""
    together = _moments_with(looked, _calls_another)
    if together is not None and together.value > 0:
        for each in service.peers[:MOST_PEERS]:
            share = each.awaited / max(each.moments, 1)
            yield Awaited(each.address, together.scaled(share / together.value).clipped(0.0, 1.0))


# --- what Python executes ------------------------------------------------------------------------------------------
def _at_rest(service: Service) -> frozenset[tuple[str, ...]]:
    """The stacks that wait for nothing that the user's own code asked for."""
    return frozenset(stack.frames for stack in service.stacks if not _asked(stack.frames))


def _asked(frames: Sequence[str]) -> bool:
    own = any(each.startswith("own|") and not each.endswith(f"|{LAUNCHER}") for each in frames)
    return own and not frames[-1].startswith(AT_REST)


def _parts(found: Mapping[Place, Quantity]) -> tuple[Part, ...]:
    """The largest first."""
    ordered = sorted(found.items(), key=lambda item: -item[1].value)
    return tuple(Part(where.stage, where.label, share) for where, share in ordered[:MOST_PARTS])


# --- series over the stretches -------------------------------------------------------------------------------------
def _lengths(service: Service) -> Floats:
    return np.array([(end - begin) / 1e9 for begin, end in service.stretches])


def _grown(run: Run, column: str) -> Floats | None:
    """How much a counter grew in each stretch, by the readings around its ends."""
    values, t = run.telemetry.column(column), run.telemetry.t_ns
    if values is None or len(values) < 2 or run.service is None:
        return None
    found: Floats = np.array([np.diff(np.interp(stretch, t, values))[0] for stretch in run.service.stretches])
    return found


def _readings(run: Run, column: str) -> Floats | None:
    """The mean of a gauge in each stretch; None where one of them has no reading."""
    values, t = run.telemetry.column(column), run.telemetry.t_ns
    if values is None or run.service is None:
        return None
    parts = [values[(t >= begin) & (t <= end)] for begin, end in run.service.stretches]
    return np.array([each.mean() for each in parts]) if all(len(each) for each in parts) else None


def _throttled(run: Run) -> Quantity | None:
    """The share of a quota's periods in which it was used up; None without a quota."""
    periods, throttled = _grown(run, "cgroup.nr_periods"), _grown(run, "cgroup.nr_throttled")
    if run.environment.quota_cpus is None or periods is None or throttled is None:
        return None
    return _over(throttled, periods)


def _over(top: Floats | None, bottom: Floats, least: float | None = 0.0) -> Quantity | None:
    """The ratio of two sums over the stretches; None where nothing was counted, without an interval of one stretch."""
    if top is None or not len(top) or bottom.sum() <= 0:
        return None
    if len(top) == 1:
        return exact(float(top[0] / bottom[0]), 1)
    found = stats.ratio_interval(top, bottom)
    return found if least is None else replace(found, value=max(found.value, least), low=max(found.low, least))
