"""Whether slow requests come back at one distance: every so many requests, or every so many seconds.

A job of the program's own does: a garbage collector that runs after so many new objects, a cache that is emptied each minute.
Slow requests that chance makes lie at all distances: of those between the points of a Poisson process a tenth is within 15 % of
their median.
"""

from __future__ import annotations

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.run import Run
from pinchpoint.domain.tail import Recurring
from pinchpoint.timeline import Mask

FEWEST_GAPS = 4  # which all have to be alike then
ALIKE = 0.15  # of the median distance
NOT_NEXT = 3  # requests: what is nearer is one episode
STILL = 3.0  # times typical latency without a request: a pause, between slices of ours
SLOWER = 1.5  # times typical ones, on average
MOST = 0.5
SAME_INPUTS = 0.5  # of the inputs that there could be: slow requests of fewer are slow for what they bring


def recurring(run: Run, main: Mask, typical_s: float, bound_s: float) -> Recurring | None:
    """The distance that most of the slowest requests of `main` have to the one before; None where they are too few, hardly slower
    than typical ones, or not most of what those above the percentile `bound_s` take longer. Where inputs come in turns, the same
    few coming back are no job.
    """
    latency = run.requests.latency_s
    pause_s = np.diff(run.requests.start_ns) / 1e9 - latency[:-1]
    rested = np.concatenate(([True], pause_s > STILL * typical_s))  # the first one after a pause may be slow for that
    more = np.where(main & ~rested, latency - typical_s, 0.0)
    slow = np.flatnonzero(more > np.median(np.sort(more)[-FEWEST_GAPS - 1 :]) / 2)
    first = slow[np.diff(slow, prepend=-NOT_NEXT - 1) > NOT_NEXT]
    ratio = 1 + float(more[first].mean()) / typical_s if len(first) else 0.0
    if ratio < SLOWER or more[slow].sum() < MOST * more[more >= bound_s - typical_s].sum():
        return None
    inputs = max(len(run.aside.payload_shapes), 1)
    if len(np.unique(run.requests.index[first] % inputs)) < SAME_INPUTS * min(inputs, len(first)):
        return None
    found = []
    begins_s = run.requests.start_ns[first] / 1e9
    for unit, gaps, least in (("requests", np.diff(first), 1.0), ("seconds", np.diff(begins_s), typical_s)):
        if len(gaps) < FEWEST_GAPS:
            return None
        middle = float(np.median(gaps))
        alike = np.count_nonzero(np.abs(gaps - middle) <= max(ALIKE * middle, least))
        found.append(Recurring(stats.share_interval(int(alike), len(gaps)), middle, unit, ratio))
    return max(found, key=lambda each: each.share.low)
