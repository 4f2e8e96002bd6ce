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
class Change:
    """A remedy in terms of the tables: edits, and in words what is done.

    `kind` is `bound` where nothing can gain more, `estimate` for what this remedy should give. `setting` is the
    `--set` pair that does it, where pinchpoint can do it itself. `per_request` is how many requests one answer then
    serves (a batch), so that a gain can be counted an item.
    """

    remedy: str
    finding: str
    words: str
    kind: str
    edits: tuple[Edit, ...]
    setting: tuple[tuple[str, str], ...] = ()
    per_request: float = 1.0
    statistic: str = "typical latency"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a change should do: seconds before and after, and their ratio `gain` (above 1 is better)."""

    change: Change
    before: Quantity
    after: Quantity
    gain: Quantity
    load: int = 1
