"""What a page fault costs here, from first touches of fresh memory of our own: for targets that run no code of ours."""

from __future__ import annotations

import contextlib
import mmap
import time

from pinchpoint.ceilings import page_faults
from pinchpoint.domain.run import Ceiling

PAGES, REPEATS = 4096, 7


def cost() -> tuple[Ceiling, ...]:
    """The ceiling `fault_s`: CPU seconds of a minor fault on a page of the usual size. Takes some 50 ms."""
    return page_faults([_touched() for _ in range(REPEATS)], ())


def _touched() -> float:
    """Seconds a page."""
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        ones, begin = bytes([1]) * PAGES, time.thread_time()
        memory[:: mmap.PAGESIZE] = ones
        return (time.thread_time() - begin) / PAGES
