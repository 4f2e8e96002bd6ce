"""Kernel files that stay open: a read costs 1 to 10 us then, instead of 10 to 20, and goes to the same process."""

from __future__ import annotations

import os
from pathlib import Path

READ_BYTES = 1 << 16


class HeldFiles:
    """Files under /proc and /sys, opened once and read from their start each time; `close` closes them all."""

    __slots__ = ("_descriptors",)

    def __init__(self) -> None:
        self._descriptors: set[int] = set()

    def open(self, path: Path) -> int:
        """Open `path`; OSError if that, or a first read, fails (some files refuse only then)."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors.add(descriptor)
        try:
            os.pread(descriptor, 1, 0)
        except IsADirectoryError:
            pass
        except OSError:
            self.drop(descriptor)
            raise
        return descriptor

    def open_if_there(self, path: Path) -> int | None:
        """Open `path`, or None if it cannot be read."""
        try:
            return self.open(path)
        except OSError:
            return None

    def drop(self, descriptor: int) -> None:
        """Close one file."""
        if descriptor in self._descriptors:
            self._descriptors.discard(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Close all files."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def text(descriptor: int, until: bytes = b"") -> bytes:
    """A held file from its start, at least until the bytes `until` were seen, if they are there at all.

    The kernel hands out long files page by page and may compute all anew for each: one read is enough for short ones.
    ProcessLookupError if the file belonged to a process that is gone.
    """
    found = more = os.pread(descriptor, READ_BYTES, 0)
    while more and until not in found:
        more = os.pread(descriptor, READ_BYTES, len(found))
        found += more
    return found


def numbers(lines: bytes) -> dict[bytes, int]:
    """Lines such as `name 12` or `name: 12` as a dict; other lines are left out."""
    pairs = (line.split() for line in lines.splitlines())
    return {pair[0].rstrip(b":"): int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdigit()}
