"""How busy resources are at the highest load that still has the highest throughput."""

from __future__ import annotations

from collections.abc import Collection

from pinchpoint import demands
from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.demand import Demand
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.service import SELECTOR


def _at_saturation(tables: Tables, resource: str) -> Demand | str:
    """The demand at the load that is judged, or at the nearest one where it is known."""
    if tables.saturated is None:
        return f"several requests in flight were not measured: {tables.run.ladder_ended}"
    load = tables.saturated.load
    mine = [each for each in tables.demands if each.resource == resource and each.utilization is not None]
    if not mine:
        return "it could not be watched"
    return min(mine, key=lambda each: abs(each.load - load))


def _used(tables: Tables, resource: str) -> Quantity | str:
    found = _at_saturation(tables, resource)
    return found if isinstance(found, str) else (found.utilization or "it could not be watched")


def _fullest(tables: Tables, kinds: Collection[str]) -> Quantity | str:
    """The busiest resource of these kinds at that load, those that serve alike and unevenly as one; 0 where there is none."""
    if tables.saturated is None:
        return f"several requests in flight were not measured: {tables.run.ladder_ended}"
    load = tables.saturated.load
    alike = demands.uneven(tables.run, tables.demands, load)
    mine = [d for d in tables.demands if d.load == load and demands.kind_of(d) in kinds]
    found = [d.utilization for d in mine if d not in alike]
    if any(d in alike for d in mine):  # together they are one, whose places are not used alike
        shares = [d.utilization.value for d in alike if d.utilization]
        found.append(exact(sum(shares) / len(shares), len(shares)))
    return max(filter(None, found), key=lambda used: used.value, default=exact(0.0))


@signal("capacity.gil_utilization", unit="share", mechanism="readings of the lock")
def gil(tables: Tables) -> Quantity | str:
    """Share of the time in which the interpreter's lock is held, at the load that is judged."""
    return _used(tables, demands.GIL)


@signal("capacity.lock_utilization", unit="share", mechanism="clock")
def lock(tables: Tables) -> Quantity | str:
    """Share of the time in which the busiest lock of the target's own code is held, at the load that is judged."""
    return _fullest(tables, (demands.LOCK,))


@signal("capacity.loop_utilization", unit="share", mechanism="clock")
def loop(tables: Tables) -> Quantity | str:
    """Share of the time in which the event loop is not waiting in its selector, at the load that is judged; 0 without a loop."""
    return _fullest(tables, (demands.LOOP,))


@signal("capacity.pool_utilization", unit="share", mechanism="clock")
def pool(tables: Tables) -> Quantity | str:
    """Share of the workers (or of the places of a semaphore) that are taken in the fullest pool, at the load that is judged."""
    service = tables.run.service
    seen = service is None or any(demands.kind_of(each) in demands.POOLS for each in tables.demands)
    if tables.saturated is not None and service and not seen and any(t.parked == SELECTOR for t in service.threads):
        return "how many a server's event loop lets in at a time cannot be seen from outside"
    return _fullest(tables, demands.POOLS)


@signal("capacity.busiest_share", unit="share", mechanism="clock")
def busiest(tables: Tables) -> Quantity | str:
    """Of those that serve alike, of which one has far less to do than another (processes of a server, pools made at one line),
    how much of the time the busiest is busy, at the load that is judged; 0 where there are none.
    """
    return _of_those_alike(tables, 0)


@signal("capacity.idlest_share", unit="share", mechanism="clock")
def idlest(tables: Tables) -> Quantity | str:
    """The same of the one that has the least to do."""
    return _of_those_alike(tables, -1)


def _of_those_alike(tables: Tables, which: int) -> Quantity | str:
    if tables.saturated is None:
        return f"several requests in flight were not measured: {tables.run.ladder_ended}"
    alike = demands.uneven(tables.run, tables.demands, tables.saturated.load)
    return (alike[which].utilization if alike else None) or exact(0.0)


@signal("capacity.idle_share", unit="share", mechanism="clock")
def idle(tables: Tables) -> Quantity | str:
    """Share of the usable CPUs that the target leaves idle, at the load that is judged."""
    found = _at_saturation(tables, demands.CPU)
    if isinstance(found, str) or found.utilization is None:
        return found if isinstance(found, str) else "it could not be watched"
    used = found.utilization
    return Quantity(1 - used.value, 1 - used.high, 1 - used.low, used.n).clipped(0.0, 1.0)


@signal("capacity.scaling", unit="ratio", mechanism="wall clock")
def scaling(tables: Tables) -> Quantity | str:
    """The highest throughput over that of one request in flight."""
    if tables.best is None:
        return f"several requests in flight were not measured: {tables.run.ladder_ended}"
    one = next((rung.throughput_per_s for rung in tables.rungs if rung.load == 1), None)
    if one is None:
        return "one request in flight was not measured on the ladder"
    if tables.best.load == 1:
        return exact(1.0, one.n)
    if one.low <= 0:
        return "one request in flight was visited too seldom on the ladder"
    best = tables.best.throughput_per_s
    return Quantity(best.value / one.value, best.low / one.high, best.high / one.low, best.n)


CAPACITY_SIGNALS = (gil, lock, loop, pool, busiest, idlest, idle, scaling)
