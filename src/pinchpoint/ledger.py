"""Run -> Ledger: where the time of typical requests goes, every cell from a source of its own.

on-CPU time comes from the thread's CPU clock at stage boundaries, `starved` from its run-queue clock, `wait`, `disk` and
`network` from samples of what the thread was blocked on, page-fault time from counted faults, and a model's operators from
the profiled arm against the ceilings. `unexplained` is the latency less all of these, and is shown with its sign.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pinchpoint import copies, roofline, stats
from pinchpoint.blocking import Blocked, blocked_seconds, with_short_waits
from pinchpoint.copies import Moved
from pinchpoint.domain.ledger import Ledger, Row
from pinchpoint.domain.quantity import Quantity, total
from pinchpoint.domain.run import MARKED, SITES, Run
from pinchpoint.domain.split import Ceilings, SessionSplit
from pinchpoint.service_ledger import account_service
from pinchpoint.stage_names import MODEL, OPENING, SESSION_SPAN, Owner
from pinchpoint.timeline import Moments, Steady, moments, steady

Floats = npt.NDArray[np.float64]
SITE_STATES = {
    "futex": "wait",
    "timer": "wait",
    "ipc": "wait",
    "other": "wait",
    "network": "network",
    "disk": "disk",
    "sync": "disk",
    "fault": "disk",
    "running": "cpu",
}
PROGRAMS = "programs"  # the site of computing by processes that the target starts
DISPATCH, RUN, WORK = "dispatch", "run", "work"
NOT_A_CELL_S = 1e-9
RECLAIM_AT_MOST_S = (
    100e-6  # CPU time of a major fault in full memory: search, compress, write, read (22 us on zram here)
)


@dataclass(frozen=True, slots=True)
class _Clocks:
    """Seconds of one owner in each observed request, shape (requests,): wall, on CPU, starved, in page faults."""

    wall: Floats
    cpu: Floats
    starved: Floats
    faults: Floats


def latency_ledger(run: Run) -> Ledger:
    """The ledger of typical requests, one in flight."""
    return account(run, steady(run), "typical", operators=True)


def account(run: Run, chosen: Steady, requests: str, *, operators: bool) -> Ledger:
    """The ledger of the requests that `chosen.typical` marks; where `operators` are split off, and copies with them, it rests
    on typical requests too.
    """
    if run.service is not None:
        return account_service(run, chosen, requests)
    found, handed = moments(run, chosen.typical)
    rows = np.unique(found.request)
    if not len(rows):
        return _unobserved(run, chosen)
    clocks = _clocks(run, found, rows)
    latency = run.requests.latency_s[rows] - _marker_seconds(run, found, rows)
    mean = _mean(latency)
    blocked = _blocked(run, clocks, rows, blocked_seconds(run, chosen, found, handed, mean.value))
    cells = _Cells(requests, mean)
    copied = copies.by_owner(run) if operators else {}
    for owner, clock in clocks.items():
        _stage_rows(cells, owner, clock, [b for b in blocked if b.owner == owner], run, copied.get(owner))
    handed_over = _handed_rows(cells, blocked, set(clocks))
    if operators:
        cells.rows = _with_operators(run, cells, clocks, handed_over, rows)
    cells.rows += _left_over(cells, clocks, handed_over, _waiting_share(run))
    origin = "marked" if np.any(run.spans.kind == MARKED) else "inferred"
    return Ledger("latency", requests, mean, tuple(_sorted(cells.rows)), origin)


def _blocked(
    run: Run, clocks: Mapping[Owner, _Clocks], rows: npt.NDArray[np.int64], seen: Sequence[Blocked]
) -> list[Blocked]:
    """What was waited for, short waits as long as the clocks say."""
    off_cpu_s = {owner: float((clock.wall - clock.cpu - clock.starved).mean()) for owner, clock in clocks.items()}
    switches = run.probes.voluntary_switches[np.isin(run.probes.index, run.requests.index[rows])]
    return with_short_waits(seen, off_cpu_s, float(switches.mean()) if len(switches) else 0.0)


@dataclass(slots=True)
class _Cells:
    """Rows under construction."""

    requests: str
    latency: Quantity
    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        owner: Owner,
        state: str,
        source: str,
        seconds: Quantity,
        *,
        operator: str | None = None,
        site: str = "",
        overlapped_s: float = 0.0,
    ) -> None:
        """Add a cell unless it is nothing at all."""
        if abs(seconds.value) < NOT_A_CELL_S and overlapped_s < NOT_A_CELL_S:
            return
        assert owner.stage is not None
        self.rows.append(
            Row(
                "latency",
                1,
                self.requests,
                owner.stage,
                operator,
                state,
                source,
                seconds,
                seconds.value / self.latency.value,
                overlapped_s,
                owner.label,
                site,
            )
        )


def _clocks(run: Run, found: Moments, rows: npt.NDArray[np.int64]) -> dict[Owner, _Clocks]:
    """Per owner and request the summed clocks of its moments, without what recording the stages themselves cost."""
    at = np.searchsorted(rows, found.request)
    fault_s = _fault_seconds(run)
    marker = _marker_of_moments(run, found)
    clocks = {}
    for owner in dict.fromkeys(each.account for each in found.owners):
        mine = np.isin(found.owner, [i for i, each in enumerate(found.owners) if each.account == owner])
        if not np.any(mine):
            continue
        wall = _sums(at[mine], (found.end_ns - found.begin_ns)[mine] / 1e9 - marker[mine], len(rows))
        cpu = _sums(at[mine], np.maximum(found.cpu_ns[mine] / 1e9 - marker[mine], 0.0), len(rows))
        starved = _sums(at[mine], np.maximum(found.delay_ns[mine], 0) / 1e9, len(rows))
        faults = _sums(at[mine], np.maximum(found.faults[mine], 0).astype(float), len(rows))
        fault_seconds = np.minimum(faults * fault_s, cpu)
        clocks[owner] = _Clocks(wall, cpu, starved, fault_seconds)
    return clocks


def _fault_seconds(run: Run) -> float:
    """Mean seconds of a page fault: the calibrated cost of an ordinary one, and of a huge one for the share that the kernel
    counted as huge; together at most the system time. While pages come back from swap, the kernel's work for the thread is
    taken to be finding room for them, up to what that can cost a page.
    """
    ceilings = Ceilings(run.environment.ceilings, 1)
    small, huge = ceilings.value("fault_s"), ceilings.value("huge_fault_s")
    minor, major = float(run.probes.minor_faults.sum()), float(run.probes.major_faults.sum())
    system = float(run.probes.system_ns.sum()) / 1e9
    if small is None or minor + major <= 0:
        return 0.0
    spent = minor * small.value
    if huge is not None and minor > 0:
        spent += min(_huge_faults(run), minor) * (huge.value - small.value)
    if _swapping(run):
        spent += major * RECLAIM_AT_MOST_S
    return min(spent, system) / (minor + major)


def _huge_faults(run: Run) -> float:
    """Huge pages that the observed requests took, from the whole machine's counter."""
    counted = run.telemetry.column("host.huge_faults")
    if counted is None or len(counted) < 2:
        return 0.0
    begin, end = run.telemetry.t_ns[0], run.telemetry.t_ns[-1]
    requests = int(np.count_nonzero((run.requests.start_ns >= begin) & (run.requests.end_ns <= end)))
    return float(counted[-1] - counted[0]) / max(requests, 1) * len(run.probes.index)


