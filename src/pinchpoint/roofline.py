"""Operators against this machine's ceilings: how much of each one's time is arithmetic, memory, or above both floors.

The roofline (Williams, Waterman & Patterson 2009): an operator of F FLOPs and B compulsory bytes cannot be faster than
C = F / peak nor than M = B / bandwidth, each at its thread count, data type and footprint. Of its measured time T the
memory cell is the interval [max(0, M - C), min(M, T - C)]: the ends are full and no overlap of the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pinchpoint.domain.ledger import Ledger
from pinchpoint.domain.operator import Cost
from pinchpoint.domain.quantity import Quantity, total
from pinchpoint.domain.run import Ceiling, OperatorArm, OperatorTime, Run
from pinchpoint.domain.split import FEW_OPERATORS, Ceilings, Floors, SessionSplit, Split
from pinchpoint.domain.target import Session

PARALLEL_FROM_S = 20e-6  # ONNX Runtime keeps an operator's work on one thread below about this
LOST_AT_WORST = 0.25
LEFT_OF_FAULTS = 0.1  # of an operator's time: its faults were counted in one call and are timed in others
ENDS = ("value", "low", "high")
BASE_KINDS = {
    "FusedConv": "Conv",
    "NhwcConv": "Conv",
    "FusedGemm": "Gemm",
    "FusedMatMul": "MatMul",
    "TransposeMatMul": "MatMul",
}
LAID_OUT = {"Conv", "FusedConv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
REORDERING = {"ReorderInput", "ReorderOutput"}  # of images into blocks of channels, before and after these
TOLD_APART_SHARE = 0.5  # operators are told apart while the profiler's own events take less than this of their time


def threads_of(session: Session, cpus: int, effective_cpus: float) -> int:
    """The threads that a session's kernels can really use: its pool, or what the container grants if that is less."""
    return max(1, min(session.intra_op_threads or cpus, math.floor(effective_cpus)))


def sessions(run: Run) -> tuple[SessionSplit, ...]:
    """Every profiled session of the run, split."""
    return tuple(_session(run, arm) for arm in run.arms if arm.session < len(run.target.sessions))


def _session(run: Run, arm: OperatorArm) -> SessionSplit:
    session = run.target.sessions[arm.session]
    environment = run.environment
    rows = _of_runtime(environment.ceilings, session)
    ceilings = Ceilings(rows, threads_of(session, environment.cpus, environment.effective_cpus))
    operators = [row for row in run.operators if row.session == arm.session]
    events = {row.kind: ceilings.value("event_s", row.kind) for row in operators}
    raw = sum(row.seconds.value for row in operators)
    noted = sum(row.calls * event.value for row in operators if (event := events[row.kind]) is not None)
    told_apart = ceilings.value("event_s") is None or noted < TOLD_APART_SHARE * raw
    fault = _fault(run)
    splits = tuple(
        split(row, without_faults(row, without_events(row, events[row.kind]), fault), arm, ceilings)
        for row in operators
    )
    by_kind = any(c.name == "event_s" and c.dtype for c in rows)
    work = total([item.seconds for item in splits]) if by_kind and splits and not told_apart else None
    return SessionSplit(
        session, arm, splits, _dispatch(operators, arm, ceilings, session.form), told_apart, ceilings, work
    )


def _of_runtime(ceilings: Sequence[Ceiling], session: Session) -> tuple[Ceiling, ...]:
    """The ceilings that a session is judged by: its own runtime's, where a target has sessions of several."""
    mine = tuple(c for c in ceilings if c.runtime == session.runtime)
    return mine or tuple(ceilings)


def _started_as(form: str, each: Quantity, ceilings: Ceilings) -> Quantity:
    """The cost of starting an operator from Python, as TorchScript or an exported program starts it: more or less by what
    that changes for an addition.
    """
    eager, other = ceilings.value("dispatch_s"), ceilings.value("dispatch_s", form)
    if eager is None or other is None or other == eager:
        return each
    value, low, high = (max(getattr(each, end) + getattr(other, end) - getattr(eager, end), 0.0) for end in ENDS)
    return Quantity(value, min(low, value), max(high, value), each.n)


