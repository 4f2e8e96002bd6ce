"""Requests less than a latency apart: those that a batching window holds back end together, those that each wait end apart.

From outside a window that a program makes itself is a timer like any other. What tells them apart is whether a request that comes
in the middle of another one's wait has a wait of its own.
"""

from __future__ import annotations

import numpy as np

from pinchpoint.domain.arrivals import CONSTANT, Arrivals
from pinchpoint.domain.service import Spaced
from pinchpoint.load import records
from pinchpoint.load.crew import Rows

SHORTEST_S, LONGEST_S = 0.004, 0.15  # of a latency: in less nobody waits, of more there is no time for enough
REQUESTS, AT_MOST_S = 16, 1.2
FEWEST = 12
APART = 0.75  # of a latency, from one to the next: two workers that take it each keep up
TOGETHER = 0.25  # of the time between two of them, at which they end
WHOLE = 0.85  # of the usual latency, which the first of a window waits: a poll finds it at any time


def plan(typical_s: float) -> tuple[Arrivals, float] | None:
    """How to send, and for how many seconds; None where a latency is too short or too long for it."""
    if not SHORTEST_S <= typical_s <= LONGEST_S:
        return None
    spacing_s = APART * typical_s
    return Arrivals(CONSTANT, concurrency=1, rate_per_s=1 / spacing_s), min(REQUESTS * spacing_s, AT_MOST_S)


def told(rows: Rows, typical_s: float) -> Spaced | None:
    """What came of it; None of too few requests."""
    good = rows[rows["outcome"] == records.OK]
    good = good[np.argsort(good["due_ns"], kind="stable")]
    if len(good) < FEWEST:
        return None
    waited_s = (good["done_ns"] - good["due_ns"]) / 1e9
    apart_s = np.abs(np.diff(good["done_ns"])) / 1e9
    first_whole = np.maximum(waited_s[1:], waited_s[:-1]) >= WHOLE * typical_s
    together = (apart_s < TOGETHER * APART * typical_s) & first_whole
    joined = np.concatenate(([False], together)) | np.concatenate((together, [False]))
    return Spaced(APART * typical_s, len(joined), int(np.count_nonzero(joined)))
