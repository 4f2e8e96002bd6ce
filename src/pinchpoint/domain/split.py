"""Operators split at the roofline: ceilings to look up, floors, and what is left above them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Ceiling, OperatorArm, OperatorTime
from pinchpoint.domain.target import Session

FEW_OPERATORS = 600  # of a run: each one more costs `dispatch_further_s`


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The ceilings of one thread count, looked up by what an operator does."""

    rows: tuple[Ceiling, ...]
    threads: int

    def value(self, name: str, dtype: str = "") -> Quantity | None:
        """A ceiling without a footprint; an unknown data type is judged by float32."""
        mine = [c for c in self.rows if c.name == name and c.threads == self.threads]
        exact = next((c.value for c in mine if c.dtype == dtype), None)
        return exact or next((c.value for c in mine if c.dtype in ("float32", "")), None)

    def at(self, name: str, footprint_bytes: float) -> Quantity | None:
        """A bandwidth at a footprint, interpolated between the calibrated ones on a logarithmic scale."""
        mine = sorted(
            (c for c in self.rows if c.name == name and c.threads == self.threads), key=lambda c: c.footprint_bytes
        )
        if not mine:
            return None
        below = [c for c in mine if c.footprint_bytes <= footprint_bytes]
        above = [c for c in mine if c.footprint_bytes > footprint_bytes]
        if not below or not above:
            return (below[-1] if below else above[0]).value
        lower, upper = below[-1], above[0]
        share = math.log(footprint_bytes / lower.footprint_bytes) / math.log(
            upper.footprint_bytes / lower.footprint_bytes
        )
        ends = [
            math.exp((1 - share) * math.log(a) + share * math.log(b))
            for a, b in (
                (lower.value.value, upper.value.value),
                (lower.value.low, upper.value.low),
                (lower.value.high, upper.value.high),
            )
        ]
        return Quantity(ends[0], ends[1], ends[2], min(lower.value.n, upper.value.n))


@dataclass(frozen=True, slots=True)
class Floors:
    """What an operator cannot be faster than, in seconds: arithmetic, weights, activations and table rows."""

    arithmetic: Quantity
    weights: Quantity
    activations: Quantity
    lookups: Quantity

    @property
    def memory(self) -> float:
        """The memory floor: weights, activations and rows come through the same pins."""
        return self.weights.value + self.activations.value + self.lookups.value

    @property
    def higher(self) -> float:
        """The larger of the two floors."""
        return max(self.arithmetic.value, self.memory)


@dataclass(frozen=True, slots=True)
class Split:
    """One operator's seconds a request in its session, split at the floors. `floors` is None where costs are unknown."""

    operator: OperatorTime
    seconds: Quantity
    memory: Quantity | None
    floors: Floors | None

    @property
    def excess(self) -> float:
        """Seconds above both floors."""
        return max(self.seconds.value - self.floors.higher, 0.0) if self.floors else 0.0


@dataclass(frozen=True, slots=True)
class SessionSplit:
    """A session's run: its operators, and what the runtime charges for dispatching them.

    `told_apart` is False where the profiler's event cost dominates: then the operators' own times mean nothing. `work` is
    then their sum, where what an event costs is known well enough (by kind of operator) to be taken off.
    """

    session: Session
    arm: OperatorArm
    splits: tuple[Split, ...]
    dispatch: Quantity | None
    told_apart: bool
    ceilings: Ceilings
    work: Quantity | None = None
