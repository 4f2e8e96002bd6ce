"""What slow requests have that typical ones have not."""

from __future__ import annotations

import numpy as np

from pinchpoint import head_of_line, stats
from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.slow_requests import shape_seconds
from pinchpoint.timeline import Mask, steady

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
    if tables.tail is None:
        return TOO_FEW
    share = tables.tail.collection_share
    return "the interpreter of a server does not tell when it collects" if share is None else share


@signal("tail.recurring_share", unit="share", mechanism="order of requests")
def recurring(tables: Tables) -> Quantity | str:
    """Of the distances between slow requests, in requests or in seconds, the share that are alike."""
    if tables.tail is None or tables.tail.recurring is None:
        return "too few slow requests"
    return tables.tail.recurring.share


@signal("tail.new_shape_share", unit="share", mechanism="shapes of inputs")
def new_shapes(tables: Tables) -> Quantity | str:
    """Share of the time of slow requests that they take longer for being the first of their shape."""
    if tables.tail is None:
        return TOO_FEW
    slow = steady(tables.run).main & (tables.run.requests.latency_s >= tables.tail.bound.value)
    return _longer(tables, slow)


@signal("request.new_shape_share", unit="share", mechanism="shapes of inputs")
def typical_new_shapes(tables: Tables) -> Quantity | str:
    """Share of typical latency that requests take longer for being the first of their shape."""
    chosen = steady(tables.run).typical
    if np.count_nonzero(chosen) < 2:
        return "too few requests"
    return _longer(tables, chosen)


def _longer(tables: Tables, chosen: Mask) -> Quantity | str:
    """The share in these requests."""
    seconds = shape_seconds(tables.run)[chosen]
    if np.any(np.isnan(seconds)):
        return "shapes were seen once, and could not be asked again"
    return stats.ratio_interval(seconds, tables.run.requests.latency_s[chosen]).clipped(0.0, 1.0)


@signal("tail.company_ratio", unit="ratio", mechanism="wall clock")
def company_ratio(tables: Tables) -> Quantity | str:
    """Of small requests with several in flight, the slowest twentieth over typical ones; 1 where none takes far longer alone than
    others.
    """
    found = _behind(tables)
    return found if isinstance(found, (str, Quantity)) else found.ratio


@signal("tail.behind_share", unit="share", mechanism="order of requests")
def behind_share(tables: Tables) -> Quantity | str:
    """Of what slow ones among small requests then take longer than typical ones, the share in which only larger ones were."""
    found = _behind(tables)
    if isinstance(found, Quantity):
        return exact(0.0, found.n)
    return found if isinstance(found, str) else found.share


def _behind(tables: Tables) -> head_of_line.Behind | Quantity | str:
    """Small requests at the knee, where the line is short enough to tell who is ahead; a ratio of 1 where requests are alike."""
    if not len(tables.run.asked.load):
        return exact(1.0)  # there is one input
    full = tables.knee
    if full is None and tables.saturated is not None:
        return "with several requests in flight fewer are served a second"
    if full is None:
        return f"several requests in flight were not measured: {tables.run.ladder_ended}"
    found = head_of_line.behind(tables.run, full.load)
    return exact(1.0) if found == head_of_line.ALIKE else found


TAIL_SIGNALS = (ratio, collections, recurring, new_shapes, typical_new_shapes, company_ratio, behind_share)
