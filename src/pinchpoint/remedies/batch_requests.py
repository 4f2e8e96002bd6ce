"""Several requests answered at once: what every run pays once is shared, what every item costs is not."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.split import Split
from pinchpoint.remedies.operators import bounded, told_apart, whole

ITEMS = 8
# What more items add to operators that are not told apart from their dispatch: nothing, or half as much again at worst.
UNKNOWN_WORK = Quantity(1.1, 1.0, 1.5, 0)


@remedy("batch-requests", words="several requests answered at once")
def batch_requests(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Weights and dispatch are paid once a batch; arithmetic and activations once an item. Gain is by item.

    Where weights are read and arithmetic is done at the same time, a batch takes at least the larger and at most the sum.
    """
    if not tables.sessions:
        return
    known = all(session.told_apart for session in tables.sessions)
    edits = [Edit(exact(1.0) if known else UNKNOWN_WORK, stage="model", operator="dispatch")]
    edits += [whole(item, _factor(item), anchored=True) for _, item in told_apart(tables)]
    edits += [
        Edit(exact(float(ITEMS)), stage=stage) for stage in ("preprocess", "postprocess", "deserialize", "serialize")
    ]
    yield Change(
        "batch-requests", finding.code, f"{ITEMS} requests at once", "estimate", tuple(edits), per_request=float(ITEMS),
        statistic="latency an item",
    )  # fmt: skip


def _factor(item: Split) -> Quantity:
    """Time of a batch over time of one, for an operator."""
    if item.floors is None or item.seconds.value <= 0:
        return bounded(float(ITEMS), 1.0, float(ITEMS), item.seconds.n)
    once = min(item.floors.weights.value, item.seconds.value)
    each = item.floors.arithmetic.value + item.floors.activations.value + item.floors.lookups.value
    rest = max(item.seconds.value - once - each, 0.0)
    least = max(once, ITEMS * each)
    most = once + ITEMS * each + rest * (ITEMS if once < rest else 1)
    middle = math.sqrt(least * most)
    now = item.seconds.value
    return bounded(middle / now, least / now, most / now, item.seconds.n)
