"""Shares of typical latency in which the request's thread did not run."""

from __future__ import annotations

from collections.abc import Callable

from pinchpoint.contracts import Measure, SignalSource, Tables, signal
from pinchpoint.domain.ledger import Row
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.service import ON_THE_WAY
from pinchpoint.signals.counters import slope
from pinchpoint.signals.stages import UNSEEN_INSIDE, hidden, share


def _sampled(name: str, doc: str, wanted: Callable[[Row], bool]) -> SignalSource:
    """A share that rests on samples of thread states."""

    def measure(tables: Tables) -> Quantity | str:
        if not len(tables.run.samples.t_ns):
            return "thread states could not be sampled"
        return share(tables.typical, wanted)

    measure.__doc__ = doc
    typed: Measure = measure
    return signal(name, unit="share", mechanism="sampling")(typed)


@signal("request.starved_share", unit="share", mechanism="run-queue clock")
def starved(tables: Tables) -> Quantity | str:
    """Runnable and not running: run queue, quota, steal."""
    if len(tables.run.probes.run_delay_ns) and tables.run.probes.run_delay_ns.min() < 0:
        return "this kernel does not tell run-queue wait"
    if hidden(tables.typical):
        return UNSEEN_INSIDE
    return share(tables.typical, lambda row: row.state == "starved")


@signal("request.throttled_share", unit="share", mechanism="counter")
def throttled(tables: Tables) -> Quantity | str:
    """What the container's quota accounts for of the starved share, at most."""
    rate = slope(tables.run, "cgroup.throttled_s")
    if isinstance(rate, str):
        return rate
    ceiling = starved.measure(tables)
    if isinstance(ceiling, str):
        return ceiling
    return Quantity(min(rate.value, ceiling.value), min(rate.low, ceiling.low), min(rate.high, ceiling.high), rate.n)


BLOCKED_SIGNALS = (
    starved,
    throttled,
    _sampled(
        "request.read_share",
        "Blocked in reads or page-ins from storage.",
        lambda r: r.state == "disk" and r.site != "sync",
    ),
    _sampled("request.sync_share", "Blocked in writes or syncs to storage.", lambda r: r.site == "sync"),
    _sampled(
        "request.network_share",
        "Blocked on a connection, that of the request itself aside.",
        lambda r: r.state == "network" and r.site not in ON_THE_WAY,
    ),
    _sampled(
        "request.lock_share", "Blocked in a futex while nothing ran for the request.", lambda r: r.site == "futex"
    ),
    _sampled("request.timer_share", "Sleeping in a timer.", lambda r: r.site == "timer"),
    _sampled("request.ipc_share", "Blocked on a pipe or another process.", lambda r: r.site in ("ipc", "other")),
)
