"""Run -> Tail: what slow requests spend beyond typical ones, cell by cell and with its sign, and what happened meanwhile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pinchpoint import stats
from pinchpoint.domain.ledger import Ledger, Row
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import COLLECTION, Run
from pinchpoint.domain.tail import Tail
from pinchpoint.ledger import account
from pinchpoint.recurring import recurring
from pinchpoint.service_ledger import NETWORK_STAGE, QUEUE_STAGE, looked_at
from pinchpoint.stage_names import UNPLACED
from pinchpoint.timeline import Mask, Steady, first_of_shape, steady
from pinchpoint.told_stages import are_told

PERCENTILES = ((0.99, "p99"), (0.95, "p95"), (0.9, "p90"))  # the first that the sample resolves
FULL = 2  # the generation of collections that visit every object
FEWEST_KNOWN = 5  # first requests of a shape that have another to be compared with
FEWEST_OBSERVED = 3  # slow requests whose clocks were read
ELSEWHERE = (NETWORK_STAGE, QUEUE_STAGE)  # stages that are not inside of a server
Floats = npt.NDArray[np.float64]
Key = tuple[str, str, str, str]


def tail(run: Run) -> Tail | None:
    """The slow requests of a run against its typical ones; None where it has too few for any of the percentiles."""
    chosen = steady(run)
    latency = run.requests.latency_s
    main = latency[chosen.main]
    named = next(((q, name) for q, name in PERCENTILES if len(main) >= stats.samples_needed(q)), None)
    if named is None:
        return None
    q, name = named
    bound = stats.quantile_interval(main, q)
    if bound is None:
        return None
    slow = chosen.main & (latency >= bound.value)
    if np.count_nonzero(slow) < 2:
        return None
    collected = collection_seconds(run)
    excess, share = _share(latency, collected, slow, chosen.typical)
    of_shapes = shape_seconds(run)
    known = not np.any(np.isnan(of_shapes[slow | chosen.typical]))
    shape_share = _share(latency, of_shapes, slow, chosen.typical)[1] if known else None
    again = recurring(run, chosen.main, float(latency[chosen.typical].mean()), bound.value)
    told = share if run.service is None else None
    return Tail(name, q, bound, excess, _differences(run, chosen, slow), told, shape_share, again)


def collection_seconds(run: Run, least_generation: int = 0) -> Floats:
    """Seconds of garbage collection within each request, of collections of at least this generation."""
    mine = (run.events.kind == COLLECTION) & (run.events.detail >= least_generation)
    begin, end = run.events.begin_ns[mine], run.events.end_ns[mine]
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], end[order]
    before = np.concatenate(([0], np.cumsum(end - begin)))

    def until(moment: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        at = np.searchsorted(begin, moment, side="right")
        last = np.maximum(at - 1, 0)
        over = np.where(at > 0, np.maximum(end[last] - moment, 0), 0) if len(end) else np.zeros(len(moment), np.int64)
        found: npt.NDArray[np.int64] = before[at] - over
        return found

    seconds: Floats = (until(run.requests.end_ns) - until(run.requests.start_ns)) / 1e9
    return seconds


def shape_seconds(run: Run) -> Floats:
    """Seconds that the first request of a shape takes beyond another of the same payload, or else of the same shape; 0 for
    all other requests. A first one that has no other is taken to lose the share of its time that the rest lose, and NaN
    where those are too few.
    """
    requests, latency = run.requests, run.requests.latency_s
    counted = requests.ok & ~requests.second
    fresh = first_of_shape(run) & counted
    seconds: Floats = np.zeros(len(latency))
    shapes = np.array(run.aside.payload_shapes, dtype=np.int64)
    if not len(shapes):
        return seconds
    numbers = requests.index % len(shapes)
    again = np.array(run.aside.again, dtype=float).reshape(-1, 2)
    for row in np.flatnonzero(fresh):
        same = counted & ~fresh & (numbers == numbers[row])
        others = latency[same] if np.any(same) else again[again[:, 0] == numbers[row], 1]
        if not len(others) and shapes[numbers[row]] >= 0:
            others = latency[counted & ~fresh & (shapes[numbers] == shapes[numbers[row]])]
        seconds[row] = max(latency[row] - float(np.median(others)), 0.0) if len(others) else np.nan
    alone = np.isnan(seconds)
    known = fresh & ~alone
    if np.any(alone) and np.count_nonzero(known) >= FEWEST_KNOWN:
        seconds[alone] = latency[alone] * (seconds[known].sum() / latency[known].sum())
    return seconds


def _share(latency: Floats, part: Floats, slow: Mask, typical: Mask) -> tuple[Quantity, Quantity]:
    """Seconds that slow requests take beyond typical ones, and the share of them that is `part`."""
    more = latency[slow] - latency[typical].mean()
    of_part = part[slow] - part[typical].mean()
    share = stats.ratio_interval(of_part, more) if more.mean() > 0 else exact(0.0, len(more))
    return stats.mean_interval(more), share


def _differences(run: Run, chosen: Steady, slow: Mask) -> Ledger | None:
    """Cells of slow requests less those of typical ones; None where too few slow requests had their clocks read."""
    if np.count_nonzero(slow & run.requests.observed) < FEWEST_OBSERVED:
        return None
    only_told = are_told(run) and not looked_at(run, chosen.main)
    if run.service is not None and not (looked_at(run, slow) or only_told):
        return None
    usual = account(run, chosen, "typical", operators=False)
    here = account(run, replace(chosen, typical=slow), "tail", operators=False)
    more = _less(here.latency, usual.latency)
    together = run.service is not None and not are_told(run)
    before, after = (_cells(part.rows, together=together) for part in (usual, here))
    rows = []
    for key in dict.fromkeys((*after, *before)):
        stage, state, site, label = key
        seconds = _less(after.get(key, _NOTHING), before.get(key, _NOTHING))
        source = next(r.source for r in (*here.rows, *usual.rows) if _key(r, together=together) == key)
        share = seconds.value / more.value if more.value else 0.0
        rows.append(Row("tail", 1, "tail", stage, None, state, source, seconds, share, 0.0, label, site))
    rows.sort(key=lambda row: (row.state == "unexplained", -abs(row.seconds.value)))
    return Ledger("tail", "tail", more, tuple(rows), here.stages_from)


_NOTHING = Quantity(0.0, 0.0, 0.0, 0)


def _key(row: Row, *, together: bool) -> Key:
    """What a cell is told apart by. `together`: those inside of a server have one place, since where it executes is the same
    share of all requests' time, also in the ledger of a few.
    """
    seen = together and row.stage not in ELSEWHERE
    return (UNPLACED if seen else row.stage, row.state, row.site, "" if seen else row.label)


def _cells(rows: Sequence[Row], *, together: bool) -> dict[Key, Quantity]:
    found: dict[Key, Quantity] = {}
    for row in rows:
        key = _key(row, together=together)
        old = found.get(key, _NOTHING)
        new = row.seconds
        found[key] = Quantity(old.value + new.value, old.low + new.low, old.high + new.high, new.n)
    return found


def _less(first: Quantity, second: Quantity) -> Quantity:
    value = first.value - second.value
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return Quantity(value, value - down, value + up, first.n)
