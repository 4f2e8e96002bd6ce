"""Two locks where there is one."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, DemandEdit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact


@remedy("split-lock", words="the lock split in two")
def split_lock(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Each half of what the busiest lock guards has a lock of its own, and requests use both alike."""
    full = tables.saturated
    locks = [
        d for d in tables.demands if full and d.load == full.load and d.resource.startswith("lock") and d.utilization
    ]
    if locks:
        busiest = max(locks, key=lambda each: each.utilization.value if each.utilization else 0.0)
        edit = DemandEdit(busiest.resource, exact(1.0), exact(2.0))
        words = f"the {busiest.resource} split in two"
        yield Change("split-lock", finding.code, words, "estimate", (), statistic="throughput", demands=(edit,))
