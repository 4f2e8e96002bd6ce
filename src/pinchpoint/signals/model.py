"""A model's operators against the ceilings, as shares of typical latency."""

from __future__ import annotations

from collections.abc import Callable

from pinchpoint import roofline
from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.split import SessionSplit, Split

NO_SESSION = "no runtime session was profiled"
NOT_TOLD_APART = "the runtime's profiler costs more than the operators: their times are not told apart"


def told_apart(tables: Tables) -> str | None:
    """Why operators cannot be judged one by one; None where they can."""
    if not tables.sessions:
        return NO_SESSION
    return None if any(session.told_apart for session in tables.sessions) else NOT_TOLD_APART


def weighted(tables: Tables, seconds: Callable[[Split, SessionSplit], float]) -> Quantity:
    """Seconds over all operators as a share of the latency; the interval is that of the profiled arms."""
    value = low = high = 0.0
    n = 0
    for session in tables.sessions:
        if session.told_apart:
            each = sum(seconds(item, session) for item in session.splits) * roofline.scale(tables.typical, session)
            latency = session.arm.latency
            value += each
            low += each * latency.low / latency.value
            high += each * latency.high / latency.value
            n = max(n, latency.n)
    whole = tables.typical.latency.value
    return Quantity(value / whole, low / whole, high / whole, n)


def _memory_part(item: Split, part: float) -> float:
    """The seconds of an operator's memory cell that one of its floors accounts for."""
    if item.memory is None or item.floors is None or item.floors.memory <= 0:
        return 0.0
    return item.memory.value * part / item.floors.memory


@signal("model.arithmetic_efficiency", unit="share", mechanism="roofline")
def arithmetic_efficiency(tables: Tables) -> Quantity | str:
    """Compulsory FLOPs at the peak of their data type and threads, over the model's time on CPU."""
    return _efficiency(tables, lambda item: item.floors.arithmetic if item.floors else None)


@signal("model.bandwidth_efficiency", unit="share", mechanism="roofline")
def bandwidth_efficiency(tables: Tables) -> Quantity | str:
    """Compulsory bytes at the bandwidth of their footprint and threads, over the model's time on CPU."""
    return _efficiency(tables, _memory_floor)


def _memory_floor(item: Split) -> Quantity | None:
    if item.floors is None:
        return None
    parts = (item.floors.weights, item.floors.activations, item.floors.lookups)
    return Quantity(sum(p.value for p in parts), sum(p.low for p in parts), sum(p.high for p in parts), parts[0].n)


def _efficiency(tables: Tables, floor: Callable[[Split], Quantity | None]) -> Quantity | str:
    missing = told_apart(tables)
    if missing:
        return missing
    sums = [0.0, 0.0, 0.0]
    seconds, n = 0.0, 0
    for session in tables.sessions:
        if not session.told_apart:
            continue
        factor = roofline.scale(tables.typical, session)
        for item in session.splits:
            seconds += item.seconds.value * factor
            found = floor(item)
            if found is not None:
                sums[0] += found.value * factor
                sums[1] += found.low * factor
                sums[2] += found.high * factor
        n = max(n, session.arm.runs)
    seconds += sum(r.seconds.value for r in tables.typical.rows if r.source.startswith("calibrated"))
    return Quantity(sums[0] / seconds, sums[1] / seconds, sums[2] / seconds, n) if seconds > 0 else NO_SESSION


@signal("model.weights_share", unit="share", mechanism="roofline")
def weights(tables: Tables) -> Quantity | str:
    """Time at the memory floor for reading weights."""
    missing = told_apart(tables)
    return missing or weighted(
        tables, lambda item, _: _memory_part(item, item.floors.weights.value if item.floors else 0.0)
    )


@signal("model.activations_share", unit="share", mechanism="roofline")
def activations(tables: Tables) -> Quantity | str:
    """Time at the memory floor for reading and writing intermediate results."""
    missing = told_apart(tables)
    return missing or weighted(
        tables, lambda item, _: _memory_part(item, item.floors.activations.value if item.floors else 0.0)
    )


@signal("model.lookup_share", unit="share", mechanism="roofline")
def lookups(tables: Tables) -> Quantity | str:
    """Time of gathers beyond what their bytes need at full bandwidth."""
    missing = told_apart(tables)
    return missing or weighted(tables, _random_access)


def _random_access(item: Split, session: SessionSplit) -> float:
    cost = item.operator.cost
    if item.floors is None or cost is None or not cost.lookups:
        return 0.0
    weights_bandwidth = session.ceilings.at("read_bytes_per_s", session.arm.working_set_bytes)
    streamed = cost.lookup_bytes / weights_bandwidth.value if weights_bandwidth else 0.0
    near = session.ceilings.value("near_row_s")
    instructions = near.value * cost.lookups if near else 0.0
    return max(item.seconds.value - max(streamed, instructions) - item.floors.activations.value, 0.0)


