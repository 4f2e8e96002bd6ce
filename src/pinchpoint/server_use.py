"""LoadRun -> what the server's processes used during a level, a request and a second, with intervals over its readings."""

from __future__ import annotations

import numpy as np

from pinchpoint import overseeing, stats
from pinchpoint.domain.load_report import ServerUse
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Floats, Telemetry
from pinchpoint.domain.traffic import Level, LoadRun, Sends
from pinchpoint.limits import Limits

FEWEST_READINGS = 6
MISSED = 0.05  # of the CPU time
PERIODS, THROTTLED = "cgroup.nr_periods", "cgroup.nr_throttled"
NS = 1e9


def server_use(run: LoadRun, level: Level, rows: Sends, begin_ns: int, limits: Limits) -> ServerUse | None:
    """What was used from `begin_ns` to the end of the level, of which `rows` are the requests; None where too little was read."""
    seen = _within(run.telemetry, begin_ns, level.end_ns)
    if len(seen.t_ns) < FEWEST_READINGS:
        return None
    seconds = np.diff(seen.t_ns) / NS
    ended = np.histogram(rows.done_ns[rows.done_ns > 0], seen.t_ns)[0] * float(level.thinned)
    spent, starved = _growth(seen, overseeing.CPU), _growth(seen, overseeing.DELAY)
    unseen = _growth(seen, overseeing.UNSEEN)
    if spent is not None and unseen is not None and unseen.sum() > MISSED * spent.sum():
        starved = None  # threads that are gone before they are looked at took with them how long they waited
    threads = {name: np.diff(values) for name, values in seen.columns if name.startswith(overseeing.OF_THREAD)}
    busiest = max(threads, key=lambda name: float(threads[name].sum()), default="")
    cpus_busy = None if spent is None else _ratio(spent, seconds)
    thread = _ratio(threads[busiest], seconds) if busiest else None
    return ServerUse(
        cpu_s_per_request=None if spent is None else _ratio(spent, ended),
        starved_s_per_request=None if starved is None else _ratio(starved, ended),
        cpus_busy=cpus_busy,
        busiest_thread=thread,
        busiest_thread_name=busiest.removeprefix(overseeing.OF_THREAD),
        throttled_share=_throttled(seen),
        rss_bytes=_highest(seen, overseeing.RSS),
        processes=int(_highest(seen, overseeing.PROCESSES)),
        threads=int(_highest(seen, overseeing.THREADS)),
        full=_full(cpus_busy, thread, run, limits),
    )


def _within(found: Telemetry, begin_ns: int, end_ns: int) -> Telemetry:
    chosen = (found.t_ns >= begin_ns) & (found.t_ns <= end_ns)
    return Telemetry(found.t_ns[chosen], tuple((name, values[chosen]) for name, values in found.columns))


def _growth(seen: Telemetry, name: str) -> Floats | None:
    column = seen.column(name)
    return None if column is None else np.diff(column)


def _ratio(above: Floats, below: Floats) -> Quantity | None:
    if below.sum() <= 0:
        return None
    found = stats.ratio_interval(above, below)
    return Quantity(found.value, min(max(found.low, 0.0), found.value), found.high, found.n)


def _highest(seen: Telemetry, name: str) -> float:
    column = seen.column(name)
    return 0.0 if column is None else float(column.max())


def _throttled(seen: Telemetry) -> float | None:
    """The share of a quota's periods in which it was used up; None without a quota."""
    periods, throttled = _growth(seen, PERIODS), _growth(seen, THROTTLED)
    if periods is None or throttled is None or periods.sum() <= 0:
        return None
    return float(throttled.sum() / periods.sum())


def _full(cpus_busy: Quantity | None, thread: Quantity | None, run: LoadRun, limits: Limits) -> str:
    """What leaves no room: all CPUs that the processes may use, or else one thread that cannot use more than one."""
    cpus = run.served.cpus if run.served else None
    if cpus and cpus_busy and cpus_busy.low > limits.saturated.value * cpus:
        return "cpus"
    return "thread" if thread and thread.low > limits.saturated.value else ""
