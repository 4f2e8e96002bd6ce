"""What the process does while nothing is asked of it: the pauses between requests."""

from __future__ import annotations

import numpy as np

from pinchpoint import pauses, stats
from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Run


def pauses_missing(run: Run) -> str | None:
    """Why pauses say nothing; None where they do."""
    if len(run.aside.pauses) >= pauses.FEWEST:
        return None
    return next(
        (why for what, why in run.aside.missing if what == "pauses"), "pauses between requests were not measured"
    )


@signal("idle.cpu_share", unit="share", mechanism="process clock")
def idle_share(tables: Tables) -> Quantity | str:
    """CPU time that a request leaves behind in the pause after it, over all that it costs."""
    if (missing := pauses_missing(tables.run)) is not None:
        return missing
    after = np.array(pauses.left_behind(tables.run))
    whole = after + np.array([pause.request_cpu_s for pause in tables.run.aside.pauses])
    return stats.ratio_interval(after, whole).clipped(0.0, 1.0)


@signal("idle.spinning_pools", unit="flag", mechanism="configuration")
def spinning_pools(tables: Tables) -> Quantity | str:
    """1 where a runtime session has a pool of several threads that may spin, else 0."""
    run = tables.run
    if not run.target.sessions:
        return "no runtime session was opened"
    if any(session.spinning is None for session in run.target.sessions):
        return "this run does not say whether threads may spin"
    most = run.environment.cpus
    return exact(float(any(s.spinning and (s.intra_op_threads or most) > 1 for s in run.target.sessions)))


IDLE_SIGNALS = (idle_share, spinning_pools)
