"""What the workers and the process above them share: a ring of records, one a request, and a few counters.

A worker writes a row when a request ends and then the count of rows; the reader takes what is new a few times a second. Nobody
waits for anybody: a reader that falls a whole ring behind finds how many rows it lost, and says so. Standard library only.
"""

from __future__ import annotations

import mmap
import os
import struct

from pinchpoint.domain.outcomes import OUTCOMES as OUTCOMES

# How a request ended (`outcome`): answered, or one of the kinds of failure; `cut_off` was given up by ourselves, `unsent` never
# left since too many waited for a connection.
(
    OK, STATUS, UNEXPECTED, TIMEOUT, REFUSED, RESET, CLOSED, SHORT, MALFORMED, TOO_LARGE, TLS, NO_DESCRIPTOR,
    UNREACHABLE, CUT_OFF, UNSENT,
) = range(len(OUTCOMES))  # fmt: skip

# A row: when it was due, sent, first answered and done (CLOCK_MONOTONIC, ns; 0 where that never was), how it ended, its
# status and payload, events of a stream, bytes of the answer with its head, the longest gap between two events, how long
# the server itself says it took, and how many tokens it says that it generated.
ROW = struct.Struct("=4q4i4q")
COLUMNS = (
    ("due_ns", "<i8"), ("sent_ns", "<i8"), ("first_ns", "<i8"), ("done_ns", "<i8"), ("outcome", "<i4"), ("status", "<i4"),
    ("payload", "<i4"), ("events", "<i4"), ("bytes", "<i8"), ("gap_ns", "<i8"),
    ("server_ns", "<i8"), ("tokens", "<i8"),
)  # fmt: skip

# What the head of an answer told of one stage (Server-Timing): when its request was done, how long after the server got it the
# stage began (-1 where that is not told), its length, and its name. They have a ring of their own behind that of the rows.
TIMING = struct.Struct("=3q40s")
TIMING_COLUMNS = (("done_ns", "<i8"), ("at_ns", "<i8"), ("length_ns", "<i8"), ("name", "S40"))
NAME_BYTES = 40
ROWS = 1 << 18  # of a ring: two seconds of the fastest worker
READABLE = ROWS - 256  # the others may be written while they are read: a worker tells of every 64th row

TIMINGS = 1 << 15
TIMINGS_READABLE = TIMINGS - 64  # the others may be written meanwhile: an answer tells at most half as many

# Counters in the head, as numbers of 8 bytes.
WRITTEN, SENT, WAITING, CONNECTS, UNASKED, CPU_NS, DELAY_NS, TIMINGS_WRITTEN = range(8)
HEAD_BYTES = 4096
TIMINGS_AT = HEAD_BYTES + ROWS * ROW.size
RING_BYTES = TIMINGS_AT + TIMINGS * TIMING.size


class Ring:
    """The shared memory of one worker, mapped from a descriptor of `RING_BYTES`."""

    def __init__(self, descriptor: int) -> None:
        self.memory = mmap.mmap(descriptor, RING_BYTES)
        self.head = memoryview(self.memory)[:HEAD_BYTES].cast("q")

    def close(self) -> None:
        """Let go of the memory."""
        self.head.release()
        self.memory.close()


def new_ring(name: str) -> int:
    """A descriptor of memory for a ring; pages that nobody writes take no memory."""
    descriptor = os.memfd_create(name, 0)
    os.ftruncate(descriptor, RING_BYTES)
    return descriptor
