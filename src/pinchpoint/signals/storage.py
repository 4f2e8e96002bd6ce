"""Memory and disk counters a request."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pinchpoint import stats
from pinchpoint.contracts import SignalSource, Tables, signal
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Ints, Probes, Run
from pinchpoint.moments_of_service import batched
from pinchpoint.signals.counters import FEWEST_READINGS, slope
from pinchpoint.signals.stages import share
from pinchpoint.timeline import steady


def _per_request(name: str, unit: str, doc: str, pick: Callable[[Probes], Ints]) -> SignalSource:
    """Mean of a counter over the observed steady requests; of a server's processes, over all that were asked alone."""

    def measure(tables: Tables) -> Quantity | str:
        run = tables.run
        if run.service is not None:
            return _of_service(run, f"process.{name.partition('.')[2]}")
        rows = np.isin(run.probes.index, run.requests.index[steady(run).main])
        values = pick(run.probes)[rows]
        if len(values) < 2:
            return "too few observed requests"
        return stats.mean_interval(values.astype(float))

    measure.__doc__ = doc
    return signal(name, unit=unit, mechanism="counter")(measure)


def _of_service(run: Run, column: str) -> Quantity | str:
    """A counter of a server's processes over the requests that were answered meanwhile, one in flight."""
    main, counted = steady(run).main, run.telemetry.column(column)
    if counted is None:
        return f"{column} could not be read"
    asked = run.requests.end_ns[main]
    within = (run.telemetry.t_ns >= asked[0]) & (run.telemetry.t_ns <= asked[-1]) if len(asked) else np.zeros(0, bool)
    if np.count_nonzero(within) < FEWEST_READINGS:
        return "too few readings of its processes"
    ended = np.histogram(run.requests.end_ns, run.telemetry.t_ns[within])[0].astype(float)
    return batched(np.diff(counted[within]), ended) if ended.sum() else "no request was answered meanwhile"


@signal("memory.swap_in_bytes", unit="B a request", mechanism="counter")
def swap_in(tables: Tables) -> Quantity | str:
    """Bytes read back from swap by the whole host, over requests."""
    rate = slope(tables.run, "host.swap_in_bytes")
    if isinstance(rate, str):
        return rate
    return rate.scaled(tables.typical.latency.value)


@signal("memory.pressure_share", unit="share", mechanism="counter")
def pressure(tables: Tables) -> Quantity | str:
    """Share of time in which some task of the host stalled for memory."""
    rate = slope(tables.run, "pressure.memory_some_s")
    return rate if isinstance(rate, str) else rate.clipped(0.0, 1.0)


@signal("memory.fault_share", unit="share", mechanism="counter x calibration")
def faults(tables: Tables) -> Quantity | str:
    """Page faults times their calibrated cost, as a share of the latency."""
    if not any(c.name == "fault_s" for c in tables.run.environment.ceilings):
        return "the cost of a page fault is not calibrated"
    return share(tables.typical, lambda row: row.state == "memory" and row.site == "fault")


STORAGE_SIGNALS = (
    _per_request(
        "memory.major_faults", "faults a request", "Page faults that needed storage.", lambda p: p.major_faults
    ),
    _per_request("disk.read_bytes", "B a request", "Bytes read from storage.", lambda p: p.read_bytes),
    _per_request("disk.write_bytes", "B a request", "Bytes sent to storage.", lambda p: p.write_bytes),
    swap_in,
    pressure,
    faults,
)
