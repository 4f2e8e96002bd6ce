"""The verdict, and the diagnosis that is its public form (schema 1: fields are only ever added)."""

from __future__ import annotations

from dataclasses import dataclass, field

from pinchpoint.domain.change import Prediction
from pinchpoint.domain.copied import Copies
from pinchpoint.domain.demand import Crowding, Demand, Rung
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.ledger import Row
from pinchpoint.domain.observed import Observed
from pinchpoint.domain.picture import Pictures
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Environment, Phase
from pinchpoint.domain.service import ServiceFacts
from pinchpoint.domain.startup import Startup
from pinchpoint.domain.target import TargetFacts
from pinchpoint.domain.workload import Workload

SCHEMA = "pinchpoint/diagnosis/1"


@dataclass(frozen=True, slots=True)
class Gain:
    """A predicted gain: before / after, above 1 is better."""

    value: float
    low: float
    high: float
    assuming: str
    kind: str
    statistic: str
    load: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question. `bound` is cpu, gpu, memory, io, wait, none or unknown."""

    bound: str
    where: str | None
    cause: str | None
    kind: str | None
    proof: str | None
    share: float | None
    headroom: float | None
    also: tuple[str, ...]
    stages_from: str
    sentence: str
    gain: Gain | None


@dataclass(frozen=True, slots=True)
class Measured:
    """Headline measurements; a percentile that the sample cannot resolve is null with its reason in `reasons`.

    `by_length` is typical latency by the size of a free length, where the target was measured at two.
    """

    latency_s: dict[str, Quantity | None]
    throughput_per_s: Quantity | None
    requests: int
    failed: int
    overhead: Quantity | None
    reasons: dict[str, str]
    by_length: dict[int, Quantity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that pinchpoint says of a run."""

    run: str
    valid: bool
    reasons: tuple[str, ...]
    target: TargetFacts
    workload: Workload
    environment: Environment
    measured: Measured
    ledger: tuple[Row, ...]
    demands: tuple[Demand, ...]
    verdicts: dict[str, Verdict]
    findings: tuple[Finding, ...]
    predictions: tuple[Prediction, ...]
    experiments: tuple[str, ...] = ()
    unobservable: tuple[str, ...] = ()
    startup: tuple[Phase, ...] = ()
    rungs: tuple[Rung, ...] = ()
    pictures: Pictures = field(default_factory=Pictures)
    starts: Startup | None = None
    copies: Copies | None = None
    service: ServiceFacts | None = None
    crowding: Crowding | None = None
    observed: Observed | None = None  # of a server that was only watched
    schema: str = field(default=SCHEMA)
