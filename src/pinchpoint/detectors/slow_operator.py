"""C114: one kind of operator runs far above its floor."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C114",
    title="an operator on a slow path",
    question="Does one kind of operator take far longer than its arithmetic and bytes need?",
    bound="cpu",
    cells=(("model", "cpu"),),
    needs=("model.share", "model.excess_share", "model.excess_ratio", "model.removable_share", "threads.starved_cores"),
    remedies=("replace-operator",),
    lookalikes=("C105", "C106", "C112"),
)
def slow_operator(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """One kind of operator takes several times what its work needs, and that excess is a good part of the request.

    **Mechanism.** An operator cannot be faster than its arithmetic at the peak nor than its bytes at full bandwidth.
    Good kernels come near the higher of the two floors. One that stays several times above it runs on a fallback path:
    a data type that is emulated, a layout that has to be turned first, a shape nobody wrote a kernel for, or an index
    or control operation that touches single elements.
    **Looks like it, is not.** Many operators that are each too small for their dispatch are C105; that cost is taken
    off here. Threads that wait for a CPU stretch every operator (C106, C109), so nothing is said while they do. In a
    graph that was never optimised the excess may go with optimisation (C112), which then comes first. Rows fetched at
    random are M107.
    **Confirm.** Run that operator alone in another layout, data type or runtime on the same data: its time must come
    down towards the floor.
    **Remedies.** Replace the operator by an equivalent one, change layout or data type, update the runtime, use another
    execution provider for it, or move it out of the graph.
    """
    yield Evidence(signals["model.share"], "above", limits.trivial_share)
    yield Evidence(signals["model.excess_share"], "above", limits.leading_share)
    yield Evidence(signals["model.excess_ratio"], "above", limits.slow_operator_ratio)
    yield Evidence(signals["model.removable_share"], "below", limits.leading_share)
    yield Evidence(signals["threads.starved_cores"], "below", limits.contended_cores)
