"""Tables + Change -> Prediction: edits the cells of the ledger and adds them up again.

A prediction is arithmetic on what was measured and on the ceilings: it says what the change would do if the cells that it
names moved as stated and nothing else did. It knows nothing of effects outside those cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pinchpoint.contracts import Remedy, Tables
from pinchpoint.domain.change import Change, Edit, Prediction
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.ledger import Ledger, Row
from pinchpoint.domain.quantity import Quantity

LEFT_AT_LEAST = 0.001  # of the latency: a prediction never claims that a request becomes free
ROOFLINE = "roofline"


def predictions(tables: Tables, findings: Sequence[Finding], remedies: Sequence[Remedy]) -> tuple[Prediction, ...]:
    """What each remedy of each present finding would do, largest gain first; one change is predicted once."""
    found: dict[tuple[str, str, str], Prediction] = {}
    for change in _changes(tables, findings, remedies):
        found.setdefault((change.finding, change.remedy, change.words), predict(tables.typical, change))
    return tuple(sorted(found.values(), key=lambda p: -p.gain.value))


def _changes(tables: Tables, findings: Sequence[Finding], remedies: Sequence[Remedy]) -> Iterator[Change]:
    by_name = {remedy.name: remedy for remedy in remedies}
    for finding in findings:
        if finding.status == "present":
            for name in finding.remedies:
                if name in by_name:
                    yield from by_name[name].propose(tables, finding)


def predict(ledger: Ledger, change: Change) -> Prediction:
    """Seconds before and after the change, and the gain; for a batch the gain is by item."""
    before = ledger.latency
    saved = _saved(ledger.rows, change.edits)
    least = before.value * LEFT_AT_LEAST
    after = Quantity(
        max(before.value - saved.value, least), max(before.value - saved.high, least), max(before.value - saved.low, least),
        min(before.n, saved.n) if saved.n else before.n,
    )  # fmt: skip
    each = change.per_request
    gain = Quantity(
        each * before.value / after.value, each * before.value / after.high, each * before.value / after.low, after.n
    )
    return Prediction(change, before, after, gain)


def _saved(rows: Sequence[Row], edits: Sequence[Edit]) -> Quantity:
    """Seconds that the edits take away. Noise of the cells adds in quadrature; what all cells share (the roofline's
    overlap, the factor itself) adds linearly.
    """
    value = shared_down = shared_up = 0.0
    noise_down = noise_up = 0.0
    counts = []
    for row in rows:
        factor = _factor(row, edits)
        if factor is None:
            continue
        kept = 1 - factor.value
        value += row.seconds.value * kept
        down, up = (row.seconds.value - row.seconds.low) * abs(kept), (row.seconds.high - row.seconds.value) * abs(kept)
        if row.source == ROOFLINE:
            shared_down, shared_up = shared_down + down, shared_up + up
        else:
            noise_down, noise_up = noise_down + down**2, noise_up + up**2
        shared_down += row.seconds.value * (factor.high - factor.value)
        shared_up += row.seconds.value * (factor.value - factor.low)
        counts.append(row.seconds.n)
    down = math.hypot(math.sqrt(noise_down), shared_down)
    up = math.hypot(math.sqrt(noise_up), shared_up)
    return Quantity(value, value - down, value + up, min(counts, default=0))


def _factor(row: Row, edits: Sequence[Edit]) -> Quantity | None:
    """The factor of the first edit that names this cell; None where none does."""
    if row.state == "unexplained":
        return None
    return next((edit.factor for edit in edits if matches(row, edit)), None)


def matches(row: Row, edit: Edit) -> bool:
    """Whether an edit names a cell."""
    pairs = (
        (edit.stage, row.stage),
        (edit.state, row.state),
        (edit.operator, row.operator),
        (edit.site, row.site),
        (edit.label, row.label),
    )
    return all(wanted is None or wanted == has for wanted, has in pairs)
