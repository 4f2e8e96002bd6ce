"""Independent instruments that must agree: the process's own clock and counts against what the kernel tells from outside, and a
server's own counters against what was sent and how long it took.
"""

from __future__ import annotations

import numpy as np

from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Floats, Run

READING_S = 0.07  # three ticks of 10 ms at either end, and what a rate within half a second is not even
SHORTEST_S = 1.0
AT_THE_ENDS = 1  # a request that we gave up at an end, and that the server answered all the same
COMPLETE = "complete"


def _own_clock(run: Run) -> tuple[Floats, Floats] | str:
    """CPU seconds of the process by its own clock at the telemetry's first and last reading: times, and seconds."""
    marks = sorted((m for pair in run.aside.stretches for m in pair), key=lambda mark: mark.t_ns)
    if len(marks) < 2:
        return "the process's own clock was not read"
    times = np.array([mark.t_ns for mark in marks])
    inside = run.telemetry.t_ns[(run.telemetry.t_ns >= times[0]) & (run.telemetry.t_ns <= times[-1])]
    if len(inside) < 2 or inside[-1] - inside[0] < SHORTEST_S * 1e9:
        return "too short a run to compare clocks"
    ends = np.array([inside[0], inside[-1]])
    return ends.astype(float), np.interp(ends, times, [mark.cpu_ns / 1e9 for mark in marks])


def _grown(run: Run, column: str, ends: Floats) -> float | None:
    values = run.telemetry.column(column)
    if values is None:
        return None
    first, last = np.interp(ends, run.telemetry.t_ns, values)
    return float(last - first)


def _disagreement(seconds: float, whole: float) -> Quantity:
    """A difference in CPU seconds over `whole`, known as well as the readings are."""
    return Quantity(seconds / whole, max(seconds - READING_S, 0.0) / whole, (seconds + READING_S) / whole, 2)


@signal("measurement.clock_disagreement", unit="share", mechanism="process clock against /proc")
def clocks(tables: Tables) -> Quantity | str:
    """Difference between CPU time by the process's own clock and by /proc, over the larger of it and the wall time."""
    found = _own_clock(tables.run)
    if isinstance(found, str):
        return found
    ends, own = found
    outside = _grown(tables.run, "process.cpu_s", ends)
    if outside is None:
        return "process.cpu_s could not be read"
    mine = float(own[1] - own[0])
    return _disagreement(abs(mine - outside), max((ends[1] - ends[0]) / 1e9, mine, outside))


@signal("measurement.group_disagreement", unit="share", mechanism="process clock against control group")
def group(tables: Tables) -> Quantity | str:
    """CPU time of the process beyond that of the control group which it is part of, over the larger of it and wall time."""
    found = _own_clock(tables.run)
    if isinstance(found, str):
        return found
    ends, own = found
    whole = _grown(tables.run, "cgroup.cpu_s", ends)
    if whole is None:
        return "cgroup.cpu_s could not be read"
    mine = float(own[1] - own[0])
    return _disagreement(max(mine - whole, 0.0), max((ends[1] - ends[0]) / 1e9, mine))


@signal("measurement.count_disagreement", unit="share", mechanism="count")
def counts(tables: Tables) -> Quantity | str:
    """Requests that the target's process counted and that were not recorded, or the other way round, over all."""
    run = tables.run
    if not run.aside.stretches or run.ended != COMPLETE:
        return "the process's own count was not told"
    served, recorded = run.aside.stretches[-1][1].served, len(run.requests.index)
    return exact(abs(served - recorded) / max(served, recorded, 1), max(served, recorded))


@signal("measurement.thread_disagreement", unit="share", mechanism="thread clock against process clock")
def threads(tables: Tables) -> Quantity | str:
    """CPU time of the request's thread beyond that of its whole process in the same requests, over it."""
    probes = tables.run.probes
    spent = float(probes.cpu_ns.sum())
    if len(probes.cpu_ns) < 2 or spent <= 0:
        return "too few observed requests"
    beyond = float(np.maximum(probes.cpu_ns - probes.process_cpu_ns, 0).sum())
    return exact(beyond / spent, len(probes.cpu_ns))


@signal("measurement.server_count_disagreement", unit="share", mechanism="the server's counters against what was sent")
def server_counts(tables: Tables) -> Quantity | str:
    """Requests that a live server counted beyond those that were sent to it meanwhile, over all that it counted."""
    service = tables.run.service
    if service is None or service.answered is None:
        return "no server tells how many requests it answered"
    beyond, answered = max(service.answered - len(tables.run.requests.index), 0), max(service.answered, 1)
    low, high = max(beyond - AT_THE_ENDS, 0), beyond + AT_THE_ENDS
    return Quantity(beyond / answered, low / answered, high / answered, service.answered)


@signal("measurement.server_time_disagreement", unit="share", mechanism="the server's counters against the wall clock")
def server_times(tables: Tables) -> Quantity | str:
    """Seconds that a live server counted of anything, beyond those that all requests took meanwhile, over these."""
    service = tables.run.service
    if service is None or not service.counted:
        return "no server tells how long it took"
    took = float(tables.run.requests.latency_s.sum())
    most = max(service.counted, key=lambda each: each.seconds)
    return exact(max(most.seconds - took, 0.0) / took, most.count)


INSTRUMENT_SIGNALS = (clocks, group, counts, threads, server_counts, server_times)
