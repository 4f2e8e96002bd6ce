"""C112: the runtime was not allowed to optimise the graph."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C112",
    title="graph not optimised",
    question="Would the runtime's graph optimisation remove work that is done now?",
    bound="cpu",
    cells=(("model", "cpu"), ("model", "memory")),
    needs=("model.share", "model.optimization_off", "model.removable_share"),
    remedies=("optimise-graph",),
    lookalikes=("C114",),
)
def graph_not_optimised(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Graph optimisation is off, and operators that it would fold or fuse take a good part of the request.

    **Mechanism.** A runtime can compute constant parts once, drop operators that do nothing, merge a chain into one
    kernel and choose a better memory layout. Switched off (for debugging, for a faster start, by a copied setting), all
    of that is done again for every request. What would go is found by optimising a copy of the graph and comparing.
    **Looks like it, is not.** Optimisation that is off and does not matter: one large matrix product has nothing to
    fuse. With optimisation on, the operators that are left are real work (C101), tiny (C105) or slow (C114).
    **Confirm.** Turn optimisation on and change nothing else: the latency must fall by about the removable time, and
    the answers stay the same within rounding.
    **Remedies.** Set the full optimisation level, or optimise once and store the result, which also keeps the start
    fast.
    """
    yield Evidence(signals["model.share"], "above", limits.trivial_share)
    yield Evidence(signals["model.optimization_off"], "above", limits.switched_on)
    yield Evidence(signals["model.removable_share"], "above", limits.trivial_share)
