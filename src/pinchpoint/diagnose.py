"""Signals -> Findings: every detector's evidence, and what follows from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pinchpoint.contracts import Detector
from pinchpoint.domain.finding import Evidence, Finding
from pinchpoint.domain.ledger import Ledger
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits

ANY_STAGE = "*"


def diagnose(signals: Signals, ledger: Ledger, detectors: tuple[Detector, ...], limits: Limits) -> tuple[Finding, ...]:
    """One finding a detector, in the detectors' order.

    KeyError where a detector asks for a signal that nobody derives: a defect of ours, not a missing measurement.
    """
    cells = _cells(ledger)
    return tuple(_finding(detector, tuple(detector.check(signals, limits)), cells) for detector in detectors)


def any_of(*choices: Evidence) -> tuple[Evidence, ...]:
    """The evidence that decides whether one of `choices` holds: those that do, else the undecided ones, else all.

    A detector yields from it, so that one measurement is enough where several would do.
    """
    for status in ("present", "unknown"):
        deciding = tuple(evidence for evidence in choices if evidence.status() == status)
        if deciding:
            return deciding
    return choices


def either(first: Sequence[Evidence], second: Sequence[Evidence]) -> Sequence[Evidence]:
    """The evidence of `first` or that of `second`, each a whole: the one that holds, else that which is undecided."""
    for status in ("present", "unknown"):
        for choice in (first, second):
            if _status(choice) == status:
                return choice
    return first


def _finding(detector: Detector, evidence: tuple[Evidence, ...], cells: dict[tuple[str, str, str], float]) -> Finding:
    status = _status(evidence)
    return Finding(
        code=detector.code,
        status=status,
        where=_where(detector.cells, cells),
        evidence=evidence,
        missing=_missing(evidence) if status == "unknown" else (),
        remedies=detector.remedies,
        bound=detector.bound,
        kind=detector.kind,
        cells=detector.cells,
        lookalikes=detector.lookalikes,
    )


def _status(evidence: Sequence[Evidence]) -> str:
    """`absent` if any evidence is, `present` if there is evidence and all of it is, else `unknown`."""
    statuses = {each.status() for each in evidence}
    if "absent" in statuses:
        return "absent"
    return "present" if statuses == {"present"} else "unknown"


def _missing(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """The signals that were wanted and not measured, each once; empty where an interval straddles its limit."""
    return tuple(dict.fromkeys(each.signal.name for each in evidence if each.signal.quantity is None))


def _cells(ledger: Ledger) -> dict[tuple[str, str, str], float]:
    """Seconds by stage, state and site."""
    sums: dict[tuple[str, str, str], float] = defaultdict(float)
    for row in ledger.rows:
        sums[row.stage, row.state, row.site] += row.seconds.value
    return sums


def _where(wanted: Sequence[tuple[str, ...]], cells: dict[tuple[str, str, str], float]) -> str:
    """The stage with most of the time that the cause would explain; "" where the ledger has none."""
    stages: dict[str, float] = defaultdict(float)
    for cell, seconds in cells.items():
        if any(_names(entry, cell) for entry in wanted):
            stages[cell[0]] += seconds
    return max(stages, key=lambda stage: stages[stage], default="")


def _names(entry: tuple[str, ...], cell: tuple[str, str, str]) -> bool:
    """Whether a detector's (stage, state) or (stage, state, site) means this cell."""
    return entry[0] in (ANY_STAGE, cell[0]) and entry[1:] == cell[1 : len(entry)]
