"""No visits of all objects within requests."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding


@remedy("freeze-collector", words="gc.freeze() once everything is loaded")
def freeze_collector(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Every request without the full collections in it: frozen objects are not visited, young ones still are."""
    if tables.tail is not None:
        yield Change(
            "freeze-collector", finding.code, "gc.freeze() once everything is loaded", "estimate", (),
            statistic=tables.tail.percentile, without="full collections",
        )  # fmt: skip
