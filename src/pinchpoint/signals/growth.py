"""Memory that stays after a request."""

from __future__ import annotations

from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.growth import Growth, growth

FOREVER_H = 1e6
SECONDS_AN_HOUR = 3600


@signal("memory.growth_bytes", unit="B a request", mechanism="counter")
def kept_bytes(tables: Tables) -> Quantity | str:
    """Memory of its own that the process keeps for each completed request, in the second half of the run."""
    found = growth(tables.run)
    return found if isinstance(found, str) else found.late


@signal("memory.growth_persistence", unit="ratio", mechanism="counter")
def persistence(tables: Tables) -> Quantity | str:
    """Growth a request in the second half over that in the first: 1 for a leak, 0 for a cache that is full."""
    found = growth(tables.run)
    if isinstance(found, str):
        return found
    early, late = found.early, found.late
    if late.value <= 0:
        return exact(0.0, late.n)
    least = max(early.value, late.value / 100)
    value = late.value / least
    half = (late.high - late.low) / 2 / least
    return Quantity(value, max(value - half, 0.0), value + half, late.n)


@signal("memory.hours_to_limit", unit="h", mechanism="counter")
def hours(tables: Tables) -> Quantity | str:
    """Time until the memory limit is reached, with requests one after the other as they were measured."""
    found = growth(tables.run)
    if isinstance(found, str):
        return found
    environment = tables.run.environment
    whole = environment.memory_limit_bytes or environment.memory_bytes
    if whole is None:
        return "how much memory there is is not known"
    free = max(whole - found.bytes_now, 0)
    value, low, high = (_hours(free, found, end) for end in (found.late.value, found.late.high, found.late.low))
    return Quantity(value, min(low, value), max(high, value), found.late.n)


def _hours(free: float, found: Growth, each: float) -> float:
    rate = each * found.requests_per_s
    return min(free / rate / SECONDS_AN_HOUR, FOREVER_H) if rate > 0 else FOREVER_H


GROWTH_SIGNALS = (kept_bytes, persistence, hours)
