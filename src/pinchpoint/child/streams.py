"""Rows of 64-bit integers in shared memory: the child appends, the parent reads, and a dead child loses nothing."""

from __future__ import annotations

import mmap
import os
import struct
from typing import List

MAGIC = 0x70696E6368
HEADER = struct.Struct("=qqq")  # magic, columns, rows written so far
SEGMENT_BYTES = 1 << 20


class Stream:
    """Appends rows of `columns` integers to segment files `name.0000`, `name.0001`, ... in `folder`.

    Space is reserved before it is used, so a full file system raises OSError here and is never a bus error.
    """

    def __init__(self, folder: str, name: str, columns: int) -> None:
        self._path = os.path.join(folder, name)
        self._row = struct.Struct("=%dq" % columns)
        self._columns = columns
        self._capacity = (SEGMENT_BYTES - HEADER.size) // self._row.size
        self._segments = 0
        self._maps: List[mmap.mmap] = []
        self._open_segment()

    def _open_segment(self) -> None:
        path = "%s.%06d" % (self._path, self._segments)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(fd, 0, SEGMENT_BYTES)
            if self._maps:
                self._maps.pop().close()
            self._map = mmap.mmap(fd, SEGMENT_BYTES)
        finally:
            os.close(fd)
        self._maps.append(self._map)
        self._segments += 1
        self._rows = 0
        HEADER.pack_into(self._map, 0, MAGIC, self._columns, 0)

    def append(self, *values: int) -> None:
        """Write one row; it counts once it is complete."""
        if self._rows == self._capacity:
            self._open_segment()
        self._row.pack_into(self._map, HEADER.size + self._rows * self._row.size, *values)
        self._rows += 1
        HEADER.pack_into(self._map, 0, MAGIC, self._columns, self._rows)

    def close(self) -> None:
        """Unmap; the files stay for the parent."""
        while self._maps:
            self._maps.pop().close()


class Abandoned(Stream):
    """The stream of a copy of the process that the target has forked: the copy ends where it would record."""

    def __init__(self) -> None:
        self._maps = []

    def append(self, *_: int) -> None:
        """Never returns."""
        os._exit(0)
