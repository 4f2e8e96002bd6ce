"""What plots are drawn from: a run in bins, so that a report's size does not grow with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bin:
    """Requests whose latency lies between `low_s` and `high_s`."""

    low_s: float
    high_s: float
    count: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Requests that began in a stretch of the run, `at_s` seconds after its start: how many, their median and slowest."""

    at_s: float
    count: int
    median_s: float
    slowest_s: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A counter over the run, in `unit` (CPUs or B): pairs of seconds after the first request, and its value from there on."""

    name: str
    unit: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """An operator on the roofline: FLOPs for each byte it must move, and FLOPs a second it reached."""

    name: str
    kind: str
    flops_per_byte: float
    flops_per_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Roof:
    """The ceilings that operators are held against: FLOP/s, and bytes a second where the working set lies."""

    flops_per_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Pictures:
    """Everything that is drawn and is not already a table of the diagnosis."""

    distribution: tuple[Bin, ...] = ()
    course: tuple[Moment, ...] = ()
    operators: tuple[Mark, ...] = ()
    roof: Roof | None = None
    counters: tuple[Curve, ...] = ()
