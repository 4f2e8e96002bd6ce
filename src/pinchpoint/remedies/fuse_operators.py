"""Fewer, larger operators, or several requests at a time, so that the runtime is asked less often."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact
from pinchpoint.domain.split import Split
from pinchpoint.remedies.operators import told_apart, whole


@remedy("fuse-operators", words="the model in one operator")
def fuse_operators(tables: Tables, finding: Finding) -> Iterator[Change]:
    """No dispatch at all, and of every operator that only moves results as much as the largest of them moves: a bound."""
    edits = [Edit(exact(0.0), stage="model", operator="dispatch")] if tables.sessions else []
    moving = [item for _, item in told_apart(tables) if _only_moves(item)]
    once = max((item.seconds.value for item in moving), default=0.0)
    together = sum(item.seconds.value for item in moving)
    edits += [whole(item, exact(once / together)) for item in moving if together > 0]
    if edits:
        yield Change("fuse-operators", finding.code, "the whole model in one operator", "bound", tuple(edits))


def _only_moves(item: Split) -> bool:
    """Whether an operator's floor is the reading and writing of results."""
    floors = item.floors
    return floors is not None and floors.activations.value >= max(floors.arithmetic.value, floors.weights.value)
