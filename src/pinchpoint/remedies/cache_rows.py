"""Table rows found in the cache."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.remedies.operators import bounded, told_apart, whole


@remedy("cache-rows", words="hot rows kept in the cache")
def cache_rows(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Gathers cost what a row in the cache costs: a bound."""
    edits = []
    for _, item in told_apart(tables):
        cost = item.operator.cost
        if cost is None or not cost.lookups or item.floors is None or item.seconds.value <= 0:
            continue
        near = min(max(item.floors.arithmetic.value, item.floors.activations.value) / item.seconds.value, 1.0)
        edits.append(whole(item, bounded(near, near, near, item.seconds.n), anchored=True))
    if edits:
        yield Change("cache-rows", finding.code, "all rows found in the cache", "bound", tuple(edits))
