"""Threads and CPUs: who runs, who waits to run, and what is left idle."""

from __future__ import annotations

import numpy as np

from pinchpoint import moments_of_service, stats
from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import RUNNING, Run
from pinchpoint.signals.counters import slope
from pinchpoint.signals.stages import UNSEEN_INSIDE, hidden
from pinchpoint.timeline import steady
from pinchpoint.waits import CHILDREN, share_of_time

BATCHES = 20


@signal("threads.runnable_per_cpu", unit="threads a CPU", mechanism="sampling")
def runnable(tables: Tables) -> Quantity | str:
    """Mean runnable threads of the target, over effective CPUs, while requests are in progress."""
    run = tables.run
    if run.service is not None:
        return _of_server(run)
    mine = run.samples.thread == run.request_thread
    counted = mine & (run.samples.running >= 0)
    if np.count_nonzero(counted) < BATCHES:
        return "too few samples of all threads"
    running = run.samples.site[mine] == RUNNING
    parts = []
    for state, share in ((True, float(running.mean())), (False, 1.0 - float(running.mean()))):
        chosen = counted & ((run.samples.site == RUNNING) == state)
        if np.count_nonzero(chosen) >= 2:
            parts.append((stats.mean_interval(run.samples.running[chosen] + float(state)), share))
    ends = [sum(getattr(quantity, end) * share for quantity, share in parts) for end in ("value", "low", "high")]
    whole = max(1.0, run.environment.effective_cpus)  # one thread is never too many, however small its quota
    return Quantity(ends[0], max(ends[1], 0.0), ends[2], int(np.count_nonzero(counted))).scaled(1 / whole)


def _of_server(run: Run) -> Quantity | str:
    """The same of all threads of a server."""
    seen = moments_of_service.moments(run, steady(run).typical)
    if len(seen.t_ns) < BATCHES:
        return "too few samples of all threads"
    found = moments_of_service.batched(seen.running.astype(float), np.ones(len(seen.t_ns)))
    return found.scaled(1 / max(1.0, run.environment.effective_cpus))


@signal("threads.pool_per_cpu", unit="threads a CPU", mechanism="configuration")
def pool(tables: Tables) -> Quantity | str:
    """The largest configured pool of a runtime, over effective CPUs."""
    run = tables.run
    if not run.target.sessions:
        return "no runtime session was opened"
    largest = max(session.intra_op_threads or run.environment.cpus for session in run.target.sessions)
    return exact(largest / run.environment.effective_cpus)


@signal("threads.starved_cores", unit="CPUs", mechanism="run-queue clock")
def starved_cores(tables: Tables) -> Quantity | str:
    """Seconds a second that the target's threads together waited for a CPU, beyond throttling."""
    waited = slope(tables.run, "process.run_delay_s")
    if isinstance(waited, str):
        return waited
    throttled = slope(tables.run, "cgroup.throttled_s")
    less = 0.0 if isinstance(throttled, str) else throttled.value
    return Quantity(max(waited.value - less, 0.0), max(waited.low - less, 0.0), max(waited.high - less, 0.0), waited.n)


@signal("cpu.parallelism", unit="CPUs", mechanism="process clock")
def parallelism(tables: Tables) -> Quantity | str:
    """CPU seconds of all threads over latency, during observed typical requests."""
    run = tables.run
    wanted = run.requests.index[steady(run).typical & run.requests.observed]
    rows = np.isin(run.probes.index, wanted)
    if np.count_nonzero(rows) < 2:
        return "too few observed requests"
    latency = run.requests.latency_s[np.searchsorted(run.requests.index, run.probes.index[rows])]
    return stats.ratio_interval(run.probes.process_cpu_ns[rows] / 1e9, latency)


@signal("cpu.idle_share", unit="share", mechanism="counter")
def idle(tables: Tables) -> Quantity | str:
    """Effective CPUs that neither the target nor others used."""
    own, others = slope(tables.run, "process.cpu_s"), foreign_cpus(tables)
    if isinstance(own, str):
        return own
    if isinstance(others, str):
        return others
    environment = tables.run.environment
    host = environment.affinity - own.value - others.value
    granted = environment.effective_cpus - own.value
    half = (own.high - own.low + others.high - others.low) / 2
    left = min(host, granted)
    return Quantity(left, left - half, left + half, own.n).scaled(1 / environment.effective_cpus).clipped(0.0, 1.0)


@signal("cpu.foreign_share", unit="share", mechanism="counter")
def foreign(tables: Tables) -> Quantity | str:
    """Effective CPUs that other processes used, pinchpoint's own not among them."""
    others = foreign_cpus(tables)
    return others if isinstance(others, str) else others.scaled(1 / tables.run.environment.affinity).clipped(0.0, 1.0)


def foreign_cpus(tables: Tables) -> Quantity | str:
    """CPUs that other processes kept busy, those that the target starts not among them."""
    busy = slope(tables.run, "host.busy_s")
    own = slope(tables.run, "process.cpu_s")
    tool = slope(tables.run, "tool.cpu_s")
    for part in (busy, own, tool):
        if isinstance(part, str):
            return part
    assert not isinstance(busy, str)
    assert not isinstance(own, str)
    assert not isinstance(tool, str)
    started = share_of_time(tables.run, CHILDREN)
    value = max(busy.value - own.value - tool.value - (started.value if started is not None else 0.0), 0.0)
    half = float(np.hypot(busy.high - busy.value, own.high - own.value))
    return Quantity(value, max(value - half, 0.0), value + half, busy.n)


@signal("cpu.steal_share", unit="share", mechanism="counter")
def steal(tables: Tables) -> Quantity | str:
    """Effective CPUs that the hypervisor gave to other machines."""
    stolen = slope(tables.run, "host.steal_s")
    return stolen if isinstance(stolen, str) else stolen.scaled(1 / tables.run.environment.affinity).clipped(0.0, 1.0)


@signal("cgroup.throttled_periods_share", unit="share", mechanism="counter")
def throttled_periods(tables: Tables) -> Quantity | str:
    """Periods of the CPU quota in which the container was stopped."""
    periods = tables.run.telemetry.column("cgroup.nr_periods")
    throttled = tables.run.telemetry.column("cgroup.nr_throttled")
    if hidden(tables.typical):
        return UNSEEN_INSIDE
    if tables.run.environment.quota_cpus is None:
        return exact(0.0)
    if periods is None or throttled is None:
        return "the container's cpu.stat could not be read"
    passed = int(periods[-1] - periods[0])
    if passed <= 0:
        return exact(0.0)
    return stats.share_interval(int(throttled[-1] - throttled[0]), passed)


PROCESSOR_SIGNALS = (runnable, pool, starved_cores, parallelism, idle, foreign, steal, throttled_periods)
