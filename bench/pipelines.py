"""Targets whose cells are known by construction, and which time their own parts: the truth that the ledger is held to.

A part is known to compute (a fixed number of loop steps) or to block (a sleep, a lock that another thread holds, a read
of a throttled device). Its wall time comes from CLOCK_MONOTONIC_RAW, which the tool never reads; of a computing part the
CPU time is that wall time less the run-queue delay, and not what a CPU clock says. Rows go to a file that the bench maps.

Runs inside the tool's child, so it imports the standard library and the marker alone.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pinchpoint

LOG_VARIABLE, DEVICE_VARIABLE, GROUP_VARIABLE = "BENCH_LOG", "BENCH_DEVICE", "BENCH_GROUP"
STAGES = ("framework", "deserialize", "preprocess", "model", "postprocess")
STATES = ("cpu", "starved", "wait", "disk")
CELLS = tuple((stage, state) for stage in STAGES for state in STATES)
ROW = struct.Struct(f"={1 + len(CELLS)}q")  # nanoseconds: the request's wall time, then its cells
COUNT = struct.Struct("=q")  # at the file's begin: rows written so far
LOG_BYTES = 32 << 20  # some 190,000 requests: more than any pipeline here answers in a budget
MS_STEPS = 80_000  # empty loop steps that take about a millisecond on a server core of today
BLOCK_BYTES = 4096
HELD_S = 0.005
MARKERS = 20  # stages in a request of `markers`


class Watch:
    """Times the parts of the request under way; `begin`, a call after each part, `end`."""

    def __init__(self) -> None:
        path = os.environ.get(LOG_VARIABLE)
        self._file = os.open(path, os.O_RDWR) if path else -1
        self._rows = mmap.mmap(self._file, LOG_BYTES)
        self._count = 0
        self._delays: dict[int, int] = {}
        self._cells = dict.fromkeys(CELLS, 0)
        self._began = self._wall = self._cpu = self._delay = 0

    def begin(self) -> None:
        """A request begins."""
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
        if at + ROW.size <= LOG_BYTES:
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


# What the pipelines share is made when it is first used: importing this module starts nothing.
@cache
def the_watch() -> Watch:
    return Watch()


@cache
def the_holder() -> Holder:
    return Holder(HELD_S)


@cache
def the_device() -> Device:
    return Device()


@cache
def the_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


def raw_ns() -> int:
    """Nanoseconds of the clock that nobody adjusts, and that the tool does not read."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def spin(milliseconds: float) -> None:
    """A fixed number of instructions, about so many milliseconds long."""
    for _ in range(int(milliseconds * MS_STEPS)):
        pass


# --- pipelines: functions of one request ---------------------------------------------------------------------------
def loop() -> None:
    watch = the_watch()
    watch.begin()
    spin(5)
    watch.computed("framework")
    watch.end()


def sleeps() -> None:
    watch = the_watch()
    watch.begin()
    spin(2)
    watch.computed("framework")
    time.sleep(0.004)
    watch.blocked("framework", "wait")
    watch.end()


def short() -> None:
    """A millisecond in three stages."""
    watch = the_watch()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        spin(0.3)
        watch.computed("preprocess")
    with pinchpoint.stage("model"):
        time.sleep(0.0004)
        watch.blocked("model", "wait")
    with pinchpoint.stage("postprocess"):
        spin(0.2)
        watch.computed("postprocess")
    watch.end()


def lock() -> None:
    watch, holder = the_watch(), the_holder()
    watch.begin()
    spin(2)
    watch.computed("framework")
    holder.wait()
    watch.held_until("framework", holder.released_ns)
    watch.end()


def disk() -> None:
    watch, device = the_watch(), the_device()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        device.read()
        watch.blocked("preprocess", "disk")
    with pinchpoint.stage("model"):
        spin(20)
        watch.computed("model")
    watch.end()


def mixed() -> None:
    """Each stage in a state of its own: computing, a timer, a lock, computing."""
    watch, holder = the_watch(), the_holder()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        spin(3)
        watch.computed("preprocess")
    with pinchpoint.stage("model"):
        time.sleep(0.003)
        watch.blocked("model", "wait")
    with pinchpoint.stage("postprocess"):
        holder.wait()
        watch.held_until("postprocess", holder.released_ns)
        spin(1)
        watch.computed("postprocess")
    watch.end()


def nested() -> None:
    """Stages inside stages, and work outside of all."""
    watch = the_watch()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        spin(1)
        watch.computed("preprocess")
        with pinchpoint.stage("deserialize"):
            spin(1)
            watch.computed("deserialize")
            time.sleep(0.001)
            watch.blocked("deserialize", "wait")
        spin(1)
        watch.computed("preprocess")
    with pinchpoint.stage("model"):
        spin(2)
        watch.computed("model")
    spin(1)
    watch.computed("framework")
    watch.end()


async def coroutine() -> None:
    """A timer of the event loop."""
    watch = the_watch()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        spin(2)
        watch.computed("preprocess")
    with pinchpoint.stage("model"):
        await asyncio.sleep(0.004)
        watch.blocked("model", "wait")
    watch.end()


def pool() -> None:
    """Work handed to another thread, which the request waits for."""
    watch, executor = the_watch(), the_pool()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        spin(2)
        watch.computed("preprocess")
    with pinchpoint.stage("model"):
        worked, delayed = executor.submit(_work, watch).result()
        watch.handed("model", worked, delayed)
    watch.end()


def _work(watch: Watch) -> tuple[int, int]:
    """Nanoseconds of wall time and of run-queue delay of a fixed loop, in whichever thread this is."""
    delay, began = watch.run_delay(), raw_ns()
    spin(5)
    return raw_ns() - began, watch.run_delay() - delay


def markers() -> None:
    """A usual request, of 2 ms, with stages that hold nothing; the row's wall time is that of the stages alone."""
    watch = the_watch()
    spin(2)
    began = raw_ns()
    for _ in range(MARKERS):
        with pinchpoint.stage("preprocess"):
            pass
    marked = raw_ns()
    for _ in range(MARKERS):
        pass
    counted = raw_ns()
    watch.begin()
    watch.took((marked - began) - (counted - marked))
    watch.end()