def _dispatch(operators: Sequence[OperatorTime], arm: OperatorArm, ceilings: Ceilings, form: str) -> Quantity | None:
    """What the runtime charges for starting the operators of a run, each kind at its own cost where that is known, and for
    calling the modules around them and reaching what they hold.
    """
    counts: dict[Quantity, float] = {}
    for row in operators:
        each = ceilings.value("dispatch_s", row.kind)
        if each is None:
            return None
        each = _started_as(form, each, ceilings)
        counts[each] = counts.get(each, 0.0) + row.calls
    calls, further = sum(counts.values()), ceilings.value("dispatch_further_s")
    if further is not None and calls > FEW_OPERATORS:
        counts = {each: count * FEW_OPERATORS / calls for each, count in counts.items()}
        counts[further] = counts.get(further, 0.0) + calls - FEW_OPERATORS
    for name, count in (("module_s", arm.modules), ("tensor_s", arm.tensors)):
        once = ceilings.value(name)
        if once is not None:
            counts[once] = counts.get(once, 0.0) + count
    return total([each.scaled(count) for each, count in counts.items()]) if counts else None


def without_events(row: OperatorTime, event: Quantity | None) -> Quantity:
    """An operator's profiled seconds without what the profiler's own events cost it, never below zero."""
    if event is None:
        return row.seconds
    cost = event.scaled(row.calls)
    value = max(row.seconds.value - cost.value, 0.0)
    low = min(max(row.seconds.low - cost.high, 0.0), value)
    return Quantity(value, low, max(row.seconds.high - cost.low, value), row.seconds.n)


def _fault(run: Run) -> Quantity | None:
    """The calibrated cost of a page fault, at most the system time that there was for each."""
    fault = Ceilings(run.environment.ceilings, 1).value("fault_s")
    count, system = float(run.probes.minor_faults.sum()), float(run.probes.system_ns.sum()) / 1e9
    if fault is None or count <= 0:
        return None
    return fault.scaled(min(system / count / fault.value, 1.0)) if fault.value > 0 else fault


def without_faults(row: OperatorTime, seconds: Quantity, fault: Quantity | None) -> Quantity:
    """An operator's seconds without its page faults, which the ledger has as memory of its own; never below zero."""
    if fault is None or not row.faults:
        return seconds
    least = seconds.value * LEFT_OF_FAULTS
    value = max(seconds.value - fault.value * row.faults, least)
    return Quantity(
        value, min(max(seconds.low - fault.high * row.faults, 0.0), value),
        max(seconds.high - fault.low * row.faults, value), seconds.n,
    )  # fmt: skip


def split(row: OperatorTime, seconds: Quantity, arm: OperatorArm, ceilings: Ceilings) -> Split:
    """Split an operator's seconds at its floors."""
    floors = floors_of(row.cost, arm.working_set_bytes, ceilings) if row.cost is not None else None
    if floors is None:
        return Split(row, seconds, None, None)
    return Split(row, seconds, memory_cell(seconds, floors), floors)


def memory_cell(seconds: Quantity, floors: Floors) -> Quantity:
    """The memory cell: its ends as the design defines them; its value charges the time in which arithmetic and memory
    overlap to the higher floor, which is what the request waits for.
    """
    t, m, c = seconds.value, floors.memory, floors.arithmetic.value
    low = min(max(0.0, m - c), t)
    high = min(max(min(m, t - c), low), t)
    return Quantity(high if m >= c else low, low, high, seconds.n)


def floors_of(cost: Cost, working_set_bytes: float, ceilings: Ceilings) -> Floors | None:
    """The floors of an operator at these ceilings; None where the ceilings are not known.

    Weights stream from wherever the whole working set fits; activations were just written and are as near as their size
    allows. A row at a random place costs the instructions of a near row, and up to the wait for a far one.
    """
    peak = ceilings.value("flops_per_s", cost.arithmetic)
    weights = ceilings.at("read_bytes_per_s", working_set_bytes)
    activations = ceilings.at("triad_bytes_per_s", cost.activation_bytes)
    if peak is None or weights is None or activations is None:
        return None
    near, far = ceilings.value("near_row_s"), ceilings.value("far_row_s")
    arithmetic, lookups = _seconds(cost.flops, peak), _seconds(cost.lookup_bytes, weights)
    if cost.lookups and near is not None and far is not None:
        arithmetic = near.scaled(cost.lookups)
        missing = max(far.value - near.value, 0.0) * cost.lookups
        if missing > lookups.value:
            lookups = Quantity(missing, min(lookups.value, missing), max(far.high * cost.lookups, missing), far.n)
    return Floors(
        arithmetic, _seconds(cost.weight_bytes, weights), _seconds(cost.activation_bytes, activations), lookups
    )


