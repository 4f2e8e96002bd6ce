"""Fewer, larger operators, or several requests at a time, so that the runtime is asked less often."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact


@remedy("fuse-operators", words="the model in one operator")
def fuse_operators(tables: Tables, finding: Finding) -> Iterator[Change]:
    """No dispatch at all: a bound."""
    if tables.sessions:
        edit = Edit(exact(0.0), stage="model", operator="dispatch")
        yield Change("fuse-operators", finding.code, "the whole model in one operator", "bound", (edit,))
