"""M101: reading the weights takes the time."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="M101",
    title="weights streamed from memory",
    question="Is the model held up by reading its weights?",
    bound="memory",
    kind="limit",
    cells=(("model", "memory"),),
    needs=("model.memory_share", "model.weights_share"),
    remedies=("int8-weights", "batch-requests", "smaller-model"),
    lookalikes=("C107", "M107"),
)
def weights_streamed(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The model runs at the memory floor of its weights: they are read as fast as this machine can.

    **Mechanism.** A model with few items at a time uses each weight for only a few calculations, so the CPU waits while
    weights stream in from memory. The time is their bytes over the bandwidth measured here, at this size and with these
    threads. The hardware does honest work: this is a limit, not a mistake.
    **Looks like it, is not.** Large batches or long inputs use each weight often, and then arithmetic takes longer than
    reading (C101). Intermediate results are M102, single rows of a large table M107. A CPU at 100 % says nothing either
    way: waiting for memory counts as busy.
    **Confirm.** Change the bytes alone: with the same arithmetic on weights that fit into the cache, the time must fall
    by the memory part. Double the batch: the time must hardly grow.
    **Remedies.** Weights in 8 or 16 bits (check the answers), several requests answered at once so that a weight is
    read once for all, a smaller or sparser model. More threads help only until the memory system is full.
    """
    yield Evidence(signals["model.memory_share"], "above", limits.trivial_share)
    yield Evidence(signals["model.weights_share"], "above", limits.leading_share)
