"""What remedies share that change operators one by one: the cells of an operator, and factors on them."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables
from pinchpoint.domain.change import Edit
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.split import SessionSplit, Split

WELL_FED, USUAL, POOR = (
    1.0,
    1.3,
    2.5,
)  # times the floor that operators reach in a layout and with threads that suit them


def bounded(value: float, low: float, high: float, n: int) -> Quantity:
    """A factor with its ends in order, never below zero."""
    ends = sorted((max(low, 0.0), max(high, 0.0)))
    return Quantity(min(max(value, ends[0]), ends[1]), ends[0], ends[1], n)


def told_apart(tables: Tables) -> Iterator[tuple[SessionSplit, Split]]:
    """Every operator whose own time is known."""
    for session in tables.sessions:
        if session.told_apart:
            for item in session.splits:
                yield session, item


def whole(item: Split, factor: Quantity, *, anchored: bool = False) -> Edit:
    """Both cells of an operator times one factor."""
    return Edit(factor, stage="model", operator=item.operator.name, anchored=anchored)


def near_floor(item: Split, seconds: float) -> Quantity:
    """The factor that brings an operator of `seconds` down towards its floor: how near kernels come is not known
    before it is tried, from just below the floor to 2.5 times it.
    """
    assert item.floors is not None
    usual, best, worst = (item.floors.higher / seconds * times for times in (USUAL, WELL_FED, POOR))
    return bounded(usual, best, worst, item.seconds.n)
