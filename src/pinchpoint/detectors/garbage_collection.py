"""W109: garbage collections, or another job that comes back, make some requests slow."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import either
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W109",
    title="garbage collection",
    question="Are slow requests those in which the garbage collector ran, or do they come back like a job?",
    bound="wait",
    cells=(),
    needs=("tail.ratio", "tail.collection_share", "tail.recurring_share"),
    remedies=("freeze-collector",),
)
def garbage_collection(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Slow requests are slow because the interpreter collects garbage in them, or because another job comes back.

    **Mechanism.** Python looks for cycles of dead objects when enough new ones were made. A full collection visits every
    object that is alive: with a large model, cache or index of Python objects it takes tens of milliseconds, and stops
    every thread. It strikes a request in hundreds, so typical latency shows nothing of it. The interpreter tells when it
    begins and ends; what of the slow requests' additional time lies within is counted. A server's interpreter tells
    nothing; but a collector that runs after so many new objects comes back every so many requests, and so does a cache
    that is cleaned or a file that is rolled over, every so many requests or seconds: slow requests then lie at one
    distance from each other.
    **Looks like it, is not.** Requests whose input is larger take longer in their own stages; where inputs come in
    turns, the same one coming back is no job. A neighbour or a quota makes requests wait for a CPU (C109, C108). What
    slow requests wait for (a lock, a disk, another service) is told first, also where it comes back.
    **Confirm.** Call gc.freeze() once everything is loaded, or turn the collector off for a run: the slow requests must
    go, and typical latency stay.
    **Remedies.** gc.freeze() after loading, higher thresholds (gc.set_threshold), collections between requests, fewer
    objects that stay (arrays instead of lists of objects).
    """
    ratio = Evidence(signals["tail.ratio"], "above", limits.tail_ratio)
    collecting = Evidence(signals["tail.collection_share"], "above", limits.tail_share)
    yield from either(
        (ratio, collecting), (Evidence(signals["tail.recurring_share"], "above", limits.recurring_share),)
    )
