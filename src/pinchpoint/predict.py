"""Tables + Change -> Prediction: edits the cells of the ledger and adds them up again.

A prediction is arithmetic on what was measured and on the ceilings: it says what the change would do if the cells that it
names moved as stated and nothing else did. It knows nothing of effects outside those cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pinchpoint import head_of_line, pauses, stats
from pinchpoint.contracts import Remedy, Tables
from pinchpoint.domain.change import Change, DemandEdit, Edit, Prediction
from pinchpoint.domain.demand import Demand
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.ledger import Ledger, Row
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.slow_requests import FULL, collection_seconds, shape_seconds
from pinchpoint.timeline import steady

LEFT_AT_LEAST = 0.001  # of the latency: a prediction never claims that a request becomes free
# What a request takes longer where threads slept for 20 ms before: woken from their CPU's idle states, their caches filled anew.
# On virtual machines 0.5 to 1.7 ms more for servers of 0.1 to 9 ms, at most 5.5 times as long, on a quiet host, up to 3.3 ms and
# 6.5 times on a busy one (bench/waking.py). With faults of real servers 0.4 to 2.5 ms more went than their cells, where they
# computed as well (bench/real.py): meanwhile the other threads and the client sleep. How much of the rest is of that kind is not
# known.
COLD_AFTER_S, COLDER_S, AWAKE_SHARE = 0.020, 0.0033, 0.15
ROOFLINE, STARTUP = "roofline", "startup"
ONE = exact(1.0)
NEW_SHAPES, TYPICAL = "new shapes", "typical latency"
LARGER_AHEAD = "larger requests ahead"
SPINNING = "spinning"  # what goes from the CPU time of a request with a pause after it


def predictions(tables: Tables, findings: Sequence[Finding], remedies: Sequence[Remedy]) -> tuple[Prediction, ...]:
    """What each remedy of each present finding would do, largest gain first; one change is predicted once."""
    found: dict[tuple[str, str, str], Prediction] = {}
    for change in _changes(tables, findings, remedies):
        foreseen = _foreseen(tables, change)
        if foreseen is not None:
            found.setdefault((change.finding, change.remedy, change.words), foreseen)
    return tuple(sorted(found.values(), key=lambda p: -p.gain.value))


def _foreseen(tables: Tables, change: Change) -> Prediction | None:
    if change.demands:
        return predict_throughput(tables, change)
    if change.statistic == STARTUP:
        return predict_startup(tables, change)
    if change.without == SPINNING:
        return predict_cpu(tables, change)
    if change.without == NEW_SHAPES and change.statistic == TYPICAL:
        return predict_known_shapes(tables, change)
    if change.without == LARGER_AHEAD:
        return predict_unblocked(tables, change)
    if change.without:
        return predict_tail(tables, change)
    return predict(tables.typical, change, COLDER_S if tables.run.service is not None else 0.0)


def _changes(tables: Tables, findings: Sequence[Finding], remedies: Sequence[Remedy]) -> Iterator[Change]:
    by_name = {remedy.name: remedy for remedy in remedies}
    for finding in findings:
        if finding.status == "present":
            for name in finding.remedies:
                if name in by_name:
                    for change in by_name[name].propose(tables, finding):
                        # a server that runs is not ours to set
                        yield change if tables.run.service is None else replace(change, setting=())


def predict(ledger: Ledger, change: Change, colder_s: float = 0.0) -> Prediction:
    """Seconds before and after the change, and the gain; for a batch the gain is by item.

    Where a long part of a request is taken away, up to `colder_s` of what is left may go with it, but no more than sleeping was
    ever seen to cost: a bound counts with that.
    """
    before = ledger.latency
    sums = _Sums()
    for row in ledger.rows:
        sums.add(row, _edit(row, change.edits))
    least = max(before.value * LEFT_AT_LEAST, sums.floor)
    value = max(before.value - sums.saved, least)
    down, up = sums.half_widths()
    warm = min(
        value, max(value - colder_s * min(sums.saved / COLD_AFTER_S, 1.0), value * AWAKE_SHARE, least, sums.wire)
    )
    sooner = warm if change.kind == "bound" else value
    after = Quantity(sooner, max(warm * (1 - down / value), least), value + up, sums.n or before.n)
    each = change.per_request
    gain = Quantity(
        each * before.value / after.value, each * before.value / after.high, each * before.value / after.low, after.n
    )
    return Prediction(change, before, after, gain)


def predict_throughput(tables: Tables, change: Change) -> Prediction | None:
    """Requests a second before and after the change: the smallest ceiling of all resources, their demands (at the highest load
    that has the best throughput) and capacities edited; at most as many times more as that ceiling rises, since what holds
    throughput below it now may stay. None where several requests in flight were not measured, or too seldom.
    """
    best, full = tables.best, tables.saturated
    if best is None or full is None:
        return None
    now = [each for each in tables.demands if each.load == full.load]
    then, today = (_least([_ceiling(each, edits) for each in now]) for edits in (change.demands, ()))
    reached = best.throughput_per_s
    if then is None or today is None or reached.low <= 0:
        return None
    used = min(reached.value / today.value, 1.0)
    after = Quantity(
        then.value * used, min(then.low * used, then.value * used), max(then.high, then.value * used), then.n
    )
    gain = Quantity(after.value / reached.value, after.low / reached.high, after.high / reached.low, after.n)
    return Prediction(change, reached, after, gain, full.load)


def _least(ceilings: Sequence[Quantity | None]) -> Quantity | None:
    """The smallest of several; what may be larger than another's highest is not. None without any."""
    known = [each for each in ceilings if each is not None]
    if not known:
        return None
    least = min(known, key=lambda each: each.value)
    return Quantity(least.value, min(each.low for each in known), min(each.high for each in known), least.n)


