"""A run of `load`: what was sent to a server, when, and what became of it. Time is CLOCK_MONOTONIC in nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pinchpoint.domain.arrivals import Arrivals
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Environment, Floats, Ints, Telemetry
from pinchpoint.domain.served import Served

MEASURED, SOUGHT, CONFIRMED = "measured", "sought", "confirmed"  # what a level is for


@dataclass(frozen=True, slots=True)
class Slo:
    """What is promised: the `quantile` of latency is at most `bound_s` seconds; a request that fails is a broken promise."""

    quantile: float
    bound_s: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is to be sent: levels of load one after the other, each for `seconds` or `count` requests.

    `payloads` and `headers` are names; what they hold is in no run. `mix` weighs the payloads, which are drawn at random.
    Without levels and with an `slo`, the highest rate that keeps it is looked for, at most `most_per_s` if that is given.
    `mlperf` judges percentiles by the rules of MLPerf Inference as well.
    """

    levels: tuple[Arrivals, ...]
    seconds: float = 10.0
    count: int = 0
    warmup_s: float | None = None
    timeout_s: float = 10.0
    seed: int = 0
    workers: int = 1
    method: str = "GET"
    payloads: tuple[str, ...] = ()
    mix: tuple[float, ...] = ()
    headers: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    check: tuple[str, ...] = ()
    slo: Slo | None = None
    most_per_s: float = 0.0
    mlperf: bool = False


@dataclass(frozen=True, slots=True)
class Sends:
    """Requests, one row each, in the order in which they ended; all of them, or of a long run one in `Level.thinned`.

    `level` numbers `LoadRun.levels`; a time that never was is 0. `outcome` numbers `load.records.OUTCOMES`; `first_ns` is the
    first byte of the answer, of a stream its first event; `bytes` is the answer's size with its head; `server_ns` is what the
    server says that it took, 0 where it says nothing.
    """

    level: Ints
    due_ns: Ints
    sent_ns: Ints
    first_ns: Ints
    done_ns: Ints
    outcome: Ints
    status: Ints
    payload: Ints
    events: Ints
    bytes: Ints
    gap_ns: Ints
    server_ns: Ints

    @property
    def latency_s(self) -> Floats:
        """Seconds from due to done."""
        seconds: Floats = (self.done_ns - self.due_ns) / 1e9
        return seconds

    @property
    def service_s(self) -> Floats:
        """Seconds from sent to done."""
        seconds: Floats = (self.done_ns - self.sent_ns) / 1e9
        return seconds

    @property
    def lag_s(self) -> Floats:
        """Seconds from due to sent."""
        seconds: Floats = (self.sent_ns - self.due_ns) / 1e9
        return seconds

    def of(self, chosen: np.typing.NDArray[np.bool_] | np.typing.NDArray[np.intp]) -> Sends:
        """Those of the chosen rows, by a mask or by their numbers."""
        return Sends(*(getattr(self, name)[chosen] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Buckets:
    """Latencies of all answered requests as counts: bucket `bucket` of `load.histogram`, per level."""

    level: Ints
    bucket: Ints
    count: Ints


@dataclass(frozen=True, slots=True)
class Failure:
    """How many requests of a level failed in one way, with what the first of them said."""

    kind: str
    count: int
    example: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """A stretch under one load; `ended` is `complete` or why it stopped early.

    `cpu_s` and `delay_s` are the client's own: on a CPU, and runnable without one. `unasked` counts bytes that came unasked.
    """

    arrivals: Arrivals
    purpose: str
    begin_ns: int
    end_ns: int
    sent: int
    done: int
    failures: tuple[Failure, ...]
    cpu_s: float
    delay_s: float
    connects: int
    unasked: int = 0
    thinned: int = 1
    lost: int = 0
    ended: str = "complete"
    promise: str = ""  # kept, broken or undecided, where something was promised

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.end_ns - self.begin_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Client:
    """What our own side can do: CPU seconds a request against a server that does nothing, with the same payload and protocol,
    and so the most that its workers can send a second, if each has a CPU.
    """

    workers: int
    cpu_s_per_request: Quantity | None = None
    ceiling_per_s: Quantity | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LoadRun:
    """Everything that `load` measured of one server. `ended` is `complete` or one line that says why it stopped early.

    `telemetry` is what the server's processes on this host used (`pinchpoint.overseeing`); older runs have none.
    """

    id: str
    created: str
    version: str
    kind: str
    uri: str
    traffic: Traffic
    environment: Environment
    sends: Sends
    buckets: Buckets
    levels: tuple[Level, ...]
    client: Client
    server: str = ""
    ended: str = "complete"
    notes: tuple[str, ...] = field(default_factory=tuple)
    served: Served | None = None
    telemetry: Telemetry = field(default_factory=Telemetry.nothing)
