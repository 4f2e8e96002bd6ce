"""Float32 where int8 is slower."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.float_twin import float_factor
from pinchpoint.remedies.operators import told_apart, whole


@remedy("float-twin", words="the model in float32")
def float_twin(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Quantised operators at the distance from their float32 floor that kernels reach, and nothing converted."""
    factors = ((item, float_factor(item, session)) for session, item in told_apart(tables))
    edits = tuple(whole(item, factor, anchored=True) for item, factor in factors if factor is not None)
    if edits:
        yield Change("float-twin", finding.code, "the model in float32", "estimate", edits)
