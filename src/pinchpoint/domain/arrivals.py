"""How requests arrive."""

from __future__ import annotations

from dataclasses import dataclass

CLOSED, CONSTANT, POISSON, BURST = "closed", "constant", "poisson", "burst"


@dataclass(frozen=True, slots=True)
class Arrivals:
    """`closed` keeps `concurrency` requests in flight, each followed by the next after `think_s`; the others are open loops of
    `rate_per_s` requests a second, whatever becomes of those before, of which `burst` come at once; `concurrency` connections are
    ready for them, or 16 where it is 0.
    """

    loop: str
    concurrency: int = 0
    rate_per_s: float = 0.0
    burst: int = 1
    think_s: float = 0.0
