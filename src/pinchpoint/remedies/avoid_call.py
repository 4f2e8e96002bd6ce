"""The answer of another service at hand."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact

WORDS, GONE, CALLS = "the answer of the other service at hand", exact(0.0), "network"


@remedy("avoid-call", words=WORDS)
def avoid_call(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Nothing is waited for, and where it is known which lines wait, what these lines compute goes too. A bound."""
    lines = dict.fromkeys(row.label for row in tables.typical.rows if row.site == CALLS and row.label)
    edits = (Edit(GONE, state="network", site=CALLS), *(Edit(GONE, label=line) for line in lines))
    yield Change("avoid-call", finding.code, WORDS, "bound", edits)
