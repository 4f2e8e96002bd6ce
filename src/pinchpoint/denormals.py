"""Run -> what denormal floats cost: runs of a session in turns with runs that take them for zero."""

from __future__ import annotations

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.aside import Flushed
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Run
from pinchpoint.stage_names import SESSION_SPAN
from pinchpoint.timeline import steady

FEWEST_PAIRS = 4


def saved(flushed: Flushed) -> Quantity:
    """The share of a session's time that goes: the median of pairs, which share their noise; all of them where they are few."""
    pairs = np.array(flushed.pairs)
    shares = 1 - pairs[:, 1] / pairs[:, 0]
    found = stats.quantile_interval(shares, 0.5)
    return found or Quantity(float(np.median(shares)), float(shares.min()), float(shares.max()), len(shares))


def session_share(run: Run, session: int) -> float:
    """A session's part of the latency of observed typical requests."""
    name = f"{SESSION_SPAN}{session}"
    chosen = steady(run).typical & run.requests.observed
    if name not in run.span_names or not np.any(chosen):
        return 0.0
    mine = (run.spans.name == run.span_names.index(name)) & np.isin(run.spans.index, run.requests.index[chosen])
    inside = float((run.spans.end_ns - run.spans.begin_ns)[mine].sum()) / 1e9
    return min(inside / float(run.requests.latency_s[chosen].sum()), 1.0)


def saved_share(run: Run) -> Quantity | str:
    """Share of the latency that goes when denormal floats are taken for zero, or why it is not known."""
    if not run.target.sessions:
        return "no runtime session was opened"
    measured = [flushed for flushed in run.aside.flushed if len(flushed.pairs) >= FEWEST_PAIRS]
    if not measured:
        return next((why for what, why in run.aside.missing if what == "denormals"), "denormals were not flushed")
    parts = [saved(each).scaled(session_share(run, each.session)) for each in measured]
    ends = [sum(getattr(part, end) for part in parts) for end in ("value", "low", "high")]
    return Quantity(ends[0], ends[1], ends[2], min(part.n for part in parts))
