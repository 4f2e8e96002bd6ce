"""A number as this project prints it: a value, a 95 % interval, and how many observations it rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its 95 % interval `low`..`high` and the count `n` of observations. Never NaN."""

    value: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (self.value, self.low, self.high)):
            raise ValueError(f"a quantity must be finite: {self}")

    def scaled(self, factor: float) -> Quantity:
        """This quantity times an exact factor."""
        ends = sorted((self.low * factor, self.high * factor))
        return Quantity(self.value * factor, ends[0], ends[1], self.n)

    def clipped(self, low: float, high: float) -> Quantity:
        """This quantity with value and ends limited to `low`..`high`."""
        bounded = [min(max(x, low), high) for x in (self.value, self.low, self.high)]
        return Quantity(bounded[0], bounded[1], bounded[2], self.n)

    def over(self, other: Quantity) -> Quantity:
        """The ratio of two independent positive quantities (errors add in quadrature, in logarithms)."""
        value = self.value / other.value
        up = math.hypot(_relative(self.high, self.value), _relative(other.value, other.low))
        down = math.hypot(_relative(self.value, self.low), _relative(other.high, other.value))
        return Quantity(value, value * math.exp(-down), value * math.exp(up), min(self.n, other.n))


def exact(value: float, n: int = 1) -> Quantity:
    """A quantity known without error, such as a count or a size."""
    return Quantity(value, value, value, n)


def total(parts: tuple[Quantity, ...] | list[Quantity]) -> Quantity:
    """The sum of independent quantities: half-widths add in quadrature, each side on its own."""
    value = math.fsum(p.value for p in parts)
    down = math.sqrt(math.fsum((p.value - p.low) ** 2 for p in parts))
    up = math.sqrt(math.fsum((p.high - p.value) ** 2 for p in parts))
    return Quantity(value, value - down, value + up, min((p.n for p in parts), default=0))


def _relative(larger: float, smaller: float) -> float:
    """ln(larger / smaller), bounded for a smaller end at or below zero."""
    tiny = 1e-12
    return math.log(max(larger, tiny) / max(smaller, tiny)) if larger > smaller else 0.0


def product(seconds: Quantity, share: Quantity) -> Quantity:
    """A product of two independent quantities: relative half-widths add in quadrature."""
    value = seconds.value * share.value
    down = math.hypot((seconds.value - seconds.low) * share.value, seconds.value * (share.value - share.low))
    up = math.hypot((seconds.high - seconds.value) * share.value, seconds.value * (share.high - share.value))
    return Quantity(value, max(value - down, 0.0), value + up, seconds.n)
