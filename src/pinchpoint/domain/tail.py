"""Slow requests against typical ones."""

from __future__ import annotations

from dataclasses import dataclass

from pinchpoint.domain.ledger import Ledger
from pinchpoint.domain.quantity import Quantity


@dataclass(frozen=True, slots=True)
class Recurring:
    """Slow requests that come back: the share of the distances between them that are alike, and their median in a `unit`
    (`requests` or `seconds`); `ratio` is how many times as long as a typical one they take.
    """

    share: Quantity
    every: float
    unit: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Tail:
    """Requests above the `percentile` (`q` as a number, `bound` in seconds) and what they spend beyond typical ones.

    `excess` is their mean latency less that of typical requests; `ledger` its cells, with their signs, or None where too few
    of them had their clocks read; `collection_share` is the share of the excess that garbage collections take, None where no
    interpreter tells; `shape_share` that of shapes that are seen for the first time, None where they did not come again;
    `recurring` whether slow requests come back at one distance, None where they are too few.
    """

    percentile: str
    q: float
    bound: Quantity
    excess: Quantity
    ledger: Ledger | None
    collection_share: Quantity | None
    shape_share: Quantity | None = None
    recurring: Recurring | None = None
