"""I106: requests wait until storage has taken what they wrote."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="I106",
    title="synchronous logging or fsync",
    question="Do requests wait for writes to storage?",
    bound="io",
    cells=(("*", "disk", "sync"),),
    needs=("request.sync_share",),
    remedies=("move-writes-off-path",),
    lookalikes=("I101",),
)
def synchronous_writes(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The request's thread is blocked in writes or syncs to storage while it serves a request.

    **Mechanism.** A plain write only copies into the page cache. A sync, or a file opened for synchronous writing,
    waits until the device has the data: from tens of microseconds to tens of milliseconds, every time. Plain writes
    wait too once too much is dirty. Log lines, audit records and small databases do this inside requests. The time is
    from samples of what the thread was blocked in.
    **Looks like it, is not.** Waiting for reads is I101: the system call tells them apart. Formatting log lines costs
    CPU, not waiting. Writing to a socket is I105.
    **Confirm.** Turn the write or its sync off, or send it to a file system in memory: the waiting must vanish.
    **Remedies.** Write from another thread, collect records and sync once for many, log less, drop a sync that nobody
    relies on. First decide what may be lost in a crash.
    """
    yield Evidence(signals["request.sync_share"], "above", limits.trivial_share)
