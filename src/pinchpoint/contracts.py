"""Every seam on one page: what plugs in, and what it is handed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pinchpoint.domain.change import Change
from pinchpoint.domain.demand import Demand, Rung, best, knee, saturated
from pinchpoint.domain.finding import Evidence, Finding
from pinchpoint.domain.ledger import Ledger
from pinchpoint.domain.load_report import LoadReport
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Ceiling, Run
from pinchpoint.domain.signal import Signals
from pinchpoint.domain.split import SessionSplit
from pinchpoint.domain.startup import Startup
from pinchpoint.domain.tail import Tail
from pinchpoint.domain.target import TargetFacts, TargetSpec
from pinchpoint.domain.track import Trace
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.domain.workload import Workload
from pinchpoint.limits import Limits


@dataclass(frozen=True, slots=True)
class Tables:
    """What signals, remedies and verdicts are computed from: a run, its two tables, and its sessions at the roofline."""

    run: Run
    ledgers: Mapping[str, Ledger]
    demands: tuple[Demand, ...] = ()
    sessions: tuple[SessionSplit, ...] = ()
    rungs: tuple[Rung, ...] = ()
    tail: Tail | None = None
    startup: Startup | None = None

    @property
    def typical(self) -> Ledger:
        """The latency ledger of typical requests."""
        return self.ledgers["latency"]

    @property
    def best(self) -> Rung | None:
        """The load with the highest throughput; None where several in flight were not measured."""
        return best(self.rungs)

    @property
    def saturated(self) -> Rung | None:
        """The highest load with that throughput, at which resources are judged; None where there is no best."""
        return saturated(self.rungs)

    @property
    def knee(self) -> Rung | None:
        """The lowest load with several in flight that nearly has that throughput; None where there is none."""
        return knee(self.rungs)


# --- signals -------------------------------------------------------------------------------------------------------
Measure = Callable[[Tables], "Quantity | str"]


@dataclass(frozen=True, slots=True)
class SignalSource:
    """A signal's function with its name, unit and mechanism; it returns a Quantity, or a str that says why not."""

    name: str
    unit: str
    mechanism: str
    measure: Measure
    doc: str


def signal(name: str, *, unit: str, mechanism: str) -> Callable[[Measure], SignalSource]:
    """Declare a signal."""
    return lambda measure: SignalSource(name, unit, mechanism, measure, (measure.__doc__ or "").strip())


# --- detectors -----------------------------------------------------------------------------------------------------
Check = Callable[[Signals, Limits], Iterator[Evidence]]


@dataclass(frozen=True, slots=True)
class Detector:
    """A cause: its question, what it needs, what it would explain, and how its evidence is made.

    `bound` is cpu, gpu, memory, io or wait (`measurement` for V codes); `kind` is defect or limit. `cells` are the ledger
    cells that the cause explains: (stage or `*`, state), or with a third element the site of it. `lookalikes` must be ruled
    out before it counts as supported.
    """

    code: str
    title: str
    question: str
    bound: str
    kind: str
    cells: tuple[tuple[str, ...], ...]
    needs: tuple[str, ...]
    remedies: tuple[str, ...]
    lookalikes: tuple[str, ...]
    check: Check
    doc: str


def detector(
    *,
    code: str,
    title: str,
    question: str,
    bound: str,
    cells: Iterable[tuple[str, ...]],
    needs: Iterable[str],
    remedies: Iterable[str] = (),
    lookalikes: Iterable[str] = (),
    kind: str = "defect",
) -> Callable[[Check], Detector]:
    """Declare a detector; the function's docstring has the sections Mechanism, Looks like it, Confirm, Remedies."""

    def declare(check: Check) -> Detector:
        return Detector(
            code, title, question, bound, kind, tuple(cells), tuple(needs), tuple(remedies), tuple(lookalikes), check,
            check.__doc__ or "",
        )  # fmt: skip

    return declare


# --- remedies ------------------------------------------------------------------------------------------------------
Propose = Callable[[Tables, Finding], Iterator[Change]]


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do about a finding: yields changes to the tables; nothing where it does not apply."""

    name: str
    words: str
    propose: Propose


def remedy(name: str, *, words: str) -> Callable[[Propose], Remedy]:
    """Declare a remedy."""
    return lambda propose: Remedy(name, words, propose)


# --- targets, probes, reporters ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Plan:
    """How the child is to load and drive a target: plain data that travels to the child as JSON.

    `load` is the child's instruction; `feeds` are the input files of the first and, where a length is free, of the
    second length.
    """

    spec: TargetSpec
    facts: TargetFacts
    load: Mapping[str, object]
    second_length: tuple[int, int] | None = None


class Target(Protocol):
    """A kind of target: recognises what the user named, reads it without running it, and says how to load it."""

    @property
    def kind(self) -> str:
        """The name of the kind, such as `onnx`."""
        ...

    def recognises(self, uri: str) -> bool:
        """Whether `uri` names this kind of target (by its form; the file may still be bad)."""
        ...

    def prepare(self, spec: TargetSpec, workload: Workload, folder: Path) -> Plan:
        """Read the target, write its inputs into `folder`, and plan its load; BadInput in one line otherwise."""
        ...


class Probe(Protocol):
    """Counters of the process, its container or the host, read a few times a second from outside the target."""

    name: str

    def open(self, pid: int) -> None:
        """Find the files for process `pid`; a probe that cannot see raises OSError with the reason."""
        ...

    def read(self) -> Mapping[str, float]:
        """Current values by column name, in SI units and as the kernel counts them."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class Runner(Protocol):
    """Runs micro-workloads in the target's own interpreter and runtime (see ceilings.py)."""

    def measure(
        self, model: Path, feeds: Path, *, threads: int, seconds: float, options: Mapping[str, str]
    ) -> tuple[float, ...]:
        """Seconds of each timed run of the model, first ones dropped."""
        ...


@dataclass(frozen=True, slots=True)
class Reporter:
    """A form in which a diagnosis is shown; reporters never compute."""

    name: str
    render: Callable[[Diagnosis], str]


@dataclass(frozen=True, slots=True)
class TraceReporter:
    """A form in which a run's time line is shown (docs/decisions/010)."""

    name: str
    render: Callable[[Trace], str]


@dataclass(frozen=True, slots=True)
class LoadReporter:
    """A form in which a report of `load` is shown."""

    name: str
    render: Callable[[LoadReport], str]


@dataclass(frozen=True, slots=True)
class Plugins:
    """All plugins, as `api` wires them into the verbs."""

    targets: tuple[Target, ...]
    probes: tuple[Callable[[], Probe], ...]
    signals: tuple[SignalSource, ...]
    detectors: tuple[Detector, ...]
    remedies: tuple[Remedy, ...]
    reporters: tuple[Reporter, ...]
    trace_reporters: tuple[TraceReporter, ...] = ()
    load_reporters: tuple[LoadReporter, ...] = ()


CeilingSource = Callable[[Runner], tuple[Ceiling, ...]]