def _marker_of_moments(run: Run, found: Moments) -> Floats:
    """Seconds of stage recording in each moment: clocks are read outside of a span, so its surroundings pay for both ends."""
    if not len(found.request):
        return np.zeros(0)
    same = found.request[1:] == found.request[:-1]
    deeper_next = np.r_[same & (found.depth[1:] > found.depth[:-1]), False]
    deeper_before = np.r_[False, same & (found.depth[:-1] > found.depth[1:])]
    cost = (deeper_next.astype(float) + deeper_before) * run.span_cost_ns / 2 / 1e9
    capped: Floats = np.minimum(cost, (found.end_ns - found.begin_ns) / 1e9)
    return capped


def _marker_seconds(run: Run, found: Moments, rows: npt.NDArray[np.int64]) -> Floats:
    """Seconds of stage recording in each request."""
    return _sums(np.searchsorted(rows, found.request), _marker_of_moments(run, found), len(rows))


def _sums(at: npt.NDArray[np.intp], values: Floats, size: int) -> Floats:
    summed: Floats = np.bincount(at, weights=values, minlength=size).astype(np.float64)
    return summed


def _stage_rows(
    cells: _Cells, owner: Owner, clock: _Clocks, blocked: Sequence[Blocked], run: Run, moved: Moved | None
) -> None:
    """The cells of one owner: on CPU, in page faults, copying, starved, and blocked by site."""
    cpu, faults = _mean(clock.cpu - clock.faults), _mean(clock.faults)
    if moved is not None:
        copying, cpu, faults = _copies_apart(moved, cpu, faults, _fault_seconds(run))
        cells.add(owner, "memory", "timed copies", copying, site="copy")
    cells.add(owner, "cpu", "thread clock", cpu, site=OPENING if owner.opens else "")
    cells.add(owner, "memory", "counted page faults", faults, site="fault")
    cells.add(owner, "starved", "run-queue clock", _mean(clock.starved))
    swapping = _swapping(run)
    for item in blocked:
        if item.computed:
            cells.add(owner, "cpu", "clocks of other processes", item.seconds, site=PROGRAMS)
            continue
        site = SITES[item.site]
        state = "memory" if site == "fault" and swapping else SITE_STATES[site]
        cells.add(
            owner,
            state,
            "sampled",
            item.seconds,
            site="pool" if site == "running" else site,
            overlapped_s=item.overlapped_s,
        )


