"""Idle threads that sleep."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.predict import SPINNING


@remedy("stop-spinning", words="idle threads sleep instead of spinning")
def stop_spinning(tables: Tables, finding: Finding) -> Iterator[Change]:
    """A request costs what it costs until its answer is there, and nothing after; waking threads may cost latency."""
    if tables.run.aside.pauses:
        yield Change(
            "stop-spinning", finding.code, "threads sleep when idle (CPU a request)", "estimate", (),
            setting=(("session.intra_op.allow_spinning", "0"),), statistic="CPU a request", without=SPINNING,
        )  # fmt: skip
