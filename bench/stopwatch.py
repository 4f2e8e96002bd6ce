"""What a target needs to know the truth about itself: a stopwatch, a lock that is held, and a device that is slow.

The stopwatch's wall time comes from CLOCK_MONOTONIC_RAW, which the tool never reads. It writes a row a request to a file
that the bench maps. Runs inside the tool's child, so it imports the standard library alone.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time

LOG_VARIABLE, DEVICE_VARIABLE, GROUP_VARIABLE = "BENCH_LOG", "BENCH_DEVICE", "BENCH_GROUP"
STAGES = ("framework", "deserialize", "preprocess", "model", "postprocess")
STATES = ("cpu", "starved", "wait", "disk")
CELLS = tuple((stage, state) for stage in STAGES for state in STATES)
ROW = struct.Struct(f"={1 + len(CELLS)}q")  # nanoseconds: the request's wall time, then its cells
COUNT = struct.Struct("=q")  # at the file's begin: rows written so far
LOG_BYTES = 32 << 20  # some 190,000 requests: more than any pipeline here answers in a budget
BLOCK_BYTES = 4096


class Watch:
    """Times the parts of the request under way; `begin`, a call after each part, `end`.

    It keeps the rows of the first process that writes to its file, and of requests that were alone from begin to end: those that
    the tool asks several at a time, or of the target started again, are no part of what it is compared with.
    """

    def __init__(self) -> None:
        path = os.environ.get(LOG_VARIABLE)
        self._file = os.open(path, os.O_RDWR) if path else -1
        self._rows = mmap.mmap(self._file, LOG_BYTES)
        self._count = 0
        self._first = COUNT.unpack_from(self._rows, 0) == (0,)
        self._open, self._alone = 0, True
        self._delays: dict[int, int] = {}
        self._cells = dict.fromkeys(CELLS, 0)
        self._began = self._wall = self._cpu = self._delay = 0

    def begin(self) -> None:
        """A request begins."""
        self._open += 1
        self._alone = self._alone and self._open == 1
        self._cells = dict.fromkeys(CELLS, 0)
        self._mark()
        self._began = self._wall

    def computed(self, stage: str) -> None:
        """The part since the last call only computed."""
        wall, _, delay = self._passed()
        self._cells[stage, "cpu"] += wall - delay
        self._cells[stage, "starved"] += delay

    def blocked(self, stage: str, state: str) -> None:
        """The part since the last call blocked; what little CPU it took is the clock's."""
        wall, cpu, delay = self._passed()
        self._cells[stage, state] += wall - cpu - delay
        self._cells[stage, "cpu"] += cpu
        self._cells[stage, "starved"] += delay

    def held_until(self, stage: str, released_ns: int) -> None:
        """The part since the last call waited for a lock until its holder's own stamp of the release."""
        before = self._wall
        _, cpu, delay = self._passed()
        self._cells[stage, "wait"] += max(released_ns - before - cpu, 0)
        self._cells[stage, "cpu"] += cpu
        self._cells[stage, "starved"] += delay

    def handed(self, stage: str, worked_ns: int, worker_delay_ns: int) -> None:
        """The part since the last call waited for a pool's thread, which computed for `worked_ns` by its own stamps.

        What this thread itself lacked a CPU while the other worked held nothing up.
        """
        wall, cpu, delay = self._passed()
        rest = max(wall - worked_ns - cpu, 0)
        starved = min(delay, rest)
        self._cells[stage, "cpu"] += worked_ns - worker_delay_ns + cpu
        self._cells[stage, "starved"] += worker_delay_ns + starved
        self._cells[stage, "wait"] += rest - starved

    def took(self, nanoseconds: int) -> None:
        """The request's wall time, where it is not what lay between `begin` and now."""
        self._wall = self._began + nanoseconds

    def end(self) -> None:
        """The request ends: its row counts once it is complete."""
        at = COUNT.size + self._count * ROW.size
        alone, self._open = self._alone, self._open - 1
        self._alone = alone or self._open == 0
        if self._first and alone and at + ROW.size <= LOG_BYTES:
            ROW.pack_into(self._rows, at, self._wall - self._began, *self._cells.values())
            self._count += 1
            COUNT.pack_into(self._rows, 0, self._count)

    def run_delay(self) -> int:
        """Nanoseconds that this thread was runnable and did not run; 0 where the kernel does not tell."""
        thread = threading.get_native_id()
        if thread not in self._delays:
            try:
                self._delays[thread] = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
            except OSError:
                return 0
        return int(os.pread(self._delays[thread], 64, 0).split()[1])

    def _passed(self) -> tuple[int, int, int]:
        wall, cpu, delay = self._wall, self._cpu, self._delay
        self._mark()
        return self._wall - wall, self._cpu - cpu, self._delay - delay

    def _mark(self) -> None:
        self._delay = self.run_delay()
        self._cpu = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
        self._wall = raw_ns()


class Holder:
    """A thread that holds a lock for a while whenever it is asked to, and stamps when it lets go."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock, self._asked, self._taken = threading.Lock(), threading.Lock(), threading.Lock()
        self._asked.acquire()
        self._taken.acquire()
        self.released_ns = 0
        threading.Thread(target=self._hold, daemon=True).start()

    def wait(self) -> None:
        """Let the holder take the lock, then wait for it."""
        self._asked.release()
        self._taken.acquire()
        with self._lock:
            pass

    def _hold(self) -> None:
        while True:
            self._asked.acquire()
            with self._lock:
                self._taken.release()
                time.sleep(self._seconds)
                self.released_ns = raw_ns()


class Device:
    """A throttled block device, read past the page cache; this process joins the group that is throttled."""

    def __init__(self) -> None:
        with open(os.path.join(os.environ[GROUP_VARIABLE], "cgroup.procs"), "w") as group:
            group.write(str(os.getpid()))
        self._descriptor = os.open(os.environ[DEVICE_VARIABLE], os.O_RDONLY | os.O_DIRECT)
        self._blocks = os.lseek(self._descriptor, 0, os.SEEK_END) // BLOCK_BYTES
        self._buffer = mmap.mmap(-1, BLOCK_BYTES)
        self._next = 0

    def read(self) -> None:
        """One block."""
        self._next = (self._next + 1) % self._blocks
        os.preadv(self._descriptor, [self._buffer], self._next * BLOCK_BYTES)


def raw_ns() -> int:
    """Nanoseconds of the clock that nobody adjusts, and that the tool does not read."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