def _copies_apart(moved: Moved, cpu: Quantity, faults: Quantity, fault_s: float) -> tuple[Quantity, Quantity, Quantity]:
    """Copying, and what is left of computing and of page faults: those in what is copied into are the copy's, by their number,
    also where their calibrated cost says more than the copies took.
    """
    both = cpu.value + faults.value
    copying = moved.seconds.clipped(0.0, both)
    elsewhere = min(max(faults.value - moved.faults * fault_s, 0.0), both - copying.value)
    half = (copying.high - copying.low) / 2
    return (
        copying,
        _less(cpu, cpu.value - (both - copying.value - elsewhere), half),
        _less(faults, faults.value - elsewhere, 0.0),
    )


def _less(seconds: Quantity, by: float, half: float) -> Quantity:
    value = seconds.value - by
    down, up = math.hypot(seconds.value - seconds.low, half), math.hypot(seconds.high - seconds.value, half)
    return Quantity(value, value - down, value + up, seconds.n)


def _handed_rows(cells: _Cells, blocked: Sequence[Blocked], known: Iterable[Owner]) -> dict[Owner, float]:
    """Cells of owners that only other threads had; returns the seconds that the request's own thread waited for each."""
    waited: dict[Owner, float] = defaultdict(float)
    for item in blocked:
        if item.owner not in known:
            site = SITES[item.site]
            cells.add(item.owner, SITE_STATES[site], "sampled", item.seconds, site=site, overlapped_s=item.overlapped_s)
            waited[item.owner] += item.seconds.value
    return waited


def _swapping(run: Run) -> bool:
    """Whether pages came back from swap while the run was recorded."""
    column = run.telemetry.column("host.swap_in_bytes")
    return column is not None and len(column) > 1 and column[-1] > column[0]


