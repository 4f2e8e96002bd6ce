"""Run -> Startup: the phases of its starts, and what of them is reading from disk and optimising graphs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity, exact, total
from pinchpoint.domain.run import Phase, Run, Start
from pinchpoint.domain.startup import PhaseTime, Startup
from pinchpoint.timeline import steady

INPUTS = "inputs"  # made for the measurement: no part of a start
WARM, COLD = "warm", "cold"

Key = tuple[str, str]


def startup(run: Run) -> Startup | None:
    """The startup table; None where the run holds no start."""
    if not run.startup:
        return None
    warm = [start for start in run.starts if start.cache == WARM]
    cold = [start for start in run.starts if start.cache == COLD]
    base = warm or cold or [Start("as found", run.startup)]
    warm_up, warm_up_s = _warm_up(run)
    return Startup(
        found=exact(_seconds(run.startup)),
        warm=_whole(warm),
        cold=_whole(cold),
        reading=_difference(cold, warm),
        read_bytes=_mean([_read(start) for start in cold]),
        optimising=_optimising(run),
        phases=_phases(base, cold),
        busy_lines=run.busy_lines,
        warm_up=warm_up,
        warm_up_s=warm_up_s,
        cold_reason="" if cold else run.cold_ended or run.starts_ended,
        again_reason="" if len(warm) > 1 else run.starts_ended,
    )


def _seconds(phases: Sequence[Phase]) -> float:
    return sum(phase.seconds for phase in phases if phase.name != INPUTS)


def _whole(starts: Sequence[Start]) -> Quantity | None:
    return _positive(stats.independent_mean([_seconds(start.phases) for start in starts])) if starts else None


def _positive(found: Quantity) -> Quantity:
    """A time, whose interval does not reach below zero."""
    return Quantity(found.value, min(max(found.low, 0.0), found.value), found.high, found.n)


def _difference(cold: Sequence[Start], warm: Sequence[Start]) -> Quantity | None:
    if not cold or not warm:
        return None
    return stats.independent_difference(*([_seconds(start.phases) for start in each] for each in (cold, warm)))


def _read(start: Start) -> float | None:
    return _sum([phase.read_bytes for phase in start.phases if phase.name not in (INPUTS, "interpreter")])


def _sum(values: Sequence[float | None]) -> float | None:
    """The sum of what is known; None where nothing is, or something is not."""
    known = [value for value in values if value is not None]
    return float(sum(known)) if known and len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    whole = _sum(values)
    return None if whole is None else whole / len(values)


def _optimising(run: Run) -> Quantity | None:
    """What graph optimisation takes when the sessions are opened: each pair is one observation."""
    gaps: dict[int, list[float]] = defaultdict(list)
    for each in run.openings:
        gaps[each.session].append(each.seconds - each.plain_s)
    return total([stats.independent_mean(each) for each in gaps.values()]) if gaps else None


def _phases(base: Sequence[Start], cold: Sequence[Start]) -> tuple[PhaseTime, ...]:
    """All phases of the starts, the longest first; one that a start lacks took no time in it."""
    keys = dict.fromkeys((phase.name, phase.detail) for start in (*base, *cold) for phase in start.phases)
    rows = [_phase(key, base, cold) for key in keys if key[0] != INPUTS]
    return tuple(
        sorted(rows, key=lambda row: -max(row.seconds.value, row.cold_seconds.value if row.cold_seconds else 0))
    )


def _phase(key: Key, base: Sequence[Start], cold: Sequence[Start]) -> PhaseTime:
    mine = [_of(start, key) for start in base]
    other = [_of(start, key) for start in cold]
    return PhaseTime(
        name=key[0],
        detail=key[1],
        seconds=_positive(stats.independent_mean([phase.seconds for phase in mine])),
        cold_seconds=_positive(stats.independent_mean([phase.seconds for phase in other])) if other else None,
        cpu_s=_mean([phase.cpu_s for phase in mine]),
        read_bytes=_mean([phase.read_bytes for phase in mine]),
        cold_read_bytes=_mean([phase.read_bytes for phase in other]),
        requested_bytes=_mean([phase.requested_bytes for phase in mine]),
        major_faults=_mean([phase.major_faults for phase in mine]),
    )


def _of(start: Start, key: Key) -> Phase:
    found = next((phase for phase in start.phases if (phase.name, phase.detail) == key), None)
    return found or Phase(key[0], 0.0, 0, key[1], 0.0, 0, 0)


def _warm_up(run: Run) -> tuple[int, float]:
    """How many requests after the first one were cut as warm-up, and by how much they were slower in all than typical ones."""
    chosen = steady(run)
    if not chosen.warm_up or not np.any(chosen.typical):
        return 0, 0.0
    requests = run.requests
    eligible = np.flatnonzero(requests.ok & ~requests.second)[1:]
    latency = requests.latency_s
    slower = latency[eligible[: chosen.warm_up]] - float(latency[chosen.typical].mean())
    return chosen.warm_up, float(slower.sum())
