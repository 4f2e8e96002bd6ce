"""I102: the start waits for files that come from disk."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="I102",
    title="slow model load, cold start",
    question="Does a start wait for files that have to come from disk?",
    bound="io",
    cells=(),
    needs=("startup.seconds", "startup.reading_s", "startup.reading_share"),
    remedies=("keep-warm", "faster-disk", "fewer-bytes"),
)
def slow_load(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """A start with the target's own files on disk takes longer than one with the same files in memory.

    **Mechanism.** Before the first answer the weights must be in memory. In a new container, after a reboot, or when
    other files have taken their place in the page cache, they come from a disk or a network file system, at its speed.
    The target is started again in fresh processes, in turn with its own files in the page cache and without (by advice
    to the kernel for these files alone), and the difference is the reading. What has been read before may
    still be in a cache of the disk's or the hypervisor's own, so a start on a machine that never read the files is
    slower still.
    **Looks like it, is not.** Graph optimisation at load computes, and is as slow when nothing is read (C112). Importing
    libraries and code of the module's own at import belong to phases of their own. Reads within later requests are
    I101.
    **Confirm.** Read the files once before the start: it must become as fast as a warm one, and the bytes from storage
    must go to zero. A smaller model must shorten it in proportion to its bytes.
    **Remedies.** Keep a process ready before it is needed, keep or put the files into the page cache, use a local or
    faster disk, store smaller (int8, fp16) or optimised models.
    """
    yield Evidence(signals["startup.seconds"], "above", limits.noticeable_start)
    yield Evidence(signals["startup.reading_s"], "above", limits.noticeable_start)
    yield Evidence(signals["startup.reading_share"], "above", limits.trivial_share)
