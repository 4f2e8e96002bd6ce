"""Twice the workers of a pool, or twice the places of a semaphore."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint import demands
from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, DemandEdit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact

TIMES = 2


@remedy("more-workers", words="more workers")
def more_workers(tables: Tables, finding: Finding) -> Iterator[Change]:
    """The fullest pool takes in twice as many requests; each takes as long as now."""
    full = tables.saturated
    pools = [
        d
        for d in tables.demands
        if full and d.load == full.load and d.utilization and d.resource.split(" ")[0] in demands.POOLS
    ]
    if pools:
        fullest = max(pools, key=lambda each: each.utilization.value if each.utilization else 0.0)
        edit = DemandEdit(fullest.resource, exact(1.0), exact(float(TIMES)))
        words = f"{fullest.capacity * TIMES:g} instead of {fullest.capacity:g} in the {fullest.resource}"
        yield Change("more-workers", finding.code, words, "estimate", (), statistic="throughput", demands=(edit,))
