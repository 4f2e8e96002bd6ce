"""Quantities as people read them: one unit, few digits, the interval beside the value."""

from __future__ import annotations

import math

from pinchpoint.domain.quantity import Quantity
from pinchpoint.units import PERCENT, amount_prefix, decimals, digits, duration_unit, percent

FLAG = "flag"  # the unit of what either is or is not
_PREFIXED = ("B", "FLOP")
_UNNAMED = {"1", "ratio", "count", FLAG}
_EXTRA_DIGITS = 1  # at most; a narrower interval is printed as if it had no width


def between(low: float, high: float, places: int) -> str:
    """An interval such as `13.1-13.5`; with `to` where a minus sign would be misread."""
    ends = [f"{_unsigned_zero(end, places):,.{places}f}" for end in (low, high)]
    return f"{ends[0]} to {ends[1]}" if any(end.startswith("-") for end in ends) else f"{ends[0]}-{ends[1]}"


def value_and_interval(quantity: Quantity, scale: float = 1.0, least_places: int = 0) -> tuple[str, str]:
    """Value and interval in units of `scale`, with enough digits that the interval has a width.

    The interval is "" for an exact quantity.
    """
    value, low, high = (x / scale for x in (quantity.value, quantity.low, quantity.high))
    wanted = decimals(max(abs(low), abs(high), abs(value)))
    places = max(least_places, wanted)
    while low < high and f"{low:.{places}f}" == f"{high:.{places}f}" and places < wanted + _EXTRA_DIGITS:
        places += 1
    return f"{_unsigned_zero(value, places):,.{places}f}", between(low, high, places) if low < high else ""


def seconds(quantity: Quantity) -> tuple[str, str, str]:
    """Value, interval and unit of a duration."""
    scale, unit = duration_unit(max(abs(quantity.value), abs(quantity.high)))
    return *value_and_interval(quantity, scale), unit


def share_interval(low: float, high: float) -> str:
    """The interval of a share in whole per cent, such as `68-78`; in tenths where it is narrow, "" where narrower."""
    places = next((p for p in (0, 1) if f"{low * PERCENT:.{p}f}" != f"{high * PERCENT:.{p}f}"), None)
    return "" if places is None else between(low * PERCENT, high * PERCENT, places)


def share(quantity: Quantity, places: int = 0) -> str:
    """A share with its interval, such as `73 % (68-78)`."""
    if places:
        value = f"{_unsigned_zero(quantity.value * PERCENT, places):.{places}f} %"
        inside = (
            between(quantity.low * PERCENT, quantity.high * PERCENT, places) if quantity.low < quantity.high else ""
        )
    else:
        value, inside = percent(quantity.value), share_interval(quantity.low, quantity.high)
    return value + (f" ({inside})" if inside else "")


def figure(quantity: Quantity, unit: str) -> str:
    """Any quantity with its interval, by the unit that its source declares."""
    if unit == "share":
        return share(quantity)
    scale, name = _scale(quantity.value, unit)
    value, inside = value_and_interval(quantity, scale)
    return f"{value} {name}".strip() + (f" ({inside})" if inside else "")


def limit(value: float, unit: str) -> str:
    """A number without interval, by the unit that its source declares."""
    if unit == "share":
        return percent(value)
    scale, name = _scale(value, unit)
    return f"{digits(value / scale)} {name}".strip()


def _scale(value: float, unit: str) -> tuple[float, str]:
    """The scale and the words of a unit: prefixes for seconds, bytes and FLOPs, none for counts and ratios."""
    if unit == "s":
        return duration_unit(value)
    if unit.startswith(_PREFIXED):
        scale, prefix = amount_prefix(value)
        return scale, prefix + unit
    return 1.0, "" if unit in _UNNAMED else unit


def _unsigned_zero(value: float, places: int) -> float:
    """`value`, or 0 where rounding would print a minus before a zero."""
    return 0.0 if math.fabs(value) < 0.5 * 10.0**-places else value