def _with_operators(
    run: Run,
    cells: _Cells,
    clocks: Mapping[Owner, _Clocks],
    handed: Mapping[Owner, float],
    rows: npt.NDArray[np.int64],
) -> list[Row]:
    """Replace the on-CPU cell of each profiled session by its operators, its dispatch, and what the roofline says; whichever
    thread it ran in.
    """
    kept = list(cells.rows)
    for split in roofline.sessions(run):
        owners = (*clocks, *handed)
        mine = [owner for owner in owners if owner.stage == MODEL and owner.session == split.arm.session]
        if not mine or not split.splits:
            continue
        labels = {owner.label for owner in mine}
        runs = [r for r in kept if (r.stage, r.state, r.operator) == (MODEL, "cpu", None) and r.site != OPENING]
        on_cpu = [r for r in runs if r.label in labels]
        wall = sum(float(clocks[owner].wall.mean()) if owner in clocks else handed[owner] for owner in mine)
        if any(item.operator.faults for item in split.splits):  # these are a cell of their own, and taken off operators
            wall -= sum(r.seconds.value for r in kept if r.stage == MODEL and r.label in labels and r.site == "fault")
        running = sum(r.seconds.value for r in on_cpu)
        share = min(running / wall, 1.0) if wall > 0 else 1.0
        runs_each = _runs_per_request(run, split.arm.session, rows) * share
        made = _operator_rows(cells, mine[0], split, runs_each, on_cpu)
        if made is not None:
            kept = [r for r in kept if r not in on_cpu] + made
    return kept


def _runs_per_request(run: Run, session: int, rows: npt.NDArray[np.int64]) -> float:
    """How often the session ran in a typical request."""
    name = f"{SESSION_SPAN}{session}"
    if name not in run.span_names or not len(rows):
        return 1.0
    wanted = np.isin(run.spans.index, run.requests.index[rows]) & (run.spans.name == run.span_names.index(name))
    return float(np.count_nonzero(wanted)) / len(rows)


def _operator_rows(
    cells: _Cells, owner: Owner, split: SessionSplit, factor: float, on_cpu: Sequence[Row]
) -> list[Row] | None:
    """Cells of a session's operators times `factor`; None where nothing better than the undivided cell is known. Of `on_cpu`,
    which they replace, what is left beside the overheads stays undivided where the profiler cannot tell operators apart.
    """
    made = _Cells(cells.requests, cells.latency)
    if not split.told_apart:
        if split.dispatch is None:
            return None
        if split.work is not None:
            made.add(owner, "cpu", "profile", split.work.scaled(factor), operator=WORK)
        _add_overheads(made, owner, split, factor)
        known = total([row.seconds for row in made.rows])
        clock = total([row.seconds for row in on_cpu])
        if split.work is None and clock.value > known.value:
            left = _less(clock, known.value, max(known.high - known.value, known.value - known.low))
            made.add(owner, "cpu", "thread clock", left, operator=WORK)
        return made.rows
    for item in split.splits:
        seconds = item.seconds.scaled(factor)
        if item.memory is None:
            made.add(owner, "cpu", "profile", seconds, operator=item.operator.name)
            continue
        memory = item.memory.scaled(factor)
        rest = Quantity(
            seconds.value - memory.value,
            max(seconds.low - memory.high, 0.0),
            max(seconds.high - memory.low, seconds.value - memory.value),
            seconds.n,
        )
        made.add(owner, "cpu", "profile", rest, operator=item.operator.name)
        made.add(owner, "memory", "roofline", memory, operator=item.operator.name)
    _add_overheads(made, owner, split, factor)
    return made.rows


def _add_overheads(made: _Cells, owner: Owner, split: SessionSplit, factor: float) -> None:
    """What the runtime charges: once an operator, and once a run."""
    if split.dispatch is not None:
        made.add(owner, "cpu", "calibrated dispatch", split.dispatch.scaled(factor), operator=DISPATCH)
    once = split.ceilings.value("run_s")
    if once is not None:
        made.add(owner, "cpu", "calibrated run", once.scaled(factor), operator=RUN)


def _waiting_share(run: Run) -> float:
    """Of the time in which the target's threads want a CPU, all together, the share in which they do not have one."""
    ran, waited = run.telemetry.column("process.run_s"), run.telemetry.column("process.run_delay_s")
    if ran is None or waited is None or len(ran) < 2:
        return 0.0
    wanted = float(ran[-1] - ran[0] + waited[-1] - waited[0])
    return float(waited[-1] - waited[0]) / wanted if wanted > 0 else 0.0


