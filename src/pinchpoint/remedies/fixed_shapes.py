"""Few shapes, each of them known before requests come."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.predict import NEW_SHAPES

TYPICAL = "request.new_shape_share"
WORDS = "inputs padded to a few sizes, each warmed up"


@remedy("fixed-shapes", words=WORDS)
def fixed_shapes(tables: Tables, finding: Finding) -> Iterator[Change]:
    """No request is the first of its shape; what padding adds depends on the sizes chosen, so it is a bound."""
    if any(evidence.signal.name == TYPICAL for evidence in finding.evidence):
        yield Change("fixed-shapes", finding.code, WORDS, "bound", (), without=NEW_SHAPES)
    if tables.tail is not None:
        yield Change(
            "fixed-shapes", finding.code, f"{WORDS} ({tables.tail.percentile})", "bound", (),
            statistic=tables.tail.percentile, without=NEW_SHAPES,
        )  # fmt: skip
