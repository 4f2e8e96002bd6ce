"""No visits of all objects within requests."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding


@remedy("freeze-collector", words="gc.freeze() once everything is loaded")
def freeze_collector(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Requests without the full collections that were seen in them: frozen objects are not visited, young ones still are."""
    seen = tables.tail.collection_share if tables.tail is not None else None
    if tables.tail is not None and seen is not None and seen.low > 0:
        yield Change(
            "freeze-collector", finding.code, "gc.freeze() once everything is loaded", "estimate", (),
            statistic=tables.tail.percentile, without="full collections",
        )  # fmt: skip