@signal("model.dispatch_share", unit="share", mechanism="calibration")
def dispatch(tables: Tables) -> Quantity | str:
    """Operators times what this runtime charges for dispatching one."""
    if not tables.sessions:
        return NO_SESSION
    rows = [r.seconds for r in tables.typical.rows if r.operator == "dispatch"]
    if not rows:
        return "the cost of dispatching an operator is not calibrated"
    ends = [sum(getattr(row, end) for row in rows) for end in ("value", "low", "high")]
    return Quantity(ends[0], ends[1], ends[2], min(r.n for r in rows)).scaled(1 / tables.typical.latency.value)


@signal("capacity.batchable_share", unit="share", mechanism="roofline and calibration")
def fixed(tables: Tables) -> Quantity | str:
    """What a run costs however many items it has: reading weights, and starting operators."""
    parts = [found for found in (weights.measure(tables), dispatch.measure(tables)) if not isinstance(found, str)]
    if not parts:
        return told_apart(tables) or "neither weights nor dispatch are known"
    return Quantity(
        sum(p.value for p in parts), sum(p.low for p in parts), sum(p.high for p in parts), min(p.n for p in parts)
    )


@signal("model.excess_share", unit="share", mechanism="roofline")
def excess(tables: Tables) -> Quantity | str:
    """The largest operator kind's time above both of its floors."""
    missing = told_apart(tables)
    if missing:
        return missing
    worst = roofline.worst_kind(tables.sessions)
    return weighted(
        tables, lambda item, session: roofline.excess(item, session) if item.operator.kind == worst else 0.0
    )


@signal("model.excess_ratio", unit="ratio", mechanism="roofline")
def excess_ratio(tables: Tables) -> Quantity | str:
    """That kind's time over its larger floor."""
    missing = told_apart(tables)
    if missing:
        return missing
    worst = roofline.worst_kind(tables.sessions)
    mine = [(i, s) for s in tables.sessions for i in s.splits if i.operator.kind == worst and i.floors is not None]
    floor = sum(item.floors.higher for item, _ in mine if item.floors)
    if floor <= 0:
        return "no operator has known costs"
    ends = [sum(getattr(item.seconds, end) for item, _ in mine) / floor for end in ("value", "low", "high")]
    return Quantity(ends[0], ends[1], ends[2], min(item.seconds.n for item, _ in mine))


@signal("model.optimization_off", unit="flag", mechanism="configuration")
def optimization_off(tables: Tables) -> Quantity | str:
    """1 where a session runs below the runtime's full graph optimisation."""
    if not tables.run.target.sessions:
        return NO_SESSION
    return exact(float(any(s.optimization != "all" for s in tables.run.target.sessions)))


@signal("model.removable_share", unit="share", mechanism="graph")
def removable(tables: Tables) -> Quantity | str:
    """Time of operators that full graph optimisation would remove or fuse, less what it would put in their place."""
    if not tables.sessions:
        return NO_SESSION
    if all(session.arm.optimised is None for session in tables.sessions):
        return exact(0.0)
    known = weighted(
        tables, lambda item, session: item.seconds.value * (1 - roofline.kept_share(session, item.operator.kind))
    )
    small = sum(_removable_dispatch(s) for s in tables.sessions if not s.told_apart) / tables.typical.latency.value
    return Quantity(known.value + small, known.low + small, known.high + small, known.n)


def _removable_dispatch(session: SessionSplit) -> float:
    """What dispatching the operators that full optimisation removes costs, where their own time is not known."""
    each = session.ceilings.value("dispatch_s")
    if each is None:
        return 0.0
    removed = sum(i.operator.calls * (1 - roofline.kept_share(session, i.operator.kind)) for i in session.splits)
    return removed * each.value


@signal("scaling.thread_gain", unit="ratio", mechanism="ceilings")
def thread_gain(tables: Tables) -> Quantity | str:
    """Latency now over latency with as many threads as there are CPUs, from the ceilings at both."""
    missing = told_apart(tables)
    if missing:
        return missing
    saved = [0.0, 0.0, 0.0]
    for session in tables.sessions:
        for item, factor in roofline.thread_factors(tables.run, session):
            seconds = item.seconds.value * roofline.scale(tables.typical, session)
            for i, end in enumerate((factor.value, factor.high, factor.low)):
                saved[i] += seconds * (1 - end)
    latency = tables.typical.latency.value
    gains = [latency / max(latency - part, latency / 100) for part in saved]
    return Quantity(gains[0], min(gains), max(gains), tables.typical.latency.n)


MODEL_SIGNALS = (
    arithmetic_efficiency,
    bandwidth_efficiency,
    weights,
    activations,
    lookups,
    dispatch,
    fixed,
    excess,
    excess_ratio,
    optimization_off,
    removable,
    thread_gain,
)
