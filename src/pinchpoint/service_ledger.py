"""Run of a server -> Ledger: where the time of chosen requests goes, every cell from a source of its own.

- `network`: a request alone to a server that does nothing, with the same bytes; what connections, distance, bytes and small
  packets take beyond it (`on_the_way.py`).
- `queue`: what the server itself counted, where it does.
- `cpu`: the clocks of all threads of the server a request, less what they use without requests and what helpers only spin, over
  the number of threads that can run at once while any can (looked at). Its stages are the shares of what Python threads were seen
  executing on a CPU; the moments looked at in which only processes without Python run are one place, inside the server.
- Stages that the server itself tells (Server-Timing) go before: each moment then lies in one of them, whatever was seen. Where
  nothing was seen inside, they are rows of their own, whose state is unexplained.
- `starved`: their run-queue clocks, over the same number.
- `wait`, `disk`, `network` inside: the share of moments within requests in which no thread can run, by what is waited for.

Clocks count all requests with one in flight. For a part of them, the shares of moments in which any thread can run, in these
requests and in all, scale them. What is left is `unexplained`, with its sign.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.ledger import TOLD, Ledger, Row
from pinchpoint.domain.quantity import Quantity, exact, product, total
from pinchpoint.domain.run import (
    DISK,
    FAULT,
    FUTEX,
    GIL,
    IPC,
    NETWORK,
    OTHER,
    PARKED,
    RUNNING,
    SITES,
    SYNC,
    TIMER,
    Run,
    Telemetry,
)
from pinchpoint.domain.service import ACTIVE, ALL, IDLE, Service, Stack
from pinchpoint.domain.split import Ceilings
from pinchpoint.moments_of_service import FEWEST, Moments, batched, moments
from pinchpoint.on_the_way import Part, inside_unseen, on_the_way
from pinchpoint.stack_stages import Lines, Place, beside_model, model_lines, place
from pinchpoint.stage_names import OPENING, UNPLACED
from pinchpoint.timeline import Mask, Steady
from pinchpoint.told_stages import BETWEEN, alone_s, are_told, inside, places, span_at

NETWORK_STAGE, QUEUE_STAGE, TYPICAL = "network", "queue", "typical"
# Where stages come from: from what Python executes, from the server's own word, or from nowhere.
SEEN, SERVER, UNSEEN = "seen", "server", "unseen"
STATES = {FUTEX: "wait", GIL: "wait", TIMER: "wait", IPC: "wait", OTHER: "wait", PARKED: "wait", NETWORK: "network", DISK: "disk",
          SYNC: "disk", FAULT: "disk"}  # fmt: skip
IN_HANDLERS = (FUTEX, TIMER, NETWORK, IPC, OTHER, SYNC, DISK)  # where a thread of its own is blocked
Cell = tuple[Place, str, str, Quantity, str]  # where, its state, who says so, how long, and the site
LABELS_KEPT = 6  # of a stage: others are added up
NOT_A_CELL = 1e-4  # of the latency
LEAST_IN_FAULTS = 0.05  # of the CPU time: less is no cell of its own
FEWEST_STACKS = 20
AVOIDED = 0.5  # of the moments that would be there by chance
FEWEST_READINGS = 6
INSIDE = Place(UNPLACED, "inside the server")
STARTED = Place(UNPLACED, "programs that it starts")
FOR_PROCESSES = (SITES[IPC], SITES[OTHER], SITES[PARKED])
PROCESS_CLOCK = "clocks of ended processes"
CLOCK, QUEUE, LOOKS, FAULTS = "thread clocks", "run-queue clocks", "sampling", "counted page faults"
COUNTERS = "the server's counters"


def _avoided(run: Run, chosen: Steady, here: int, usual: int) -> bool:
    """Whether the chosen requests have far fewer moments than their share of the time: a look takes as long as a short request,
    and makes the one that it meets a slow one. Then all requests tell what is waited for.
    """
    seconds = run.requests.latency_s
    whole = float(seconds[chosen.main & ~run.requests.control].sum())
    part = float(seconds[chosen.typical & ~run.requests.control].sum())
    return whole > 0 and here < AVOIDED * usual * part / whole


@dataclass(frozen=True, slots=True)
class _Spent:
    """Seconds a request of all threads of the server, on a CPU and runnable without one, and on a CPU of processes that it
    started and that ended; and the share of the first in which the kernel gets pages for them.
    """

    cpu: Quantity
    starved: Quantity
    ended: Quantity
    faults: Quantity


def account_service(run: Run, chosen: Steady, requests: str) -> Ledger:
    """The ledger of the requests that `chosen.typical` marks."""
    service = run.service
    assert service is not None
    latency = run.requests.latency_s[chosen.typical]
    mean = stats.mean_interval(latency) if len(latency) > 1 else exact(float(latency.mean()), 1)
    here, usual = (
        moments(run, chosen.typical & ~run.requests.control),
        moments(run, chosen.main & ~run.requests.control),
    )
    if requests == TYPICAL and _avoided(run, chosen, len(here.t_ns), len(usual.t_ns)):
        here = usual
    cells = _Cells(requests, mean)
    ways = on_the_way(run, chosen.typical)
    for part in ways:
        cells.add(Place(NETWORK_STAGE, part.label), "network", part.source, part.seconds, site=part.site)
    spent = _spent(run, chosen.main, usual.worked) if len(here.t_ns) >= FEWEST else None
    if spent is not None:
        stages = _stages(run, here)
        if tuple(stages) == (INSIDE,) or are_told(run):
            stages = _phases(run, here, RUNNING) or stages
        usual_s = float(run.requests.latency_s[chosen.main].mean())
        factor, each = _factor(here, usual, mean.value, usual_s), 1 / _at_once(usual, spent, usual_s)
        for where, share in stages.items():
            own, getting = _apart(product(spent.cpu.scaled(factor), share), spent.faults)
            site = OPENING if where.opens else ""
            cells.add(where, "cpu", CLOCK, own.scaled(each), site, own.value * (1 - each))
            cells.add(where, "memory", FAULTS, getting.scaled(each), SITES[FAULT], getting.value * (1 - each))
        cells.add(Place(UNPLACED, ""), "starved", QUEUE, spent.starved.scaled(factor * each))
        queued = service.parts("queue") if requests == TYPICAL else ()
        for told in queued:
            cells.add(Place(QUEUE_STAGE, told.step), "wait", COUNTERS, told.each, site="queue")
        waits = _waits(run, here, mean.value, sum(told.each.value for told in queued), ways)
        for row in _for_programs(waits, spent.ended.scaled(factor)):
            cells.add(*row)
    else:
        stages_told = alone_s(run, chosen.typical) if are_told(run) else {}
        for where, seconds in stages_told.items():
            cells.add(where, "unexplained", service.stages_by, seconds, TOLD)
        for part in inside_unseen(run, chosen.typical, ways):
            rest = _less(part.seconds, sum(seconds.value for seconds in stages_told.values()))
            cells.add(INSIDE, "wait", part.source, rest, site=part.site)
    cells.finish()
    origin = SERVER if are_told(run) else SEEN if _seen_inside(service) else UNSEEN
    return Ledger("latency", requests, mean, tuple(cells.rows), origin)


def looked_at(run: Run, chosen: Mask) -> bool:
    """Whether there are moments enough inside some requests to say where their time goes."""
    return len(moments(run, chosen & ~run.requests.control).t_ns) >= FEWEST


class _Cells:
    """Rows under construction."""

    def __init__(self, requests: str, latency: Quantity) -> None:
        self.rows: list[Row] = []
        self._requests, self._latency = requests, latency

    def add(
        self, where: Place, state: str, source: str, seconds: Quantity, site: str = "", overlapped_s: float = 0.0
    ) -> None:
        """Add a cell unless it is next to nothing."""
        if abs(seconds.value) > NOT_A_CELL * self._latency.value:
            share = seconds.value / self._latency.value
            row = Row("latency", 1, self._requests, where.stage, None, state, source, seconds, share, overlapped_s)
            self.rows.append(replace(row, label=where.label, site=site))

    def finish(self) -> None:
        """Order the rows, and add what is left of the latency."""
        self.rows.sort(key=lambda row: -row.seconds.value)
        known = total([row.seconds for row in self.rows]) if self.rows else exact(0.0, 0)
        all_of = self._latency
        left = Quantity(
            all_of.value - known.value,
            all_of.value - known.value - float(np.hypot(all_of.value - all_of.low, known.high - known.value)),
            all_of.value - known.value + float(np.hypot(all_of.high - all_of.value, known.value - known.low)),
            all_of.n,
        )
        self.add(Place(UNPLACED, ""), "unexplained", "difference", left)


def _seen_inside(service: Service) -> bool:
    return sum(stack.count for stack in _of(service, ACTIVE, 1)) >= FEWEST_STACKS


def _stages(run: Run, here: Moments) -> Mapping[Place, Quantity]:
    """The shares of places in the CPU time of requests: of what Python executes, and of processes without Python as one place."""
    assert run.service is not None
    found, unseen = shares(run.service, ACTIVE, 1, ()), _without_python(run, here)
    if tuple(found) == (INSIDE,) or not unseen.value:
        return found
    seen = Quantity(1 - unseen.value, 1 - unseen.high, 1 - unseen.low, unseen.n)
    return {INSIDE: unseen, **{where: product(share, seen) for where, share in found.items()}}


def _without_python(run: Run, here: Moments) -> Quantity:
    """The share of the moments with running threads in which none of a process with Python runs; 0 where not all of these are
    known.

    Where both run, a compiler or a collector of the other program works beside the request.
    """
    service, samples = run.service, run.samples
    assert service is not None
    pythons = {each.process for each in service.threads if each.python}
    look = service.look(ACTIVE, 1)
    if look is None or len(pythons) < look.processes:
        return exact(0.0)
    others = [each.thread for each in service.threads if each.process not in pythons]
    running = (samples.site == RUNNING) & np.isin(samples.t_ns, here.t_ns[here.site == RUNNING])
    whole = len(np.unique(samples.t_ns[running]))
    ours = len(np.unique(samples.t_ns[running & ~np.isin(samples.thread, others)]))
    return stats.share_interval(whole - ours, whole) if whole else exact(0.0)


def _spent(run: Run, main: Mask, worked: float) -> _Spent | None:
    """CPU and run-queue seconds a request while one was in flight and warm, less what passes without requests; of these the share
    that threads `worked`, and did not only spin.
    """
    found = run.telemetry
    if np.any(main):
        warm = found.t_ns >= run.requests.start_ns[main][0]
        found = Telemetry(found.t_ns[warm], tuple((name, values[warm]) for name, values in found.columns))
    cpu, delay = found.column("process.cpu_s"), found.column("process.run_delay_s")
    if cpu is None or delay is None or len(found.t_ns) < FEWEST_READINGS:
        return None
    ended = np.histogram(run.requests.end_ns, found.t_ns)[0].astype(float)
    if ended.sum() < 1:
        return None
    idle = [visit for visit in run.ladder if visit.load == 0]
    at_rest = sum(visit.cpu_s for visit in idle) / max(sum(visit.seconds for visit in idle), 1e-9) if idle else 0.0
    seconds = np.diff(found.t_ns) / 1e9
    busy = np.maximum(np.diff(cpu) - at_rest * seconds, 0.0)
    of_ended = found.column("process.ended_cpu_s")
    by_ended = np.zeros(len(seconds)) if of_ended is None else np.minimum(np.diff(of_ended), busy)
    return _Spent(
        batched(busy - by_ended, ended).scaled(worked),
        batched(np.diff(delay), ended).scaled(worked),
        batched(by_ended, ended),
        _in_faults(run, found),
    )


def _in_faults(run: Run, found: Telemetry) -> Quantity:
    """The share of CPU time in which the kernel gets pages: faults by what one costs here, huge ones by theirs as far as the
    whole host had any, and no more than the kernel's own time.
    """
    costs = Ceilings(run.environment.ceilings, 1)
    cost, huge_cost = costs.value("fault_s"), costs.value("huge_fault_s")
    columns = [found.column(f"process.{name}") for name in ("minor_faults", "system_s", "cpu_s")]
    if cost is None or any(each is None for each in columns):
        return exact(0.0)
    counted, system, cpu = (float(each[-1] - each[0]) for each in columns if each is not None)
    if cpu <= 0:
        return exact(0.0)
    huge = found.column("host.huge_faults")
    of_huge = min(float(huge[-1] - huge[0]), counted) if huge is not None and huge_cost is not None else 0.0
    more = of_huge * (huge_cost.value - cost.value) if huge_cost is not None else 0.0
    value, low, high = (min(counted * end + more, system) / cpu for end in (cost.value, cost.low, cost.high))
    return Quantity(value, low, high, cost.n).clipped(0.0, 1.0) if value >= LEAST_IN_FAULTS else exact(0.0)


def _apart(seconds: Quantity, faults: Quantity) -> tuple[Quantity, Quantity]:
    """CPU time of a place without page faults, and in these; which places they are in is not known: in all alike."""
    left = Quantity(1 - faults.value, 1 - faults.high, 1 - faults.low, faults.n)
    return product(seconds, left), product(seconds, faults)


def _at_once(usual: Moments, spent: _Spent, mean_s: float) -> float:
    """How many threads run while any does, in all requests, as clocks count: as many as were seen. Where so many could not spend
    in a whole request what the clocks say, others lived too short to be seen: as many as that takes while any ran.
    """
    seen, clocks_s = usual.parallelism, spent.cpu.low + spent.starved.low
    ran_s = np.count_nonzero(usual.site == RUNNING) / len(usual.site) * mean_s
    return clocks_s / ran_s if clocks_s > seen * mean_s and ran_s > 0 else seen


def _factor(here: Moments, usual: Moments, mean_s: float, usual_mean_s: float) -> float:
    """Seconds in which any thread can run in these requests, over those of all."""
    running, among = np.count_nonzero(here.site == RUNNING), np.count_nonzero(usual.site == RUNNING)
    if running < FEWEST:  # too few to tell more than how long they took
        return mean_s / usual_mean_s
    return float(running / len(here.site) * mean_s / (among / len(usual.site) * usual_mean_s))


def _phases(run: Run, here: Moments, site: int) -> Mapping[Place, Quantity]:
    """The shares among the moments at a site of the phases of streamed answers, or of the stages that the server told and what
    lies between these; none where it did neither.
    """
    at, spans = here.t_ns[here.site == site], inside(run)
    if not len(spans.index) or len(at) < FEWEST:
        return {}
    number = span_at(spans, at)
    named = np.bincount(spans.name[number[number >= 0]], minlength=len(run.span_names)).tolist()
    counts: dict[Place, float] = defaultdict(float)
    for where, count in zip(places(run), named, strict=True):
        counts[where] += count
    if are_told(run):
        counts[BETWEEN] += len(at) - sum(named)
    whole = sum(counts.values())
    return {where: _share_of(count, whole) for where, count in _few(counts).items() if count}


def _waits(run: Run, here: Moments, mean_s: float, queued_s: float, ways: Sequence[Part]) -> Iterator[Cell]:
    """What is waited for while no thread can run: at whose line where that was seen.

    What the server says that requests queued is a row of its own and taken from these, first where nobody works on them.
    """
    service = run.service
    assert service is not None
    blocked = shares(service, ALL, 1, _at_home(service))
    wire = sum(part.seconds.value for part in ways) / mean_s
    for site in (PARKED, TIMER, FUTEX, GIL, OTHER, IPC, NETWORK, DISK, SYNC, FAULT):
        if not np.any(here.site == site):
            continue
        share = here.share(site)
        told = _phases(run, here, site) if are_told(run) else {}
        if site == PARKED and not told:  # on the way, which is accounted for, or awaited unseen
            share = _less(share, wire)
        seconds = share.scaled(mean_s)
        if site in (PARKED, TIMER, FUTEX, OTHER) and queued_s > 0:
            less = min(queued_s, seconds.value)
            queued_s -= less
            seconds = _less(seconds, less)
        state, name = STATES[site], SITES[site]
        found: Mapping[Place, Quantity] = told or {Place(UNPLACED, _peers(service, site)): exact(1.0)}
        if site in IN_HANDLERS and not told:
            found = blocked or (_phases(run, here, site) if site != NETWORK else {}) or found
        for where, part in found.items():
            on_wire = wire * mean_s if told and site == PARKED and where == BETWEEN else 0.0
            yield where, state, LOOKS, _less(product(seconds, part), on_wire), name


def _for_programs(waits: Iterable[Cell], computed: Quantity) -> Iterator[Cell]:
    """What is waited for, of which as much as programs computed that requests start is a cell on the CPU."""
    for where, state, source, seconds, site in waits:
        part = exact(0.0)
        if site in FOR_PROCESSES and computed.value:
            value, low, high = map(
                min, (computed.value, computed.low, computed.high), (seconds.value, seconds.low, seconds.high)
            )
            part = Quantity(value, low, high, computed.n)
            yield STARTED, "cpu", PROCESS_CLOCK, part, ""
            computed = _less(computed, part.value)
        yield where, state, source, _less(seconds, part.value), site


def _less(seconds: Quantity, by: float) -> Quantity:
    value, low, high = (max(end - by, 0.0) for end in (seconds.value, seconds.low, seconds.high))
    return Quantity(value, low, high, seconds.n)


def _peers(service: Service, site: int) -> str:
    return service.peers[0].address if site == NETWORK and service.peers else ""


def _at_home(service: Service) -> frozenset[tuple[str, ...]]:
    """The stacks of threads while nothing is asked."""
    return frozenset(stack.frames for stack in service.stacks if stack.kind == IDLE)


def shares(
    service: Service, kind: str, load: int, without: frozenset[tuple[str, ...]] | tuple[()]
) -> Mapping[Place, Quantity]:
    """The shares of places among the stacks of a kind. Those on a CPU are taken off from all, where blocked ones are asked for.

    One place inside of the server where nothing was seen, so that its time is not lost; none for blocked ones.
    """
    counts: dict[Place, float] = defaultdict(float)
    extra = dict(service.frames)
    lines = model_lines((stack.frames for stack in service.stacks), extra)
    for stack in _of(service, kind, load):
        if stack.frames not in without:
            counts[_placed(stack.frames, extra, lines)] += stack.count
    if kind == ALL:
        look, active = service.look(ALL, load), service.look(ACTIVE, load)
        scale = look.moments / active.moments if look and active and active.moments else 0.0
        for stack in _of(service, ACTIVE, load):
            if stack.frames not in without:
                counts[_placed(stack.frames, extra, lines)] -= stack.count * scale
        spread = {where: 2 * np.sqrt(max(count, 1.0)) for where, count in counts.items()}
        counts = defaultdict(float, {where: count for where, count in counts.items() if count > spread[where]})
    whole = sum(counts.values())
    if whole < FEWEST_STACKS:
        return {} if kind == ALL else {INSIDE: exact(1.0)}
    return {where: _share_of(count, whole) for where, count in _few(counts).items() if count > 0}


def _placed(frames: Sequence[str], extra: Mapping[str, str], lines: Lines) -> Place:
    """Where a stack belongs; the user's own code that nothing tells the stage of, by its place around the model."""
    where = place(frames, extra)
    beside = beside_model(frames, lines) if where.stage == UNPLACED and where.label else None
    return replace(where, stage=beside) if beside is not None else where


def _share_of(count: float, whole: float) -> Quantity:
    share = stats.share_interval(round(count), round(whole))
    value = count / whole
    return Quantity(value, min(share.low, value), max(share.high, value), share.n)


def _of(service: Service, kind: str, load: int) -> Iterator[Stack]:
    return (stack for stack in service.stacks if (stack.kind, stack.load) == (kind, load))


def _few(counts: Mapping[Place, float]) -> dict[Place, float]:
    """The largest places of each stage; the others of a stage together, without a label."""
    kept: dict[Place, float] = defaultdict(float)
    shown: dict[str, int] = defaultdict(int)
    for where, count in sorted(counts.items(), key=lambda item: -item[1]):
        shown[where.stage] += 1
        kept[where if shown[where.stage] <= LABELS_KEPT else Place(where.stage, "")] += count
    return kept
