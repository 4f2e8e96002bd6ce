"""The runtime's own graph optimisation, where it is off."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint import roofline
from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact
from pinchpoint.remedies.operators import bounded, told_apart, whole


@remedy("optimise-graph", words="the runtime's graph optimisation on")
def optimise_graph(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Operators that optimisation removes or fuses cost nothing afterwards; those that stay cost what they do, or come
    down to their floor where another layout suits them.
    """
    edits = []
    for session, item in told_apart(tables):
        if session.arm.optimised is None:
            continue
        kept = roofline.kept_share(session, item.operator.kind)
        floor = min(item.floors.higher / item.seconds.value, 1.0) if item.floors and item.seconds.value > 0 else 1.0
        edits.append(whole(item, exact(kept) if kept < 1 else bounded(1.0, max(floor, 0.5), 1.0, item.seconds.n)))
    if edits:
        yield Change(
            "optimise-graph", finding.code, "graph optimisation on", "estimate", tuple(edits),
            setting=(("graph_optimization", "all"),),
        )  # fmt: skip
