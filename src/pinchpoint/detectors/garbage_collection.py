"""W109: garbage collections make some requests slow."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W109",
    title="garbage collection",
    question="Are slow requests those in which the garbage collector ran?",
    bound="wait",
    cells=(),
    needs=("tail.ratio", "tail.collection_share"),
    remedies=("freeze-collector",),
)
def garbage_collection(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Slow requests are slow because the interpreter collects garbage in them.

    **Mechanism.** Python looks for cycles of dead objects when enough new ones were made. A full collection visits every
    object that is alive: with a large model, cache or index of Python objects it takes tens of milliseconds, and stops
    every thread. It strikes a request in hundreds, so typical latency shows nothing of it. The interpreter tells when it
    begins and ends; what of the slow requests' additional time lies within is counted.
    **Looks like it, is not.** Requests whose input is larger take longer in their own stages. A neighbour or a quota
    makes them wait for a CPU (C109, C108). A periodic job of the program's own is a thread that takes the interpreter or
    a lock (W104).
    **Confirm.** Call gc.freeze() once everything is loaded, or turn the collector off for a run: the slow requests must
    go, and typical latency stay.
    **Remedies.** gc.freeze() after loading, higher thresholds (gc.set_threshold), collections between requests, fewer
    objects that stay (arrays instead of lists of objects).
    """
    yield Evidence(signals["tail.ratio"], "above", limits.tail_ratio)
    yield Evidence(signals["tail.collection_share"], "above", limits.tail_share)
