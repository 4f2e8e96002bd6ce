"""A line of its own for large requests."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint import head_of_line
from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.predict import LARGER_AHEAD

WORDS = "a line of its own for large requests"


@remedy("size-aware-queue", words=WORDS)
def size_aware_queue(tables: Tables, finding: Finding) -> Iterator[Change]:
    """No small request waits while a large one is served, somewhere else; all else is as it was."""
    del tables
    yield Change(
        "size-aware-queue", finding.code, WORDS, "estimate", (), statistic=head_of_line.STATISTIC, without=LARGER_AHEAD
    )
