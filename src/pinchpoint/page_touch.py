"""What a page fault costs here, from first touches of fresh memory of our own: for targets that run no code of ours."""

from __future__ import annotations

import contextlib
import mmap
import time
from pathlib import Path

from pinchpoint.ceilings import page_faults
from pinchpoint.domain.run import Ceiling

PAGES, REPEATS = 4096, 7
HUGE_PAGE, HUGE_PAGES = 2 << 20, 4


def cost() -> tuple[Ceiling, ...]:
    """The ceilings `fault_s` and, where the kernel gives huge pages to those that ask, `huge_fault_s`: CPU seconds of a minor
    fault. Takes some 50 ms.
    """
    return page_faults([_touched() for _ in range(REPEATS)], [each for _ in range(REPEATS) for each in _huge_touched()])


def _touched() -> float:
    """Seconds a page."""
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        ones, begin = bytes([1]) * PAGES, time.thread_time()
        memory[:: mmap.PAGESIZE] = ones
        return (time.thread_time() - begin) / PAGES


def _huge_touched() -> list[float]:
    """Seconds of the first touch of each of some huge pages; none where there are none."""
    costs: list[float] = []
    with contextlib.suppress(OSError, AttributeError):
        if "[never]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():
            return costs
        size = (HUGE_PAGES + 2) * HUGE_PAGE
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)
            for offset in range(HUGE_PAGE, (HUGE_PAGES + 1) * HUGE_PAGE, HUGE_PAGE):
                begin = time.thread_time()
                memory[offset] = 1
                costs.append(time.thread_time() - begin)
    return costs