def _seconds(amount: float, rate: Quantity) -> Quantity:
    return Quantity(amount / rate.value, amount / rate.high, amount / rate.low, rate.n)


def scale(ledger: Ledger, session: SessionSplit) -> float:
    """Seconds in the ledger for each second of the session's profiled arm: its runs a request times its share on CPU."""
    operators = {item.operator.name for item in session.splits}
    rows = [r for r in ledger.rows if r.stage == "model" and r.operator in operators]
    profiled = sum(item.seconds.value for item in session.splits)
    return sum(r.seconds.value for r in rows) / profiled if profiled else 0.0


def excess(item: Split, session: SessionSplit) -> float:
    """Seconds of an operator above both floors and above what dispatching it costs; of a compiled graph, which is timed as
    a whole and dispatches nothing itself, it is not known whose they are.
    """
    if item.operator.calls <= 0:
        return 0.0
    each = session.ceilings.value("dispatch_s", item.operator.kind)
    return max(item.excess - (each.value * item.operator.calls if each else 0.0), 0.0)


def worst_kind(splits: Sequence[SessionSplit]) -> str:
    """The operator kind with most time above its floors: how many nodes a graph spreads it over changes nothing."""
    sums: dict[str, float] = {}
    for session in splits:
        for item in session.splits if session.told_apart else ():
            sums[item.operator.kind] = sums.get(item.operator.kind, 0.0) + excess(item, session)
    return max(sums, key=lambda kind: sums[kind], default="")


def kept_share(session: SessionSplit, kind: str) -> float:
    """The share of a kind's nodes that full graph optimisation leaves, a fused node counting as its base kind."""
    if session.arm.optimised is None:
        return 1.0
    same = BASE_KINDS.get(kind, kind)
    before = sum(BASE_KINDS.get(item.operator.kind, item.operator.kind) == same for item in session.splits)
    after = sum(BASE_KINDS.get(other, other) == same for other, _, _, _ in session.arm.optimised)
    return min(after / before, 1.0) if before else 1.0


def new_layout(session: SessionSplit, kind: str) -> bool:
    """Whether full graph optimisation lays out afresh what operators of this kind read and write."""
    kinds = {other for other, _, _, _ in session.arm.optimised or ()}
    return (kind in LAID_OUT and bool(kinds & REORDERING)) or f"Nhwc{kind}" in kinds


def thread_factors(run: Run, session: SessionSplit) -> Iterator[tuple[Split, Quantity]]:
    """Each operator with the factor on its time that as many threads as CPUs would bring; none where it has them."""
    most = max(1, math.floor(run.environment.effective_cpus))
    if session.ceilings.threads >= most or not session.told_apart:
        return
    wider = Ceilings(_of_runtime(run.environment.ceilings, session.session), most)
    for item in session.splits:
        factor = _thread_factor(item, session, wider)
        if factor is not None:
            yield item, factor


def _thread_factor(item: Split, session: SessionSplit, wider: Ceilings) -> Quantity | None:
    """The ratio of an operator's floors at two thread counts; None where it is too small to be shared out.

    At best time falls with the thread count; at worst a quarter of the gain is lost to what does not share.
    """
    cost = item.operator.cost
    if cost is None or item.floors is None or item.seconds.value / max(item.operator.calls, 1.0) < PARALLEL_FROM_S:
        return None
    then = floors_of(cost, session.arm.working_set_bytes, wider)
    if then is None or item.floors.higher <= 0:
        return None
    ratio = min(then.higher / item.floors.higher, 1.0)
    ideal = min(session.ceilings.threads / wider.threads, ratio)
    return Quantity(ratio, ideal, min(1.0, ratio + (1 - ratio) * LOST_AT_WORST), item.seconds.n)
