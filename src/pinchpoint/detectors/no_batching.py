"""C113: every request pays alone for what a batch would share."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C113",
    title="no batching under load",
    question="Do many requests each pay alone for what a batch would pay once?",
    bound="cpu",
    cells=(),
    needs=("capacity.batchable_share", "capacity.idle_share"),
    remedies=("batch-under-load",),
)
def no_batching(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The CPUs are full at the highest throughput, and much of each request goes into costs that a batch shares.

    **Mechanism.** A run of a model costs a + c b for b items: `a` is reading the weights and starting the operators, once a
    run, `c` the arithmetic of an item. With one item a run, every request pays all of `a`, also when others wait to be
    served and could share it.
    **Looks like it, is not.** With idle CPUs something else holds throughput back: too few workers (W102), a lock, the
    interpreter. One request alone gains nothing from a batch: its latency is M101 or C105.
    **Confirm.** Serve batches of 2, 4 and 8 under load: the cost of an item must fall towards `c`.
    **Remedies.** Dynamic batching in the server, or requests of several items.
    """
    yield Evidence(signals["capacity.batchable_share"], "above", limits.leading_share)
    yield Evidence(signals["capacity.idle_share"], "below", limits.idle_share)
