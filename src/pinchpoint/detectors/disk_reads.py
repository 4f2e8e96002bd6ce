"""I101: requests wait for data from storage."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import any_of
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="I101",
    title="disk read on the request path",
    question="Do requests wait for data that is read from storage?",
    bound="io",
    cells=(("*", "disk", "disk"), ("*", "disk", "fault")),
    needs=("request.read_share", "memory.major_faults", "memory.pressure_share"),
    remedies=("cache-reads",),
    lookalikes=("I106", "M103"),
)
def disk_reads(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The request's thread is blocked in reads, or in page faults on mapped files, while it serves a request.

    **Mechanism.** Data that is not in the page cache comes from the disk or a network file system, and the thread
    stands still until it is there: microseconds to milliseconds for each read. It uses no CPU meanwhile, so CPU
    profiles do not show it at all. The time is from samples of what the thread was blocked in.
    **Looks like it, is not.** Reads that the page cache answers cost CPU only and are part of their stage (C102). Pages
    that come back because memory is full wait for the same disk, under memory pressure (M103). Writes and syncs are
    I106, a database on the network I105.
    **Confirm.** Warm the cache, or serve the data from memory: the waiting must vanish and the CPU time stay. Then drop
    the cache: it must come back.
    **Remedies.** Keep the data in memory, prefetch it before the request needs it, map files instead of reading them
    again, use a local disk, make the files fewer and larger.
    """
    yield Evidence(signals["request.read_share"], "above", limits.trivial_share)
    yield from any_of(
        Evidence(signals["memory.major_faults"], "below", limits.major_faults),
        Evidence(signals["memory.pressure_share"], "below", limits.memory_pressure_share),
    )
