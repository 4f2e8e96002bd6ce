"""The page cache of single files: let go by advice, filled by reading, and looked at. The system's cache is never dropped."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

PAGE = mmap.PAGESIZE
BLOCK_BYTES = 1 << 20
NONE: tuple[Path, ...] = ()
_libc = ctypes.CDLL(None, use_errno=True)


def regular_files(paths: Iterable[str]) -> tuple[Path, ...]:
    """Those of `paths` that are regular files with something in them and can be read, each once."""
    found: dict[tuple[int, int], Path] = {}
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            seen = os.stat(path)
            if stat.S_ISREG(seen.st_mode) and seen.st_size and os.access(path, os.R_OK):
                found.setdefault((seen.st_dev, seen.st_ino), Path(path))
    return tuple(found.values())


def size_of(files: Iterable[Path]) -> int:
    """Bytes of all files; one that has gone counts nothing."""
    total = 0
    for path in files:
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def let_go(files: Iterable[Path]) -> None:
    """Advise the kernel that the files are not needed soon: pages that are clean and not mapped leave the cache."""
    for descriptor in _opened(files):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def fill(files: Iterable[Path]) -> None:
    """Read the files, so that they are in the cache."""
    for descriptor in _opened(files):
        offset = 0
        while block := os.pread(descriptor, BLOCK_BYTES, offset):
            offset += len(block)


def resident_share(files: Iterable[Path]) -> float | None:
    """The share of the files' pages that are in the cache; None where the kernel does not tell.

    It tells it of files that we may write only; of others it says that all pages are there.
    """
    inside = total = 0
    for descriptor in _opened(files):
        pages = _resident_pages(descriptor)
        if pages is None:
            return None
        inside += pages[0]
        total += pages[1]
    return inside / total if total else None


def _resident_pages(descriptor: int) -> tuple[int, int] | None:
    """Pages of a file in the cache, and all its pages."""
    size = os.fstat(descriptor).st_size
    if not size:
        return 0, 0
    count = -(-size // PAGE)
    seen = (ctypes.c_ubyte * count)()
    try:
        with mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as area:
            held = ctypes.c_char.from_buffer(area)  # private, so that ctypes may have its address: nothing is written
            try:
                failed = _libc.mincore(ctypes.c_void_p(ctypes.addressof(held)), ctypes.c_size_t(size), seen)
            finally:
                del held
    except (OSError, ValueError, AttributeError):
        return None
    return None if failed else (int(np.count_nonzero(np.frombuffer(bytes(seen), dtype=np.uint8) & 1)), count)


def _opened(files: Iterable[Path]) -> Iterator[int]:
    """A descriptor of each file in turn; one that cannot be opened or read any more is passed over."""
    for path in files:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
