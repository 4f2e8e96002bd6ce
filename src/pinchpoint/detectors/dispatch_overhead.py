"""C105: starting operators takes the time, not what they do."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C105",
    title="runtime and dispatch overhead",
    question="Does the runtime spend its time on starting operators?",
    bound="cpu",
    cells=(("model", "cpu"),),
    needs=("model.share", "model.dispatch_share"),
    remedies=("fuse-operators", "optimise-graph", "batch-requests"),
    lookalikes=("C106", "C112"),
)
def dispatch_overhead(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The calibrated cost of dispatching the model's operators is a good part of the request.

    **Mechanism.** For each operator the runtime looks up its kernel, checks shapes, finds memory for its output and
    calls it. That costs about the same for a tiny operator as for a large one. The cost of one is measured on this
    machine with a graph of operators that do nothing, and multiplied by how many the model runs.
    **Looks like it, is not.** A model that waits for its weights is slow with few operators (M101). A few operators far
    above their floor are C114. Hundreds of operators that the runtime could have fused are C112. The runtime's own
    profiler makes every light operator look slow: its events cost more than the operator.
    **Confirm.** Answer 1, 2, 4 and 8 items at once: the time must hardly grow, so the cost of an item falls. A copy of
    the graph with tiny dimensions must take nearly as long as the original.
    **Remedies.** Fuse operators or export them as one, turn graph optimisation on, compile the model, answer several
    requests at once. A faster CPU helps; more threads do not.
    """
    yield Evidence(signals["model.share"], "above", limits.trivial_share)
    yield Evidence(signals["model.dispatch_share"], "above", limits.leading_share)
