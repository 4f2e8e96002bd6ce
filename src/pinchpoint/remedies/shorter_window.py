"""A batching window that is over at once."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact

WORDS, GONE = "a free worker that starts at once", exact(0.0)
SHARED = "request.together_share"


@remedy("shorter-window", words=WORDS)
def shorter_window(tables: Tables, finding: Finding) -> Iterator[Change]:
    """No waiting in the queue; where the program makes the window itself, none for the timer that requests share."""
    del tables
    made = any(each.signal.name == SHARED for each in finding.evidence)
    edit = Edit(GONE, state="wait", site="timer") if made else Edit(GONE, stage="queue", state="wait")
    yield Change("shorter-window", finding.code, WORDS, "estimate", (edit,))
