"""A series of a server's own counters -> what it counted between two moments, with intervals from the readings between."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity, total
from pinchpoint.domain.run import Floats, Telemetry, Visit
from pinchpoint.domain.service import Counted, Queued
from pinchpoint.moments_of_service import batched
from pinchpoint.server_counters import GAUGES, PARTS, QUEUE, REQUESTS, count_of, steps_of

FEWER = 0.9  # of the requests that were answered: a server that counted less does not tell of all of itself
FELL = "its counters fell meanwhile: it was started anew, or several processes answer in turn, each for itself"


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted, how many requests in all (None where that is not told), and why it is not used, where it is not."""

    counted: tuple[Counted, ...] = ()
    answered: int | None = None
    reason: str = ""


def tally(told: Telemetry, begin_ns: int, end_ns: int, asked: int) -> Tally:
    """What a server counted from the last reading before one moment to the first one after another, in which `asked` of our
    requests were answered; nothing where there are no such readings.
    """
    first = int(np.searchsorted(told.t_ns, begin_ns, side="right")) - 1
    last = int(np.searchsorted(told.t_ns, end_ns, side="left"))
    if first < 0 or last >= len(told.t_ns):
        return Tally()
    columns = {name: np.diff(values[first : last + 1]) for name, values in told.columns if name not in GAUGES}
    if any(np.any(grown < 0) for grown in columns.values()):
        return Tally(reason=FELL)
    answered = round(float(columns[REQUESTS].sum())) if REQUESTS in columns else None
    if answered is not None and answered < FEWER * asked:
        return Tally(
            reason=f"it counted {answered:,} of {asked:,} answers: the others come from what it does not tell of"
        )
    parts = ((part, step) for step in ("", *steps_of(columns)) for part in PARTS)
    return Tally(tuple(each for part, step in parts if (each := _counted(part, step, columns))), answered)


def queued(told: Telemetry, visits: Sequence[Visit]) -> tuple[Queued, ...]:
    """How long requests queued at each load, with an interval where a load was visited often; none where that is not told."""
    found: dict[int, list[Counted]] = {}
    for visit in visits:
        parts = tally(told, visit.begin_ns, visit.end_ns, 0).counted if visit.load else ()
        found.setdefault(visit.load, []).extend(each for each in parts if each.name == QUEUE)
    return tuple(Queued(load, _in_all(counts)) for load, counts in sorted(found.items()) if counts)


def _in_all(counts: Sequence[Counted]) -> Quantity:
    """The queues of all steps of an ensemble, one after the other."""
    steps = [[each for each in counts if each.step == step] for step in dict.fromkeys(each.step for each in counts)]
    return total([_mean(each) for each in steps])


def _mean(counts: Sequence[Counted]) -> Quantity:
    seconds, times = [each.seconds for each in counts], [each.count for each in counts]
    if len(counts) == 1:
        return counts[0].each
    return replace(stats.ratio_interval(seconds, times), n=sum(times)).clipped(0.0, math.inf)


def _counted(part: str, step: str, grown: Mapping[str, Floats]) -> Counted | None:
    counter = count_of(part, tuple(grown), step)
    seconds = grown.get(f"{part}_s@{step}" if step else f"{part}_s")
    if seconds is None or counter is None or (count := round(float(grown[counter].sum()))) < 1:
        return None
    mean = replace(batched(seconds, grown[counter]), n=count) if len(seconds) > 1 else None
    return Counted(part, count, float(seconds.sum()), mean, "token" if counter.endswith("_tokens") else "request", step)
