"""Latencies of simulated requests, many runs at once: independent ones, queues with one server and two, closed loops.

A series has a row a run. Queues start empty and are driven until that no longer shows; a request's service takes 1 on average.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bench import queues

Floats: TypeAlias = npt.NDArray[np.float64]
Shape: TypeAlias = tuple[int, int]
Draw: TypeAlias = Callable[[np.random.Generator, Shape], Floats]
Law: TypeAlias = Callable[[float, float], float]

WARM_UP = 3000  # requests; forty times the time that a queue at 80 % load remembers
BURST = 20  # requests, on average, before the arrivals change their pace
PACES = (0.5, 1.5)  # gaps of a burst, and between bursts, as shares of the mean gap
PAUSE, APART, SLOWER = 20, 200, 3.0  # requests that a slow phase lasts, and from one to the next on average


@dataclass(frozen=True, slots=True)
class Runs:
    """Latencies in the order of arrival; times of completion, where the requests shared something."""

    latency_s: Floats
    done_s: Floats | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A process by name: `drawn(rng, runs, requests)`, whether it is a closed loop, and its quantiles where they are known."""

    name: str
    drawn: Callable[[np.random.Generator, int, int], Runs]
    closed: bool = False
    law: Callable[[float], float] | None = None


def exponential(rng: np.random.Generator, shape: Shape) -> Floats:
    return rng.exponential(1.0, shape)


def constant(_: np.random.Generator, shape: Shape) -> Floats:
    return np.ones(shape)


def two_points(rng: np.random.Generator, shape: Shape) -> Floats:
    """Nine of ten are short, one takes eleven times as long."""
    return np.where(rng.random(shape) < 0.9, 0.5, 5.5)


def hyperexponential(rng: np.random.Generator, shape: Shape) -> Floats:
    """A squared coefficient of variation of 4."""
    return np.where(rng.random(shape) < 0.9, 0.6, 4.6) * rng.exponential(1.0, shape)


def erlang(rng: np.random.Generator, shape: Shape) -> Floats:
    return rng.gamma(2.0, 0.5, shape)


def pauses(rng: np.random.Generator, shape: Shape) -> Floats:
    """Now and then a server is slow for a while, as one that collects garbage or shares its CPU."""
    begun = np.cumsum(rng.random((shape[0], shape[1] + PAUSE)) < 1 / APART, axis=1)
    return np.where(begun[:, PAUSE:] > begun[:, :-PAUSE], SLOWER, 1.0) * rng.exponential(1.0, shape)


def bursts(rng: np.random.Generator, shape: Shape) -> Floats:
    """Gaps of arrivals that come in bursts."""
    pace = np.cumsum(rng.random(shape) < 1 / BURST, axis=1) % 2
    return np.where(pace == 1, *PACES) * rng.exponential(1.0, shape)


def independent(name: str, draw: Draw) -> Series:
    return Series(name, lambda rng, runs, count: Runs(draw(rng, (runs, count))))


def queue(name: str, load: float, service: Draw, gaps: Draw = exponential, law: Law | None = None) -> Series:
    """One server, first come first served (Lindley 1952); `law(q, load)` are its quantiles."""

    def drawn(rng: np.random.Generator, runs: int, count: int) -> Runs:
        shape = (runs, count + WARM_UP)
        served, gap = service(rng, shape), gaps(rng, shape) / load
        latency = np.zeros(shape)
        np.cumsum((served - gap)[:, :-1], axis=1, out=latency[:, 1:])
        latency -= np.minimum.accumulate(latency, axis=1)
        latency += served
        due = np.cumsum(gap, axis=1) - gap  # a request's gap follows it
        return Runs(latency[:, WARM_UP:], (due + latency)[:, WARM_UP:])

    return Series(name, drawn, law=law and (lambda q: law(q, load)))


def two_servers(name: str, load: float, service: Draw) -> Series:
    """One line before two servers (Kiefer & Wolfowitz 1955); completions are not in the order of arrival."""

    def drawn(rng: np.random.Generator, runs: int, count: int) -> Runs:
        shape = (count + WARM_UP, runs)
        served, due = service(rng, shape), np.cumsum(exponential(rng, shape) / (2 * load), axis=0)
        sooner, later = np.zeros(runs), np.zeros(runs)
        done = np.empty(shape)
        for at in range(shape[0]):
            done[at] = ended = np.maximum(sooner, due[at]) + served[at]
            sooner, later = np.minimum(ended, later), np.maximum(ended, later)
        return Runs((done - due)[WARM_UP:].T, done[WARM_UP:].T)

    return Series(name, drawn)


def closed_loop(name: str, concurrency: int, service: Draw) -> Series:
    """So many in flight before one server that never idles: each waits for those before it."""

    def drawn(rng: np.random.Generator, runs: int, count: int) -> Runs:
        done = np.cumsum(service(rng, (runs, count + concurrency)), axis=1)
        return Runs(done[:, concurrency:] - done[:, :-concurrency], done[:, concurrency:])

    return Series(name, drawn, closed=True)


DESIGN = (
    independent("exponential", exponential),
    independent("lognormal", lambda rng, shape: rng.lognormal(0.0, 1.0, shape)),
    independent("constant+noise", lambda rng, shape: 1 + 0.05 * rng.standard_normal(shape)),
    independent("two points", lambda rng, shape: two_points(rng, shape) * (1 + 0.02 * rng.standard_normal(shape))),
    queue("M/M/1 50 %", 0.5, exponential, law=queues.mm1),
    queue("M/D/1 50 %", 0.5, constant, law=queues.md1),
    queue("M/2pt/1 50 %", 0.5, two_points),
    queue("M/M/1 80 %", 0.8, exponential, law=queues.mm1),
    queue("M/D/1 80 %", 0.8, constant, law=queues.md1),
    queue("M/2pt/1 80 %", 0.8, two_points),
)
EVALUATION = (
    queue("M/H2/1 70 %", 0.7, hyperexponential),
    queue("M/E2/1 80 %", 0.8, erlang),
    two_servers("M/M/2 80 %", 0.8, exponential),
    queue("bursts/M/1 60 %", 0.6, exponential, bursts),
    closed_loop("closed, 8", 8, lambda rng, shape: rng.lognormal(-0.5, 1.0, shape)),
)
HELD_OUT = (
    queue("M/lognormal/1 60 %", 0.6, lambda rng, shape: rng.lognormal(-0.5, 1.0, shape)),
    queue("D/E2/1 90 %", 0.9, erlang, constant),
    closed_loop("closed, 32", 32, exponential),
    closed_loop("closed, 4, slow phases", 4, pauses),
)