def _left_over(
    cells: _Cells, clocks: Mapping[Owner, _Clocks], handed: Mapping[Owner, float], waiting: float
) -> Iterator[Row]:
    """Each stage's wall time less its cells, with its sign. What other threads did for a request is a cell of its own stage
    and wall time of the stage in which the request's thread waited for it, where nothing else explains that time. What nothing
    explains of what other threads did is `starved` as far as threads waited for a CPU while they did it.
    """
    rows = cells.rows
    walls: dict[str, Floats] = defaultdict(lambda: np.zeros(1))
    for owner, clock in clocks.items():
        assert owner.stage is not None
        walls[owner.stage] = walls[owner.stage] + clock.wall
    for owner, waited_s in handed.items():
        assert owner.stage is not None
        walls[owner.stage] = walls[owner.stage] + waited_s
    left = {stage: _left_of(stage, wall, rows) for stage, wall in walls.items()}
    waited = sum(handed.values())
    order = sorted(left, key=lambda name: left[name].value)
    for stage in reversed(order):
        part = min(waited, max(left[stage].value, 0.0)) if stage != order[0] else waited
        waited -= part
        left[stage] = _moved(left[stage], -part)
    for stage, seconds in left.items():
        elsewhere = waiting * sum(part for owner, part in handed.items() if owner.stage == stage)
        starved = min(max(seconds.value, 0.0), elsewhere)
        if starved > NOT_A_CELL_S:
            found = Quantity(starved, max(min(seconds.low, elsewhere), 0.0), elsewhere, seconds.n)
            yield _row(cells, stage, "starved", "run-queue clocks of all threads", found)
        yield _row(cells, stage, "unexplained", "latency less all cells", _moved(seconds, -starved))


def _row(cells: _Cells, stage: str, state: str, source: str, seconds: Quantity) -> Row:
    return Row("latency", 1, cells.requests, stage, None, state, source, seconds, seconds.value / cells.latency.value)


def _moved(seconds: Quantity, by: float) -> Quantity:
    return Quantity(seconds.value + by, seconds.low + by, seconds.high + by, seconds.n)


def _left_of(stage: str, wall: Floats, rows: Sequence[Row]) -> Quantity:
    """A stage's wall time less its cells."""
    mean = _mean(np.broadcast_to(wall, (max(len(wall), 1),)))
    sum_of_parts = total(_independent([r for r in rows if r.stage == stage]))
    value = mean.value - sum_of_parts.value
    down = math.hypot(mean.high - mean.value, sum_of_parts.high - sum_of_parts.value)
    up = math.hypot(mean.value - mean.low, sum_of_parts.value - sum_of_parts.low)
    return Quantity(value, value - down, value + up, mean.n)


def _independent(rows: Sequence[Row]) -> list[Quantity]:
    """The rows' seconds with both cells of an operator as one: where its time is split does not change its sum."""
    found = [r.seconds for r in rows if r.operator is None]
    by_operator: dict[tuple[str, str | None], list[Row]] = defaultdict(list)
    for row in rows:
        if row.operator is not None:
            by_operator[(row.label, row.operator)].append(row)
    for cells in by_operator.values():
        value = sum(r.seconds.value for r in cells)
        memory = next((r.seconds for r in cells if r.source == "roofline"), None)
        low, high = sum(r.seconds.low for r in cells), sum(r.seconds.high for r in cells)
        if memory is not None and len(cells) > 1:
            low, high = low - memory.low + memory.high, high - memory.high + memory.low
        found.append(Quantity(value, min(low, value), max(high, value), cells[0].seconds.n))
    return found


def _unobserved(run: Run, chosen: Steady) -> Ledger:
    """No request of the set had its clocks read: everything is unexplained."""
    latency = _mean(run.requests.latency_s[chosen.typical])
    row = Row("latency", 1, "typical", "framework", None, "unexplained", "latency less all cells", latency, 1.0)
    return Ledger("latency", "typical", latency, (row,))


def _mean(values: Floats) -> Quantity:
    if len(values) < 2:
        value = float(values[0]) if len(values) else 0.0
        return Quantity(value, value, value, len(values))
    return stats.mean_interval(values)


def _sorted(rows: Iterable[Row]) -> list[Row]:
    """Largest first; unexplained last."""
    return sorted(rows, key=lambda r: (r.state == "unexplained", -r.seconds.value))
