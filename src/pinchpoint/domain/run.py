"""A run: everything that was measured, as tables of columns. Time is CLOCK_MONOTONIC in nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pinchpoint.domain.aside import Asides
from pinchpoint.domain.operator import Cost
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.service import Service
from pinchpoint.domain.target import TargetFacts
from pinchpoint.domain.workload import Workload

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# What a sample of a thread found it doing (the `site` column of `Samples`).
RUNNING, FUTEX, TIMER, NETWORK, IPC, DISK, SYNC, FAULT, OTHER, PARKED, GIL = range(11)
SITES = ("running", "futex", "timer", "network", "ipc", "disk", "sync", "fault", "other", "parked", "gil")

# What the `flags` of a request say.
FAILED, OBSERVED, SECOND, CONTROL, NEW_SHAPE = 1, 2, 4, 8, 16

# How a span came about (the `kind` column of `Spans`).
MARKED, WRAPPED, HANDED, TOLD = range(4)


def _no_ints() -> Ints:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Requests:
    """All requests, one row each.

    `flags`: 1 failed, 2 observed (costly clocks were read), 4 of the second input length, 8 recorded with everything
    switched off but the two stamps (the control arm of the tool's own cost), 16 gave a runtime inputs of a shape that it had
    not had before.
    """

    index: Ints
    start_ns: Ints
    end_ns: Ints
    flags: Ints

    @property
    def ok(self) -> Bools:
        """Which requests returned an answer."""
        marked: Bools = np.equal(self.flags & FAILED, 0)
        return marked

    @property
    def observed(self) -> Bools:
        """Which requests had the costly clocks read."""
        marked: Bools = np.not_equal(self.flags & OBSERVED, 0)
        return marked

    @property
    def second(self) -> Bools:
        """Which requests had the second input length."""
        marked: Bools = np.not_equal(self.flags & SECOND, 0)
        return marked

    @property
    def control(self) -> Bools:
        """Which requests ran while nothing else was recorded."""
        marked: Bools = np.not_equal(self.flags & CONTROL, 0)
        return marked

    @property
    def latency_s(self) -> Floats:
        """Seconds from due to done; one in flight, so due is when the request before was done."""
        seconds: Floats = (self.end_ns - self.start_ns) / 1e9
        return seconds


@dataclass(frozen=True, slots=True)
class Asked:
    """Answered requests with the input that each had (`payload` numbers them) and how many were in flight; none where there is
    one input only.
    """

    load: Ints = field(default_factory=_no_ints)
    payload: Ints = field(default_factory=_no_ints)
    begin_ns: Ints = field(default_factory=_no_ints)
    end_ns: Ints = field(default_factory=_no_ints)

    @property
    def seconds(self) -> Floats:
        """How long each took."""
        found: Floats = (self.end_ns - self.begin_ns) / 1e9
        return found


@dataclass(frozen=True, slots=True)
class Probes:
    """Counters of the observed requests, one row each, as differences over the request.

    `cpu_ns` and `run_delay_ns` are the request thread's, `process_cpu_ns` is of all threads; faults and switches are the
    request thread's; `read_bytes` and `write_bytes` went to storage, -1 where the kernel does not tell. `begin_faults` are the
    thread's page faults before the request; older runs do not have them.
    """

    index: Ints
    cpu_ns: Ints
    process_cpu_ns: Ints
    run_delay_ns: Ints
    minor_faults: Ints
    major_faults: Ints
    voluntary_switches: Ints
    involuntary_switches: Ints
    read_bytes: Ints
    write_bytes: Ints
    system_ns: Ints
    begin_cpu_ns: Ints
    begin_delay_ns: Ints
    begin_faults: Ints = field(default_factory=_no_ints)


@dataclass(frozen=True, slots=True)
class Spans:
    """Stages of the observed requests: begin and end, with the thread's CPU clock at both.

    Run-queue wait and page faults are read in the request's own thread; -1 elsewhere.
    """

    index: Ints
    name: Ints
    kind: Ints
    thread: Ints
    begin_ns: Ints
    end_ns: Ints
    begin_cpu_ns: Ints
    end_cpu_ns: Ints
    begin_delay_ns: Ints
    end_delay_ns: Ints
    begin_faults: Ints
    end_faults: Ints


@dataclass(frozen=True, slots=True)
class Samples:
    """Thread states seen from outside: when, which thread, where it was, and how many other threads were running.

    Of a server, each moment has a row for every thread that ever ran, and one of thread 0: whether another service's answer was
    awaited. `place` numbers where a thread is blocked: the same number is the same lock, timer or descriptor, 0 none in
    particular, and below 0 one that it waits for with a time limit. A thread is parked where it sits while nothing is asked.
    """

    t_ns: Ints
    thread: Ints
    site: Ints
    running: Ints
    place: Ints = field(default_factory=_no_ints)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Counters of process, container and host as a time series; a missing source is an absent name."""

    t_ns: Ints
    columns: tuple[tuple[str, Floats], ...]

    @classmethod
    def nothing(cls) -> Telemetry:
        """Of what was not watched."""
        return cls(_no_ints(), ())

    def column(self, name: str) -> Floats | None:
        """The named series, or None where it could not be read."""
        return next((values for key, values in self.columns if key == name), None)


# What an event of the interpreter was (the `kind` column of `Events`).
COLLECTION = 0


@dataclass(frozen=True, slots=True)
class Events:
    """What the target's interpreter did beside its requests: garbage collections of at least 20 us, with their generation."""

    begin_ns: Ints = field(default_factory=_no_ints)
    end_ns: Ints = field(default_factory=_no_ints)
    kind: Ints = field(default_factory=_no_ints)
    detail: Ints = field(default_factory=_no_ints)


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One operator of a session's optimised graph: its profiled seconds a request and its compulsory costs.

    `seconds` is wall time a request in the profiled arm with the profiler's own event cost still inside.
    `cost` is None where the operator's kind is not accounted.
    """

    session: int
    name: str
    kind: str
    provider: str
    seconds: Quantity
    calls: float
    cost: Cost | None
    parallel: bool = True
    faults: float = 0.0  # page faults of the request's thread a request, where they were counted


@dataclass(frozen=True, slots=True)
class OperatorArm:
    """The profiled arm of one session: what a run took under the profiler, and how much of it the thread was on CPU."""

    session: int
    runs: int
    latency: Quantity
    cpu_share: float
    working_set_bytes: float
    optimised: tuple[tuple[str, float, float, float], ...] | None = (
        None  # kind, FLOPs, weight and activation bytes left
    )
    modules: float = 0.0  # of torch: how many modules a run goes through, itself included
    tensors: float = 0.0  # and how many parameters and buffers these hold


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A limit of this machine, from the runtime named: `name` such as `gemm_flops_per_s`, `read_bytes_per_s`.

    `dtype` and `footprint_bytes` narrow it where they matter; `threads` is the thread count it was measured at.
    """

    name: str
    value: Quantity
    unit: str
    runtime: str
    threads: int
    dtype: str = ""
    footprint_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine and container as found: what limits CPU and memory, and what could not be seen."""

    cpu_model: str
    cpus: int
    affinity: int
    quota_cpus: float | None
    memory_limit_bytes: int | None
    kernel: str
    virtualized: bool
    ceilings: tuple[Ceiling, ...] = ()
    unobservable: tuple[tuple[str, str], ...] = ()
    memory_bytes: int | None = None  # of the whole machine

    @property
    def effective_cpus(self) -> float:
        """The CPUs that this process may really use."""
        return min(float(self.affinity), self.quota_cpus or float(self.affinity))


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of start-up and its seconds; what happens inside it and is a phase of its own is not in it.

    `detail` is the package of `libraries`, the file of `own code`, the model of `session`. `cpu_s` is of all threads,
    `read_bytes` came from storage, `requested_bytes` were read at all; None where the kernel does not tell.
    """

    name: str
    seconds: float
    read_bytes: int | None = None
    detail: str = ""
    cpu_s: float | None = None
    requested_bytes: int | None = None
    major_faults: int | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A start in a process of its own, until the first answer. `cache` says where the target's own files were: `warm` in
    the page cache, `cold` on disk, with the share of them that stayed in the cache all the same (None: not to be seen).
    """

    cache: str
    phases: tuple[Phase, ...]
    resident_share: float | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """A session opened once more as the target opens it, and without graph optimisation; its files were in the page cache."""

    session: int
    seconds: float
    plain_s: float


@dataclass(frozen=True, slots=True)
class BusyLine:
    """A line of the target's own code that the first start spent time at, by looks in quick succession, and in which phase."""

    phase: str
    file: str
    line: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Held:
    """A resource other than the CPU during a visit: how long it was held (summed over all that hold it) and waited for.

    `kind` is lock, semaphore, pool, loop (the event loop), process (of a server) or disk; `name` is the place in the target's
    code that made it, the process's id, or the device; `capacity` is how many may hold it at once.
    """

    kind: str
    name: str
    capacity: float
    held_s: float
    waited_s: float
    count: int


QUANTILES = (0.5, 0.9, 0.99)  # of a visit's latencies


@dataclass(frozen=True, slots=True)
class Visit:
    """A stretch with `load` requests in flight all the time (closed loop, no think time); 0 is the process left alone.

    `quantiles_s` are the 50th, 90th and 99th percentile of the visit's latencies. `gil_held` of `gil_probes` random moments
    found the interpreter's lock taken; no probes where there is no such lock.
    """

    load: int
    begin_ns: int
    end_ns: int
    done: int
    failed: int
    cpu_s: float
    mean_s: float
    quantiles_s: tuple[float, ...]
    held: tuple[Held, ...] = ()
    gil_probes: int = 0
    gil_held: int = 0
    client_used: float | None = None  # of a server: what this took of the client's own ceiling, or of its time
    client_cpu_s: float = 0.0  # of a server: what the client took of the same CPUs
    looked: bool = True  # often enough to say what was held

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.end_ns - self.begin_ns) / 1e9

    @property
    def rate(self) -> float:
        """Completed requests a second."""
        return self.done / self.seconds


