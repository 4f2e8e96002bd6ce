"""No garbage collections within requests."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding


@remedy("freeze-collector", words="gc.freeze() once everything is loaded")
def freeze_collector(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Every request without the collections in it."""
    if tables.tail is not None:
        yield Change(
            "freeze-collector", finding.code, "gc.freeze() once everything is loaded", "estimate", (),
            statistic=tables.tail.percentile, without="collections",
        )  # fmt: skip
