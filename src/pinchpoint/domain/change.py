"""Changes and what they are predicted to gain."""

from __future__ import annotations

from dataclasses import dataclass

from pinchpoint.domain.quantity import Quantity


@dataclass(frozen=True, slots=True)
class Edit:
    """The matching cells of the ledger become `factor` times what they are; 0 removes them.

    `stage`, `state`, `operator`, `site` and `label` narrow the cells; None matches all. `anchored` says that the factor was
    computed from the cell itself (a floor over what is measured), so that the cell's noise cancels in the product.
    """

    factor: Quantity
    stage: str | None = None
    state: str | None = None
    operator: str | None = None
    site: str | None = None
    label: str | None = None
    anchored: bool = False


@dataclass(frozen=True, slots=True)
class DemandEdit:
    """The demand on matching resources becomes `demand` times what it is, and their capacity `capacity` times.

    `resource` is a name of the demand table, or the beginning of one (`lock `).
    """

    resource: str
    demand: Quantity
    capacity: Quantity


@dataclass(frozen=True, slots=True)
class Change:
    """A remedy in terms of the tables: edits, and in words what is done.

    `kind` is `bound` where nothing can gain more, `estimate` for what this remedy should give. `setting` is the
    `--set` pair that does it, where pinchpoint can do it itself. `per_request` is how many requests one answer then
    serves (a batch), so that a gain can be counted an item. Where `statistic` is `throughput`, `demands` are the edits.
    Where it is `startup`, the edits' stages are parts of a start (`reading`, `optimising`).
    Where it is a percentile, `without` names the events that go from every request (`full collections`).
    """

    remedy: str
    finding: str
    words: str
    kind: str
    edits: tuple[Edit, ...]
    setting: tuple[tuple[str, str], ...] = ()
    per_request: float = 1.0
    statistic: str = "typical latency"
    demands: tuple[DemandEdit, ...] = ()
    without: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a change should do: before and after in seconds (for `throughput` in requests a second), and the `gain`, above 1
    if better. `load` is the number of requests in flight.
    """

    change: Change
    before: Quantity
    after: Quantity
    gain: Quantity
    load: int = 1
