"""The highest rate that a target serves within what was promised: doubling, bisection, then both ends looked at again.

Pure: it says which rate to try next and takes what was found. While it looks, the better guess of a short trial will do; an end
counts only where a second, longer look decides it, and moves outwards until one does. A trial is an open loop, since a closed
one slows down with its target and never shows what users would wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field

KEPT, BROKEN, UNDECIDED = "kept", "broken", "undecided"
PRECISION = 1.06  # the ends are at most this far apart when they are looked at again
STEP = 1.06  # of an end that was not confirmed; the next step is twice as wide
MOST_TRIALS = 40
SMALLEST_RATE = 0.1


@dataclass(frozen=True, slots=True)
class Trial:
    """A rate, what came of it, and whether it was a second look at an end."""

    rate_per_s: float
    outcome: str
    again: bool = False


@dataclass(slots=True)
class Search:
    """The search so far, between `low` and `high`. `most_per_s` is a rate that must not be exceeded."""

    first_per_s: float
    most_per_s: float = float("inf")
    trials: list[Trial] = field(default_factory=list)
    low: float = 0.0
    high: float = float("inf")
    low_sure: bool = False
    high_sure: bool = False
    _again: bool = False  # whether the ends were found, and are looked at again
    _step: float = STEP

    def next(self) -> tuple[float, bool] | None:
        """The rate to try next, and whether it is an end that is looked at again; None when there is no more to learn."""
        if len(self.trials) >= MOST_TRIALS or min(self.high, self.low if self._again else self.high) < SMALLEST_RATE:
            return None
        if not self._again:
            return min(self._between, self.most_per_s), False
        if not self.low_sure:
            return self.low, True
        return None if self.confirmed else (min(self.high, self.most_per_s), True)

    @property
    def _between(self) -> float:
        if self.low == 0:
            return self.first_per_s if self.high == float("inf") else self.high / 2
        return self.low * 2 if self.high == float("inf") else (self.low * self.high) ** 0.5

    def take(self, rate: float, outcome: str, *, again: bool) -> None:
        """A trial's outcome. A second look that does not decide moves the end, since what is not shown is not promised."""
        self.trials.append(Trial(rate, outcome, again))
        if not again:
            self.low, self.high = (rate, self.high) if outcome == KEPT else (self.low, rate)
            self._again = self.low > 0 and (self.high <= self.low * PRECISION or self.low >= self.most_per_s)
        elif self.low_sure:
            self._take_high(rate, outcome)
        else:
            self._take_low(rate, outcome)

    def _take_low(self, rate: float, outcome: str) -> None:
        if outcome == KEPT:
            self.low_sure, self._step = True, STEP
            return
        if outcome == BROKEN:
            self.high, self.high_sure = rate, True
        self.low, self._step = rate / self._step, self._step**2

    def _take_high(self, rate: float, outcome: str) -> None:
        if outcome == BROKEN:
            self.high, self.high_sure = rate, True
            return
        if outcome == KEPT:
            self.low = rate
        self.high, self._step = rate * self._step, self._step**2

    @property
    def confirmed(self) -> bool:
        """Whether both ends were decided by a second look, or the lower one is the most that was permitted."""
        return self.low_sure and (self.high_sure or self.low >= self.most_per_s)
