"""Arithmetic in 8 bits, for models that arithmetic limits."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact
from pinchpoint.remedies.operators import told_apart, whole


@remedy("lower-precision", words="int8 arithmetic (check the answers)")
def lower_precision(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Operators of float32 arithmetic by the ratio of the peaks: a bound, since quantising costs something too."""
    edits = []
    for session, item in told_apart(tables):
        float32, int8 = (session.ceilings.value("flops_per_s", dtype) for dtype in ("float32", "int8"))
        cost = item.operator.cost
        if cost is None or item.floors is None or cost.arithmetic != "float32" or float32 is None or int8 is None:
            continue
        if item.floors.arithmetic.value < item.floors.memory or int8.value <= float32.value:
            continue
        edits.append(whole(item, exact(float32.value / int8.value)))
    if edits:
        yield Change("lower-precision", finding.code, "int8 arithmetic (check the answers)", "bound", tuple(edits))
