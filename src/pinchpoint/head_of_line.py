"""Run, load -> small requests with others in flight, and how much of their waiting is for larger ones that came before them.

How large a request is, is what its payload takes alone. Of the client's own moments only the end of a request tells when it was
served: one of size s that ended at t was served from about t - s on. Where several are served at once that is later than the
truth, so that less waiting is laid to large requests, not more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Floats, Ints, Run

LARGER = 4.0  # times what the median request takes alone: others are small
FEWEST_ALONE = 3  # of a payload, to know what it takes
Q, PERCENTILE = 0.95, "p95 of small requests"
TOO_FEW = "too few requests were noted with several in flight"
ALIKE = "all requests take about as long alone"
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Behind:
    """Small requests with `load` in flight: their latencies, the part of each in which a large one was served, which of them are
    slow and which typical, and the bound of the slow ones.
    """

    load: int
    latency_s: Floats
    behind_s: Floats
    slow: Mask
    typical: Mask
    bound: Quantity

    @property
    def ratio(self) -> Quantity:
        """The bound over the typical latency."""
        typical = float(self.latency_s[self.typical].mean())
        return self.bound.scaled(1 / typical)

    @property
    def share(self) -> Quantity:
        """Of what slow ones take longer than typical ones, the share in which larger ones were served."""
        more = self.latency_s[self.slow] - self.latency_s[self.typical].mean()
        ahead = self.behind_s[self.slow] - self.behind_s[self.typical].mean()
        return stats.ratio_interval(ahead, more).clipped(0.0, 1.0)

    def without(self) -> Quantity | None:
        """The percentile if no small request had waited for a large one."""
        return stats.quantile_interval(self.latency_s - self.behind_s, Q)


def behind(run: Run, load: int) -> Behind | str:
    """The small requests at a load; in words, why nothing can be told of them."""
    asked = run.asked
    here = asked.load == load
    if load < 2 or np.count_nonzero(here) < stats.samples_needed(Q):
        return TOO_FEW
    sizes = _sizes(asked.payload[asked.load == 1], asked.seconds[asked.load == 1], int(asked.payload.max()) + 1)
    own, begin, end = sizes[asked.payload[here]], asked.begin_ns[here], asked.end_ns[here]
    if np.any(np.isnan(own)):
        return "some inputs were asked too seldom alone to know how long they take"
    small = own <= LARGER * np.median(own)
    if np.all(small):
        return ALIKE
    covered = _Covered((end[~small] - own[~small] * 1e9).astype(np.int64), end[~small])
    served = np.maximum((end[small] - own[small] * 1e9).astype(np.int64), begin[small])
    behind_s = (covered(served) - covered(begin[small])) / 1e9
    latency = (end[small] - begin[small]) / 1e9
    bound = stats.quantile_interval(latency, Q)
    if bound is None:
        return TOO_FEW
    low, high = np.quantile(latency, (0.25, 0.75))
    return Behind(load, latency, behind_s, latency >= bound.value, (latency >= low) & (latency <= high), bound)


def _sizes(payload: Ints, seconds: Floats, payloads: int) -> Floats:
    """The median seconds of each payload alone; NaN where it was asked too seldom."""
    found = np.full(payloads, np.nan)
    for number in np.unique(payload).tolist():
        mine = seconds[payload == number]
        if len(mine) >= FEWEST_ALONE:
            found[number] = np.median(mine)
    return found


class _Covered:
    """How much of the time until a moment some intervals cover, each moment counted once."""

    def __init__(self, begin: Ints, end: Ints) -> None:
        order = np.argsort(begin, kind="stable")
        reached = np.maximum.accumulate(end[order])
        fresh = np.concatenate(([True], begin[order][1:] > reached[:-1]))
        self._begin = begin[order][fresh]
        self._end = reached[np.concatenate((np.flatnonzero(fresh)[1:] - 1, [len(order) - 1]))]
        self._before = np.concatenate(([0], np.cumsum(self._end - self._begin)))

    def __call__(self, moments: Ints) -> Ints:
        at = np.searchsorted(self._begin, moments, side="right")
        last = np.maximum(at - 1, 0)
        over = np.where(at > 0, np.maximum(self._end[last] - moments, 0), 0)
        found: Ints = self._before[at] - over
        return found
