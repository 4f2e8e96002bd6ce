"""Times in a system with one server, first come first served, Poisson arrivals: closed forms, and one simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CUSTOMERS, CHUNK = 10_000_000, 1_000_000


def mm1(q: float, load: float) -> float:
    """The `q` quantile of the time in an M/M/1 system, in mean service times (exponential: Kleinrock 1975, 5.7)."""
    return -math.log(1 - q) / (1 - load)


def md1(q: float, load: float) -> float:
    """The same of M/D/1: a service time, and the quantile of the wait."""
    low, high = 0.0, 1.0
    while md1_wait(high, load) < q:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if md1_wait(middle, load) >= q else (middle, high)
    return 1 + high


def md1_wait(t: float, load: float) -> float:
    """The chance to wait at most `t` service times in M/D/1 (Erlang 1909; Crommelin 1932). Its terms alternate: good to nine
    digits up to some 15 service times at a load of 0.8.
    """
    terms = ((-load * (t - k)) ** k / math.factorial(k) * math.exp(load * (t - k)) for k in range(math.floor(t) + 1))
    return (1 - load) * math.fsum(terms)


def mean(load: float, squared: float) -> float:
    """The mean time in an M/G/1 system whose service times have mean 1 and mean square `squared` (Pollaczek & Khinchine)."""
    return 1 + load * squared / 2 / (1 - load)


def waits(gaps: Floats, services: Floats, before: float = 0.0) -> Floats:
    """What each customer waits (Lindley 1952): the first one `before`, and one more than there are customers."""
    walk = np.concatenate(([before], before + np.cumsum(services - gaps)))
    found: Floats = walk - np.minimum(np.minimum.accumulate(walk), 0.0)
    return found


@cache
def simulated(load: float, draw: Callable[[np.random.Generator, int], Floats], customers: int = CUSTOMERS) -> Floats:
    """Times in an M/G/1 system of so many customers, sorted; `draw` gives service times of mean 1."""
    generator, before, found = np.random.default_rng(1), 0.0, []
    for _ in range(max(1, customers // CHUNK)):
        size = min(customers, CHUNK)
        services = draw(generator, size)
        waited = waits(generator.exponential(1 / load, size), services, before)
        found.append(waited[:-1] + services)
        before = float(waited[-1])
    times: Floats = np.sort(np.concatenate(found))
    return times


def two_point(generator: np.random.Generator, size: int) -> Floats:
    """One customer in ten takes five times the mean, the others five ninths of it."""
    drawn: Floats = np.where(generator.random(size) < 0.1, 5.0, 5.0 / 9)
    return drawn


def two_point_quantile(q: float, load: float) -> float:
    """The `q` quantile of the time in the system of `two_point`, from ten million customers."""
    return float(np.quantile(simulated(load, two_point), q))