def predict_tail(tables: Tables, change: Change) -> Prediction | None:
    """The percentile of the tail as it is, and of the same requests without what the change takes from them: full
    collections, which visit what stays, or what the first request of a shape takes longer. None without a tail.
    """
    if tables.tail is None:
        return None
    main = steady(tables.run).main
    latency = tables.run.requests.latency_s
    gone = shape_seconds(tables.run) if change.without == NEW_SHAPES else collection_seconds(tables.run, FULL)
    after = stats.quantile_interval((latency - np.nan_to_num(gone))[main], tables.tail.q)
    before = tables.tail.bound
    if after is None:
        return None
    gain = Quantity(before.value / after.value, before.low / after.high, before.high / after.low, after.n)
    return Prediction(change, before, after, gain)


def predict_startup(tables: Tables, change: Change) -> Prediction | None:
    """A start as it is, and with the parts that the edits name (`reading`, `optimising`) multiplied; None where one of them
    was not measured.
    """
    found = tables.startup
    if found is None:
        return None
    before, parts = found.whole, {"reading": found.reading, "optimising": found.optimising}
    value, halves = before.value, []
    for edit in change.edits:
        part = parts.get(edit.stage or "")
        if part is None:
            return None
        gone, stays = (part.high - part.low) / 2, edit.factor.value
        if (
            edit.stage == "reading" and found.warm is not None
        ):  # without it a start is a warm one, which was seen itself
            halves += [(found.warm.high - found.warm.low) / 2, gone * stays]
        else:
            halves += [gone * (1 - stays)]
        value -= part.value * (1 - stays)
        halves.append(part.value * (edit.factor.high - edit.factor.low) / 2)
    least, half = before.value * LEFT_AT_LEAST, math.hypot(*halves)
    value = max(value, least)
    after = Quantity(value, max(value - half, least), value + half, before.n)
    gain = Quantity(before.value / value, before.value / after.high, before.value / after.low, after.n)
    return Prediction(change, before, after, gain)


def predict_known_shapes(tables: Tables, change: Change) -> Prediction | None:
    """Typical latency as it is, and without what the first request of a shape takes longer."""
    chosen = steady(tables.run).typical
    latency = tables.run.requests.latency_s[chosen]
    if len(latency) < 2:
        return None
    share = stats.ratio_interval(np.nan_to_num(shape_seconds(tables.run)[chosen]), latency)
    left = [max(1 - end, LEFT_AT_LEAST) for end in (share.value, share.high, share.low)]
    before = tables.typical.latency
    after = Quantity(before.value * left[0], before.value * left[1], before.value * left[2], share.n)
    return Prediction(change, before, after, Quantity(1 / left[0], 1 / left[2], 1 / left[1], share.n))


def predict_unblocked(tables: Tables, change: Change) -> Prediction | None:
    """The slowest of small requests at the knee, and the same if no large one had been served before them."""
    full = tables.knee
    found = head_of_line.behind(tables.run, full.load) if full is not None else ""
    if isinstance(found, str):
        return None
    before, gain = found.slowest, found.gain
    after = Quantity(before.value / gain.value, before.value / gain.high, before.value / gain.low, gain.n)
    return Prediction(change, before, after, gain, found.load)


