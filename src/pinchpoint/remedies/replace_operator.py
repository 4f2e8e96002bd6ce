"""The slowest kind of operator done as fast as its arithmetic and its bytes allow."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint import roofline
from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact
from pinchpoint.remedies.operators import told_apart, whole


@remedy("replace-operator", words="the slow operator at its floor")
def replace_operator(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Every operator of that kind at its floor: a bound."""
    kind = roofline.worst_kind(tables.sessions)
    edits = [
        whole(item, exact(min(item.floors.higher / item.seconds.value, 1.0)), anchored=True)
        for _, item in told_apart(tables)
        if item.operator.kind == kind and item.floors is not None and item.seconds.value > 0
    ]
    if edits:
        yield Change("replace-operator", finding.code, f"a {kind} as fast as its work allows", "bound", tuple(edits))
