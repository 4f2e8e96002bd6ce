"""What slow requests have that typical ones have not."""

from __future__ import annotations

from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity

TOO_FEW = "too few requests for a percentile"


@signal("tail.ratio", unit="ratio", mechanism="wall clock")
def ratio(tables: Tables) -> Quantity | str:
    """The highest percentile that the sample resolves over typical latency."""
    if tables.tail is None:
        return TOO_FEW
    bound, typical = tables.tail.bound, tables.typical.latency.value
    return Quantity(bound.value / typical, bound.low / typical, bound.high / typical, bound.n)


@signal("tail.collection_share", unit="share", mechanism="interpreter's events")
def collections(tables: Tables) -> Quantity | str:
    """Share of what slow requests take longer in which the garbage collector ran."""
    return TOO_FEW if tables.tail is None else tables.tail.collection_share


TAIL_SIGNALS = (ratio, collections)
