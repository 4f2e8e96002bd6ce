"""Two things measured in turn: the median of their ratios, with an interval that assumes nothing of how they are spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scipy import special

from bench.noise import Status
from pinchpoint.domain.quantity import Quantity

CONFIDENCE = 0.95


def median_interval(values: Sequence[float]) -> Quantity:
    """The median with the narrowest symmetric pair of order statistics that covers it with 95 % (Conover 1999, 3.2);
    below six values not even the extremes do, and they are given.
    """
    ordered, n = sorted(values), len(values)
    rank = 0
    while rank + 1 < n / 2 and covered(rank + 1, n) >= CONFIDENCE:
        rank += 1
    return Quantity(statistics.median(ordered), ordered[rank], ordered[n - 1 - rank], n)


def covered(rank: int, n: int) -> float:
    """The chance that the median lies between the `rank`-th value from below and from above, counted from 0."""
    return 1 - 2 * float(special.bdtr(rank, n, 0.5))


def ratio(above: Sequence[float], below: Sequence[float]) -> Quantity:
    """The median of the ratios of pairs."""
    return median_interval([a / b for a, b in zip(above, below, strict=True)])


def at_most(limit: float, found: Quantity) -> Status:
    """Holds if the whole interval is within the limit, violated if none of it is."""
    if found.high <= limit:
        return "holds"
    return "violated" if found.low > limit else "inconclusive"


def said(found: Quantity) -> str:
    """A ratio with its interval."""
    return f"{found.value:.2f} ({found.low:.2f}-{found.high:.2f})"
