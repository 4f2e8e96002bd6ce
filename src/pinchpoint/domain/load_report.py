"""What `load` tells of a run: the public contract `pinchpoint/load/1`.

A quantity that was not measured is null, with its reason beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pinchpoint.domain.picture import Bin
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Environment
from pinchpoint.domain.served import Served
from pinchpoint.domain.traffic import Failure, Traffic


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run, or a level of it, does not count."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Spread:
    """A duration's mean and percentiles in seconds, of answered requests; null where too few were seen (`unpowered`)."""

    mean: Quantity | None = None
    p50: Quantity | None = None
    p90: Quantity | None = None
    p99: Quantity | None = None
    p999: Quantity | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a level: when it began, its requests and failures, and median and slowest latency of those answered."""

    at_s: float
    requests: int
    failed: int
    median_s: float | None
    slowest_s: float | None


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """What MLPerf Inference's rules say of one quantile: at 99 % confidence it is at most `bound_s` with `over` queries above;
    null where `queries` are fewer than `queries_least`. `queries_fixed` would do without the rule of early stopping.
    """

    quantile: float
    queries: int
    over: int
    bound_s: float | None
    queries_least: int
    queries_fixed: int


@dataclass(frozen=True, slots=True)
class ServerUse:
    """What the server's processes on this host used during a level.

    `cpu_s_per_request` is on a CPU and `starved_s_per_request` runnable without one, of all threads together, whether a request
    caused it or not; the latter is null where threads come and go too fast to be looked at. `cpus_busy` is how many CPUs
    they kept busy, `busiest_thread` what share of one a single thread did. `throttled_share` is of the periods of a CPU
    quota; null without one. `full` is `cpus` or `thread` where that leaves no room for more requests, else empty.
    """

    cpu_s_per_request: Quantity | None
    starved_s_per_request: Quantity | None
    cpus_busy: Quantity | None
    busiest_thread: Quantity | None
    busiest_thread_name: str
    throttled_share: float | None
    rss_bytes: float
    processes: int
    threads: int
    full: str = ""


@dataclass(frozen=True, slots=True)
class LevelReport:
    """What came of one level of load.

    `latency_s` runs from due to done, `service_s` from sent to done, `lag_s` from due to sent, `first_byte_s` from sent to the
    first byte (of a stream, its first event); `server_s` is what the server says that it took (Server-Timing), `gap_s` the
    longest gap between two events of a stream. `promise` is kept, broken or undecided where something was promised, else empty;
    `mlperf` is there if its rules were asked for.
    """

    loop: str
    concurrency: int | None
    rate_per_s: float | None
    purpose: str
    seconds: float
    sent: int
    done: int
    failed: int
    errors: tuple[Failure, ...]
    warm_up: int
    throughput_per_s: Quantity | None
    latency_s: Spread
    service_s: Spread
    lag_s: Spread
    first_byte_s: Spread
    server_s: Spread | None
    gap_s: Spread | None
    events_per_s: Quantity | None
    unpowered: tuple[str, ...]
    client_utilization: float | None
    client_lag_share: float | None
    reasons: tuple[Reason, ...]
    promise: str = ""
    mlperf: tuple[EarlyStopping, ...] = ()
    distribution: tuple[Bin, ...] = ()
    course: tuple[Stretch, ...] = ()
    ended: str = "complete"
    server: ServerUse | None = None


@dataclass(frozen=True, slots=True)
class ClientReport:
    """The client's own cost and ceiling, and how much of it was used at the highest level that counts."""

    workers: int
    cpu_s_per_request: Quantity | None
    ceiling_per_s: Quantity | None
    utilization: float | None
    lag_share: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Knee:
    """The fewest requests in flight that reach nine tenths of the highest throughput, and whether it stopped growing there."""

    concurrency: int
    throughput_per_s: Quantity
    highest_per_s: Quantity
    reached: bool


@dataclass(frozen=True, slots=True)
class SloReport:
    """The highest rate within what was promised: kept at `value` and `low`, broken at `high`; null with the reason."""

    quantile: float
    bound_s: float
    highest_rate_per_s: Quantity | None
    confirmed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """What was asked."""

    kind: str
    uri: str
    server: str


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The whole report; `levels` are in the order in which they were driven, trials of a search among them."""

    schema: str
    run: str
    valid: bool
    reasons: tuple[Reason, ...]
    target: Place
    workload: Traffic
    environment: Environment
    client: ClientReport
    levels: tuple[LevelReport, ...]
    knee: Knee | None
    slo: SloReport | None
    notes: tuple[str, ...]
    ended: str
    served: Served | None = None
