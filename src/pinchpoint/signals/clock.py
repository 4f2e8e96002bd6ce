"""How fast the processor itself is while the run goes on."""

from __future__ import annotations

import numpy as np

from pinchpoint import stats
from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity

FEWEST_STRETCHES = 6


@signal("cpu.slowdown_share", unit="share", mechanism="fixed loop on the thread clock")
def slowdown(tables: Tables) -> Quantity | str:
    """How much longer a fixed loop takes on the thread's CPU clock at the end of the run than at its begin, on a straight line
    through the better reading around each stretch of requests.
    """
    pairs = tables.run.aside.stretches
    found = [((begin.t_ns + end.t_ns) / 2e9, min(begin.loop_s, end.loop_s)) for begin, end in pairs]
    rows = np.array([(t, seconds) for t, seconds in found if seconds > 0], dtype=float).reshape(-1, 2)
    if len(rows) < FEWEST_STRETCHES:
        return "too short a run to see the clock change"
    times, loops = rows[:, 0] - rows[0, 0], rows[:, 1]
    slope, start = stats.line_interval(times, loops)
    if start.value <= 0:
        return "the loop was disturbed too much"
    return slope.scaled(float(times[-1]) / start.value)


CLOCK_SIGNALS = (slowdown,)
