"""Shares of typical latency in which the request's thread did not run."""

from __future__ import annotations

from collections.abc import Callable

from pinchpoint import stats
from pinchpoint.contracts import Measure, SignalSource, Tables, signal
from pinchpoint.domain.ledger import Row
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.service import ON_THE_WAY
from pinchpoint.signals.counters import slope
from pinchpoint.signals.stages import UNSEEN_INSIDE, hidden, share

HALF = 0.5


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


def _in_a_lock(tables: Tables) -> Quantity | str:
    if not len(tables.run.samples.t_ns):
        return "thread states could not be sampled"
    return share(tables.typical, lambda row: row.site == "futex")


@signal("request.lock_share", unit="share", mechanism="sampling")
def lock(tables: Tables) -> Quantity | str:
    """Blocked in a futex while nothing ran for the request."""
    return _in_a_lock(tables)


@signal("request.own_lock_share", unit="share", mechanism="clock")
def own_lock(tables: Tables) -> Quantity | str:
    """Waiting for locks and semaphores that the target's own code made; not known where that is less than half of what was seen
    blocked in a futex, which is then for something else. Of a server, what was seen.
    """
    seen = _in_a_lock(tables)
    if isinstance(seen, str) or tables.run.service is not None:
        return seen
    stretches = [(begin, end) for begin, end in tables.run.aside.stretches if min(begin.waited_s, end.waited_s) >= 0]
    if len(stretches) < 2:
        return "its own locks were not timed for long enough"
    waited = [end.waited_s - begin.waited_s for begin, end in stretches]
    found = stats.ratio_interval(waited, [(end.t_ns - begin.t_ns) / 1e9 for begin, end in stretches])
    if found.value < HALF * seen.value:
        return "it is for no lock of its own code, but a result, a queue, or a lock inside a library"
    return found.clipped(0.0, 1.0)


@signal("request.together_share", unit="share", mechanism="clock")
def together(tables: Tables) -> Quantity | str:
    """Of requests sent three quarters of a latency apart those that ended with a neighbour; 0 of what is called one at a time."""
    service = tables.run.service
    if service is None:
        return exact(0.0)
    found = service.spaced
    return (
        "requests three quarters of a latency apart were not sent"
        if found is None
        else stats.share_interval(found.together, found.requests)
    )


BLOCKED_SIGNALS = (
    together,
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
    lock,
    own_lock,
    _sampled("request.timer_share", "Sleeping in a timer.", lambda r: r.site == "timer"),
    _sampled("request.interpreter_share", "Waiting for Python's interpreter lock.", lambda r: r.site == "gil"),
    _sampled("request.ipc_share", "Blocked on a pipe or another process.", lambda r: r.site in ("ipc", "other")),
)
