"""M107: look-ups at random places in memory take the time."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="M107",
    title="random access latency",
    question="Is the model held up by fetching single rows from a large table?",
    bound="memory",
    cells=(("model", "memory"), ("model", "cpu")),
    needs=("model.share", "model.lookup_share"),
    remedies=("cache-rows",),
    lookalikes=("C114",),
)
def random_access(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Gathers from tables take far longer than their bytes would need at full bandwidth.

    **Mechanism.** An embedding or a table look-up fetches a few bytes from a place that depends on the input. Beyond
    the caches each fetch waits for memory, and for the translation of its address, about a hundred nanoseconds; little
    of the bandwidth is used, and none of the arithmetic. What counts is the number of rows, not their bytes.
    **Looks like it, is not.** Weights that are read from front to back run at full bandwidth (M101). A table that fits
    into the cache costs only instructions. A gather that is slow on a small table too is a slow kernel (C114).
    **Confirm.** Sort the indices, or send the same ones again so that their rows are in the cache: with the same bytes
    and the same operators the time must fall.
    **Remedies.** Keep hot rows together or in a cache of their own, sort or deduplicate the indices of a batch, use a
    smaller or quantised table, back it by huge pages.
    """
    yield Evidence(signals["model.share"], "above", limits.trivial_share)
    yield Evidence(signals["model.lookup_share"], "above", limits.leading_share)
