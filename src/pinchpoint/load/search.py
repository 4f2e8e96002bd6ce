"""The highest rate that a target serves within what was promised: doubling, bisection, and both ends tried once more.

Pure: it says which rate to try next and takes what was found. A trial is an open loop, since a closed one slows down with its
target and never shows what users would wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field

KEPT, BROKEN, UNDECIDED = "kept", "broken", "undecided"
PRECISION = 1.05  # the ends are at most this far apart
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
    """The search so far. `most_per_s` is a rate that must not be exceeded."""

    first_per_s: float
    most_per_s: float = float("inf")
    trials: list[Trial] = field(default_factory=list)
    low: float = 0.0
    high: float = float("inf")
    low_seen: int = 0
    high_seen: int = 0

    def next(self) -> tuple[float, bool] | None:
        """The rate to try next, and whether it is an end that is looked at again; None when there is no more to learn."""
        if len(self.trials) >= MOST_TRIALS or self.high < SMALLEST_RATE:
            return None
        if self.low == 0:
            rate = self.first_per_s if self.high == float("inf") else self.high / 2
            return min(rate, self.most_per_s), False
        if self.high == float("inf"):
            if self.low >= self.most_per_s:
                return (self.low, True) if self.low_seen < 2 else None
            return min(self.low * 2, self.most_per_s), False
        if self.high / self.low > PRECISION:
            return (self.low * self.high) ** 0.5, False
        if self.low_seen < 2:
            return self.low, True
        return (self.high, True) if self.high_seen < 2 else None

    def take(self, rate: float, outcome: str, *, again: bool) -> None:
        """A trial's outcome. One that cannot be decided counts as broken: what is not shown to be kept is not promised."""
        self.trials.append(Trial(rate, outcome, again))
        if outcome == KEPT:
            if again and rate == self.high:
                self.low, self.low_seen, self.high, self.high_seen = rate, 1, float("inf"), 0
                self.high = min(
                    (t.rate_per_s for t in self.trials if t.outcome != KEPT and t.rate_per_s > rate), default=self.high
                )
            elif rate == self.low:
                self.low_seen += 1
            else:
                self.low, self.low_seen = rate, 1
        elif again and rate == self.low:
            self.high, self.high_seen = rate, 1
            self.low = max(
                (t.rate_per_s for t in self.trials if t.outcome == KEPT and t.rate_per_s < rate), default=0.0
            )
            self.low_seen = 1 if self.low else 0
        elif rate == self.high:
            self.high_seen += 1
        else:
            self.high, self.high_seen = rate, 1

    @property
    def confirmed(self) -> bool:
        """Whether both ends were seen twice, or the lower one is the most that was permitted."""
        capped = self.high == float("inf") and self.low >= self.most_per_s
        return self.low_seen >= 2 and (self.high_seen >= 2 or capped)
