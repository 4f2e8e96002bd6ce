"""What others took of the CPUs during a trial, and what a claim is worth that was tried under it.

Foreign CPU is what all CPUs of our affinity did (/proc/stat) less what this process and its descendants used, so a
neighbour that a bench starts itself is none. It and steal are shares of those CPUs' time. A loud trial is discarded and
tried again.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeAlias, TypeVar

import psutil

Status: TypeAlias = Literal["holds", "violated", "inconclusive", "skipped", "shown"]
T = TypeVar("T")

GOOD: tuple[Status, ...] = ("holds", "shown")
LOUD = 0.05  # of the CPUs' time: more than a tenth of one of two CPUs moves medians by more than what is judged here
RETRIES = 3  # of a discarded trial: a machine that is loud four times in a row is a loud machine
PATIENCE_S, LOOK_S = 20.0, 1.0  # before a retry: most neighbours are done by then
CONFIRMING = 2  # quiet trials that must agree before a claim counts as violated: one may still be bad luck
USER, NICE, SYSTEM, IRQ, SOFTIRQ, STEAL = 1, 2, 3, 6, 7, 8  # columns of a `cpuN` line (proc(5))


@dataclass(frozen=True, slots=True)
class Noise:
    """Shares of the CPUs' time that went to other programs and to other guests, in a trial of so many seconds."""

    foreign: float
    steal: float
    seconds: float

    @property
    def share(self) -> float:
        """The larger of the two."""
        return max(self.foreign, self.steal)

    @property
    def loud(self) -> bool:
        """Whether a trial under it proves nothing."""
        return self.share > LOUD


@dataclass(slots=True)
class Watched:
    """A trial under way; `noise` is known once it is over."""

    noise: Noise = Noise(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Trial(Generic[T]):
    """One trial: what was measured, under what noise, and what it says of the claim."""

    value: T
    noise: Noise
    status: Status


@dataclass(frozen=True, slots=True)
class Tried(Generic[T]):
    """All trials of a claim: the one that counts, and what they say together."""

    best: Trial[T]
    status: Status
    trials: int

    @property
    def value(self) -> T:
        """What the trial that counts measured."""
        return self.best.value

    @property
    def noise(self) -> Noise:
        """The noise under the trial that counts."""
        return self.best.noise


@contextmanager
def watched() -> Iterator[Watched]:
    """Measure the noise while the block runs; a child that is orphaned in it counts as foreign."""
    found = Watched()
    busy, steal, own, began = *_host(), _own(), time.monotonic()
    yield found
    busy_then, steal_then, own_then, ended = *_host(), _own(), time.monotonic()
    found.noise = noise_of(busy_then - busy, steal_then - steal, own_then - own, ended - began, _cpus())


def noise_of(busy_s: float, steal_s: float, own_s: float, seconds: float, cpus: int) -> Noise:
    """The noise of a trial from CPU seconds of everybody, of other guests and of our own."""
    room = max(seconds * cpus, 1e-9)
    return Noise(max(busy_s - own_s, 0.0) / room, max(steal_s, 0.0) / room, seconds)


def tried(measure: Callable[[], T], judge: Callable[[T], Status], retries: int = RETRIES) -> Tried[T]:
    """Try until a quiet trial holds, or as many quiet ones as are needed agree that it does not, or retries are used up."""
    trials: list[Trial[T]] = []
    for number in range(retries + 1):
        if number:
            await_calm()
        with watched() as trial:
            value = measure()
        trials.append(Trial(value, trial.noise, judge(value)))
        if settled(trials):
            break
    return Tried(chosen(trials), together(trials, min(CONFIRMING, retries + 1)), len(trials))


def await_calm(patience_s: float = PATIENCE_S) -> None:
    """Wait until others leave the CPUs alone, or until patience is at its end."""
    deadline = time.monotonic() + patience_s
    loud = True
    while loud and time.monotonic() < deadline:
        with watched() as look:
            time.sleep(LOOK_S)
        loud = look.noise.loud


def settled(trials: list[Trial[T]]) -> bool:
    """Whether another trial could not change what they say."""
    quiet = [t.status for t in trials if not t.noise.loud]
    return any(status in GOOD for status in quiet) or quiet.count("violated") >= CONFIRMING


def together(trials: list[Trial[T]], needed: int) -> Status:
    """What the trials say: a quiet one that holds decides, or `needed` quiet ones that do not; where none was quiet, one
    that holds in spite of the noise; else nothing is known.
    """
    quiet = [t.status for t in trials if not t.noise.loud]
    best = chosen(trials).status
    if quiet.count("violated") >= needed and best not in GOOD:
        return "violated"
    return best if best in GOOD else "inconclusive"


def chosen(trials: list[Trial[T]]) -> Trial[T]:
    """The trial that counts: the first quiet one that holds, else the one with the least noise."""
    good = (t for t in trials if not t.noise.loud and t.status in GOOD)
    return next(good, None) or min(trials, key=lambda t: t.noise.share)


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _host() -> tuple[float, float]:
    """CPU seconds that the CPUs of our affinity were busy, and that were stolen from them, since boot."""
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    tick = 1 / os.sysconf("SC_CLK_TCK")
    busy = steal = 0
    for line in Path("/proc/stat").read_text("ascii").splitlines():
        words = line.split()
        if words[0] in ours:
            busy += sum(int(words[column]) for column in (USER, NICE, SYSTEM, IRQ, SOFTIRQ))
            steal += int(words[STEAL])
    return busy * tick, steal * tick


def _own() -> float:
    """CPU seconds of this process and all its descendants, living and reaped."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(each.ru_utime + each.ru_stime for each in used)
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # gone meanwhile: its parent has reaped it
            times = child.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
