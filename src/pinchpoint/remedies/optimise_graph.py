"""The runtime's own graph optimisation, where it is off."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint import roofline
from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact
from pinchpoint.remedies.operators import bounded, near_floor, told_apart, whole


@remedy("optimise-graph", words="the runtime's graph optimisation on")
def optimise_graph(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Operators that optimisation removes or fuses cost nothing afterwards; those that stay cost what they do, but come down
    towards their floor where it gives them another layout.
    """
    edits = []
    for session, item in told_apart(tables):
        if session.arm.optimised is None:
            continue
        kept = roofline.kept_share(session, item.operator.kind)
        if kept == 1 and roofline.new_layout(session, item.operator.kind) and item.floors and item.seconds.value > 0:
            nearer = near_floor(item, item.seconds.value)
            value, low, high = (min(end, 1.0) for end in (nearer.value, nearer.low, nearer.high))
            edits.append(whole(item, bounded(value, low, high, nearer.n), anchored=True))
        else:
            edits.append(whole(item, exact(kept)))
    if edits:
        yield Change(
            "optimise-graph", finding.code, "graph optimisation on", "estimate", tuple(edits),
            setting=(("graph_optimization", "all"),),
        )  # fmt: skip
