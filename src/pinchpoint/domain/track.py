"""A run on one time line: what happened when, thinned so that its size does not grow with the run."""

from __future__ import annotations

from dataclasses import dataclass

Facts = tuple[tuple[str, str | int | float], ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of a track, in nanoseconds after the begin of the trace; `facts` are what is known of it."""

    name: str
    begin_ns: int
    end_ns: int
    facts: Facts = ()


@dataclass(frozen=True, slots=True)
class Track:
    """Slices in order of their begin; any two of them lie apart or one within the other."""

    group: str
    name: str
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """A value over time, such as `process.cpu_s` `a second`: each point (nanoseconds, value) holds until the next."""

    group: str
    name: str
    measure: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """All tracks and series of a run; `begin_ns` is its begin on CLOCK_MONOTONIC, `left_out` says what is not in it."""

    run: str
    target: str
    begin_ns: int
    tracks: tuple[Track, ...]
    series: tuple[Series, ...]
    facts: Facts = ()
    left_out: tuple[str, ...] = ()
