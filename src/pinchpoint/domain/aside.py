"""What was measured beside the requests that count: small arms of their own, and marks between stretches of requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pause:
    """A request and the quiet after it, in CPU seconds of the whole process.

    `own_cpu_s` is that of the request's thread. `steps` are consecutive pieces of the quiet: seconds, and CPU seconds used.
    """

    request_s: float
    request_cpu_s: float
    own_cpu_s: float
    steps: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """The process between two stretches of requests: requests served, its own clocks, and the memory that is its alone.

    `loop_s` is the thread's CPU time of a fixed loop; `waited_s` what all threads together have waited so far for locks and
    semaphores of the target's own code, `expired_s` what the request's thread has waited until a time limit was over;
    `children_s` the CPU time of the processes that it started. -1 where something could not be read.
    """

    t_ns: int
    served: int
    cpu_ns: int
    anonymous_bytes: int
    loop_s: float
    waited_s: float = -1.0
    expired_s: float = -1.0
    children_s: float = -1.0


@dataclass(frozen=True, slots=True)
class Flushed:
    """Pairs of runs of a session on the same inputs: seconds as it is, and with denormal floats taken for zero."""

    session: int
    pairs: tuple[tuple[float, float], ...]


UNSIZED = -1


@dataclass(frozen=True, slots=True)
class Copying:
    """Copies by one function at one line of the target's code, within one stretch of a stage; without a function, the
    beginning of a stage, which copies nothing and says where in the request the others are.

    `size_bytes` are of all `times` together, -1 where the function does not tell; `largest_bytes` those of the largest.
    `stages` are the spans that were open, outermost first: name and kind.
    """

    function: str
    file: str
    line: int
    times: int
    size_bytes: int
    cpu_s: float
    faults: int
    largest_bytes: int
    stages: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """What the thread of one request copied, in order, and the bytes that the request's payload held."""

    payload_bytes: int
    entries: tuple[Copying, ...]


@dataclass(frozen=True, slots=True)
class Asides:
    """All of it; `missing` says what was left out and why."""

    pauses: tuple[Pause, ...] = ()
    stretches: tuple[tuple[Mark, Mark], ...] = ()
    flushed: tuple[Flushed, ...] = ()
    payload_shapes: tuple[int, ...] = ()  # a number for the shapes in each payload, -1 without arrays; they take turns
    again: tuple[tuple[int, float], ...] = ()  # payload, and seconds of a request like it with other values
    copies: tuple[Watched, ...] = ()  # of requests whose copies were timed
    missing: tuple[tuple[str, str], ...] = ()
