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
SAME_INPUTS = 0.5  # of the inputs that there could be: slow requests of fewer are slow for what they bring
STILL = 3.0  # times typical latency: longer without a request, and others came in between, or none at all


def recurring(run: Run, main: Mask, typical_s: float, bound_s: float) -> Recurring | None:
    """The distance that most slow requests of `main` have to the one before; None where there are too few to say. Slow is what is
    nearer to the percentile `bound_s` than to a typical one. Where inputs come in turns, the same few coming back are no job.
    """
    latency, starts, ends = run.requests.latency_s, run.requests.start_ns, run.requests.end_ns
    slow = np.flatnonzero(main & (latency > (typical_s + bound_s) / 2))
    first = slow[np.diff(slow, prepend=-NOT_NEXT - 1) > NOT_NEXT]
    pause_ns = np.maximum(starts[1:] - ends[:-1], 0)
    breaks = np.concatenate(([0], np.cumsum(pause_ns > STILL * typical_s * 1e9)))
    together = np.diff(breaks[first]) == 0
    inputs = max(len(run.aside.payload_shapes), 1)
    if len(np.unique(run.requests.index[first] % inputs)) < SAME_INPUTS * min(inputs, len(first)):
        return None
    found = []
    for unit, distances, least in (
        ("requests", np.diff(first), 1.0),
        ("seconds", np.diff(starts[first]) / 1e9, typical_s),
    ):
        gaps = distances[together].astype(float)
        if len(gaps) < FEWEST_GAPS:
            return None
        middle = float(np.median(gaps))
        share = stats.share_interval(
            int(np.count_nonzero(np.abs(gaps - middle) <= max(ALIKE * middle, least))), len(gaps)
        )
        found.append(Recurring(share, middle, unit))
    return max(found, key=lambda each: each.share.low, default=None)
