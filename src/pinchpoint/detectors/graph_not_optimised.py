"""C112: the runtime was not allowed to optimise the graph."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import either
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C112",
    title="graph not optimised",
    question="Would the runtime's graph optimisation remove work that is done now?",
    bound="cpu",
    cells=(("model", "cpu"), ("model", "memory")),
    needs=(
        "model.share",
        "model.optimization_off",
        "model.removable_share",
        "startup.optimising_s",
        "startup.optimising_share",
    ),
    remedies=("optimise-graph", "store-optimised"),
    lookalikes=("C114",),
)
def graph_not_optimised(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Graph optimisation is off and would save much of each request, or it is done anew at every start and takes long.

    **Mechanism.** A runtime can compute constant parts once, drop operators that do nothing, merge a chain into one
    kernel and choose a better memory layout. Switched off (for debugging, for a faster start, by a copied setting), all
    of that is done again for every request. What would go is found by optimising a copy of the graph and comparing.
    Switched on, the same work is done at every start instead: what it takes is found by opening the model again, with
    optimisation and without.
    **Looks like it, is not.** Optimisation that is off and does not matter: one large matrix product has nothing to
    fuse. With optimisation on, the operators that are left are real work (C101), tiny (C105) or slow (C114). A start
    that waits for the disk uses no CPU meanwhile, and is fast once the files are in memory (I102).
    **Confirm.** Turn optimisation on and change nothing else: the latency must fall by about the removable time, and
    the answers stay the same within rounding. For the start: store the optimised model, and open that.
    **Remedies.** Set the full optimisation level, or optimise once and store the result, which also keeps the start
    fast.
    """
    model = Evidence(signals["model.share"], "above", limits.trivial_share)
    off = Evidence(signals["model.optimization_off"], "above", limits.switched_on)
    removable = Evidence(signals["model.removable_share"], "above", limits.trivial_share)
    long = Evidence(signals["startup.optimising_s"], "above", limits.noticeable_start)
    much = Evidence(signals["startup.optimising_share"], "above", limits.leading_share)
    running = (model, off, removable)
    yield from running if long.signal.quantity is None else either(running, (long, much))
