"""Run, load -> small requests with others in flight, and how much of their waiting is for larger ones that came before them.

How large a request is, is what its payload takes alone. Of the client's own moments only the end of a request tells when it was
served: one of size s that ended at t was served from about t - s on. A small request waits for large ones at least where they are
served and no small one is, and at most where any large one is: with many workers that is always, and keeps nobody; with a few,
each with connections of its own, the truth lies between.
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
SLOW = 0.95  # small requests beyond this quantile are slow
STATISTIC = "slowest twentieth of small requests"
TOO_FEW = "too few requests were noted with several in flight"
ALIKE = "all requests take about as long alone"
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Behind:
    """Small requests with `load` in flight: their latencies, the part of each in which only large ones were served and the part
    in which any were, and which of them are slow and which typical.
    """

    load: int
    latency_s: Floats
    behind_s: Floats
    at_most_s: Floats
    slow: Mask
    typical: Mask

    @property
    def ratio(self) -> Quantity:
        """Mean latency of the slowest over that of typical ones. A quantile would jump where about as many wait as it leaves."""
        return self.slowest.scaled(1 / float(self.latency_s[self.typical].mean()))

    @property
    def share(self) -> Quantity:
        """Of what slow ones take longer than typical ones, the share in which only larger ones were served; its interval reaches
        to the share in which any were.
        """
        least, most = self._of_what_is_longer(self.behind_s), self._of_what_is_longer(self.at_most_s)
        return Quantity(least.value, least.low, max(least.high, most.high), least.n)

    def _of_what_is_longer(self, part_s: Floats) -> Quantity:
        more = self.latency_s[self.slow] - self.latency_s[self.typical].mean()
        return stats.ratio_interval(part_s[self.slow] - part_s[self.typical].mean(), more).clipped(0.0, 1.0)

    @property
    def without_s(self) -> Floats:
        """Their latencies if none had waited for a large one, in a line as long as it was."""
        return self.latency_s - self.behind_s

    @property
    def slowest(self) -> Quantity:
        """Mean latency of the slowest."""
        return stats.mean_interval(_beyond(self.latency_s))

    @property
    def gain(self) -> Quantity:
        """The same over that of the slowest if none had waited for a large one."""
        return stats.ratio_interval(_beyond(self.latency_s), _beyond(self.without_s))


def behind(run: Run, load: int) -> Behind | str:
    """The small requests at a load; in words, why nothing can be told of them."""
    asked = run.asked
    here = asked.load == load
    if load < 2 or np.count_nonzero(here) < stats.samples_needed(SLOW):
        return TOO_FEW
    sizes = _sizes(asked.payload[asked.load == 1], asked.seconds[asked.load == 1], int(asked.payload.max()) + 1)
    own, begin, end = sizes[asked.payload[here]], asked.begin_ns[here], asked.end_ns[here]
    if np.any(np.isnan(own)):
        return "some inputs were asked too seldom alone to know how long they take"
    small = own <= LARGER * np.median(own)
    if np.all(small):
        return ALIKE
    served = np.maximum((end - own * 1e9).astype(np.int64), begin)
    came, turn = begin[small], served[small]
    any_s, small_s, large_s = (
        _Covered(served[which], end[which]).within(came, turn) for which in (np.ones_like(small), small, ~small)
    )
    latency = (end[small] - begin[small]) / 1e9
    low, high, slow = np.quantile(latency, (0.25, 0.75, SLOW))
    return Behind(load, latency, any_s - small_s, large_s, latency >= slow, (latency >= low) & (latency <= high))


def _beyond(latency_s: Floats) -> Floats:
    """A series whose mean is the mean of those beyond the quantile `SLOW` (Rockafellar & Uryasev 2000, J. Risk 2:21)."""
    slow = np.quantile(latency_s, SLOW)
    found: Floats = slow + np.maximum(latency_s - slow, 0.0) / (1 - SLOW)
    return found


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

    def within(self, begin: Ints, end: Ints) -> Floats:
        """Seconds that are covered between two moments."""
        seconds: Floats = (self._until(end) - self._until(begin)) / 1e9
        return seconds

    def _until(self, moments: Ints) -> Ints:
        at = np.searchsorted(self._begin, moments, side="right")
        last = np.maximum(at - 1, 0)
        over = np.where(at > 0, np.maximum(self._end[last] - moments, 0), 0)
        found: Ints = self._before[at] - over
        return found