def predict_cpu(tables: Tables, change: Change) -> Prediction | None:
    """CPU seconds of a request with a pause after it, and of the same request until its answer was there; None where pauses
    were not measured. What waking a sleeping thread costs is not known and not in it.
    """
    measured = tables.run.aside.pauses
    if len(measured) < pauses.FEWEST:
        return None
    until_answer = [pause.request_cpu_s for pause in measured]
    more = pauses.left_behind(tables.run)
    after = stats.mean_interval(until_answer)
    before = stats.mean_interval([cpu + each for cpu, each in zip(until_answer, more, strict=True)])
    gain = Quantity(before.value / after.value, before.low / after.high, before.high / max(after.low, 1e-9), after.n)
    return Prediction(change, before, after, gain)


def _ceiling(demand: Demand, edits: Sequence[DemandEdit]) -> Quantity | None:
    """Requests a second that a resource could serve under the first edit that names it; None if unknown or without end."""
    each = demand.seconds_per_request
    if each is None or each.low <= 0:
        return None
    edit = next((edit for edit in edits if demand.resource.startswith(edit.resource)), None)
    factor, capacity = (edit.demand, edit.capacity) if edit else (ONE, ONE)
    if factor.value <= 0:
        return None
    idle = demand.background_per_s.value if demand.background_per_s else 0.0
    low, value, high = (max(demand.capacity * c - idle, 0.0) for c in (capacity.low, capacity.value, capacity.high))
    return Quantity(
        value / (each.value * factor.value),
        low / (each.high * factor.high),
        high / (each.low * factor.low),
        each.n,
    )


@dataclass(slots=True)
class _Sums:
    """What edits take away, and how well it is known.

    The latency itself is known well, so the seconds after a change are known as well as the cells that go, or as those
    that stay, whichever is better. Noise of cells adds in quadrature; what they share (the roofline's overlap of arithmetic
    and memory, an edit's factor) adds linearly. `floor` is what anchored edits leave at the least, where the cells sum to
    more than the latency. `wire` is what stays of the network.
    """

    saved: float = 0.0
    floor: float = 0.0
    gone: list[float] = field(default_factory=lambda: [0.0, 0.0])
    left: list[float] = field(default_factory=lambda: [0.0, 0.0])
    overlap: list[float] = field(default_factory=lambda: [0.0, 0.0])
    factors: list[float] = field(default_factory=lambda: [0.0, 0.0])
    n: int = 0
    wire: float = 0.0

    def add(self, row: Row, edit: Edit | None) -> None:
        """Account for a row under its edit; None leaves it as it is."""
        seconds, factor = row.seconds, edit.factor if edit else None
        kept = 1.0 if factor is None else factor.value
        known = 0.0 if edit and edit.anchored else kept  # an anchored cell ends where its floor is, whatever it is now
        self.saved += seconds.value * (1 - kept)
        self.wire += seconds.value * kept if row.site == "wire" else 0.0
        for side, half in enumerate((seconds.value - seconds.low, seconds.high - seconds.value)):
            if row.source == ROOFLINE:
                self.overlap[side] += half * min(abs(1 - kept), known)
            elif row.state == "unexplained":
                self.left[side] += seconds.value**2
            else:
                self.gone[side] += (half * (1 - kept)) ** 2
                self.left[side] += (half * known) ** 2
        if edit and edit.anchored:
            self.floor += seconds.value * edit.factor.low
        if factor is not None:
            self.factors[0] += seconds.value * (factor.value - factor.low)
            self.factors[1] += seconds.value * (factor.high - factor.value)
            self.n = seconds.n if not self.n else min(self.n, seconds.n)

    def half_widths(self) -> tuple[float, float]:
        """Half-widths of the seconds after the change, below and above."""
        sides = []
        for side in (0, 1):
            noise = math.sqrt(min(self.gone[side], self.left[side]))
            sides.append(math.hypot(noise, self.overlap[side] + self.factors[side]))
        return sides[0], sides[1]


def _edit(row: Row, edits: Sequence[Edit]) -> Edit | None:
    """The first edit that names this cell; None where none does."""
    if row.state == "unexplained":
        return None
    return next((edit for edit in edits if matches(row, edit)), None)


def matches(row: Row, edit: Edit) -> bool:
    """Whether an edit names a cell."""
    pairs = (
        (edit.stage, row.stage),
        (edit.state, row.state),
        (edit.operator, row.operator),
        (edit.site, row.site),
        (edit.label, row.label),
    )
    return all(wanted is None or wanted == has for wanted, has in pairs)