@dataclass(frozen=True, slots=True)
class Run:
    """Everything measured of one target. `ended` is `complete` or one line that says why it stopped early."""

    id: str
    created: str
    version: str
    target: TargetFacts
    workload: Workload
    environment: Environment
    requests: Requests
    probes: Probes
    spans: Spans
    span_names: tuple[str, ...]
    samples: Samples
    telemetry: Telemetry
    request_thread: int
    operators: tuple[OperatorTime, ...] = ()
    arms: tuple[OperatorArm, ...] = ()
    startup: tuple[Phase, ...] = ()
    errors: tuple[tuple[str, int], ...] = ()
    ended: str = "complete"
    notes: tuple[str, ...] = ()
    second_length: tuple[int, int] | None = None
    span_cost_ns: int = 0
    events: Events = field(default_factory=Events)
    ladder: tuple[Visit, ...] = ()
    ladder_crew: str = "threads"  # or processes, one for each request in flight
    threads_failed: str = ""  # why threads could not serve, where processes then did
    ladder_ended: str = "not asked for"  # why it went no further; "complete" where throughput stopped growing
    starts: tuple[Start, ...] = ()
    starts_ended: str = (
        "not asked for"  # why there are no more of them; "complete" where there are as many as wished for
    )
    cold_ended: str = ""  # why none of them was cold; "" where some were
    openings: tuple[Opening, ...] = ()
    busy_lines: tuple[BusyLine, ...] = ()
    aside: Asides = field(default_factory=Asides)
    service: Service | None = None  # of a live server
    asked: Asked = field(default_factory=Asked)
    told: Telemetry = field(
        default_factory=Telemetry.nothing
    )  # what a live server itself counted, whenever it was read
