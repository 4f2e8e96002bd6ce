"""Memory and disk counters a request."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pinchpoint import stats
from pinchpoint.contracts import SignalSource, Tables, signal
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Ints, Probes
from pinchpoint.signals.counters import slope
from pinchpoint.signals.stages import share
from pinchpoint.timeline import steady


def _per_request(name: str, unit: str, doc: str, pick: Callable[[Probes], Ints]) -> SignalSource:
    """Mean of a counter over the observed steady requests."""

    def measure(tables: Tables) -> Quantity | str:
        run = tables.run
        rows = np.isin(run.probes.index, run.requests.index[steady(run).main])
        values = pick(run.probes)[rows]
        if len(values) < 2:
            return "too few observed requests"
        return stats.mean_interval(values.astype(float))

    measure.__doc__ = doc
    return signal(name, unit=unit, mechanism="counter")(measure)


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
