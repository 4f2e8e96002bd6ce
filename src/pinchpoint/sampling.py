"""Samples what the threads of the target are doing, from outside: running, or blocked and on what.

Reads /proc/PID/task/*/{stat,syscall}; needs the same user and, under Yama, that the target is our descendant (it is).
The moments are jittered so that they cannot fall into step with the requests.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import random
import re
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pinchpoint.domain.run import DISK, FAULT, FUTEX, IPC, NETWORK, OTHER, RUNNING, SYNC, TIMER, Samples
from pinchpoint.domain.service import ACCEPTING, ELSEWHERE, SELECTOR, SLEEPING, WAITING_FOR_WORK

HIGHEST_PRIORITY = -20  # of an ordinary thread, as `nice` counts
BUSY_RATE_PER_S = 120.0  # while the target computes: a sample costs some 30 us of CPU that it may need
BLOCKED_RATE_PER_S = 2000.0  # more while it waits, in proportion: the CPU is idle then
THREADS_SAMPLED = 32
THREADS_REFRESH_S = 0.05
EVERY_THREAD_EACH = 8
SOCKETS_KEPT = 1024
SOCKET_FORGOTTEN_S = 1.0
FILE, SOCKET, PIPE, EPOLL, ANON = "file", "socket", "pipe", "epoll", "anon"

_X86 = {
    FUTEX: (202, 449, 454, 455, 456),
    TIMER: (35, 230, 34),
    NETWORK: (42, 43, 44, 45, 46, 47, 288, 299, 307),
    SYNC: (26, 74, 75, 162, 277, 306),
    IPC: (61, 247, 29, 65, 68, 69, 220, 240, 241, 242, 243),
    DISK: (206, 208, 209, 426, 425, 2, 257, 4, 5, 6, 262, 78, 217, 76, 77, 82, 83, 84, 87, 263, 187, 332, 437, 40),
}
_ARM = {
    FUTEX: (98, 449, 454, 455, 456),
    TIMER: (101, 115),
    NETWORK: (203, 202, 206, 207, 211, 212, 242, 243, 269),
    SYNC: (227, 82, 83, 81, 267, 84),
    IPC: (260, 95, 192, 193, 189, 188),
    DISK: (0, 2, 4, 426, 425, 56, 79, 80, 61, 45, 46, 34, 35, 213, 291, 437, 71),
}
_READS = {"x86_64": (0, 17, 19, 295, 327), "aarch64": (63, 65, 67, 69, 286)}
_WRITES = {"x86_64": (1, 18, 20, 296, 328), "aarch64": (64, 66, 68, 70, 287)}
_POLLS = {"x86_64": (7, 271), "aarch64": (73,)}
_SELECTS = {"x86_64": (23, 270), "aarch64": (72,)}
_EPOLLS = {"x86_64": (232, 281, 441), "aarch64": (22, 441)}
_TARGETS_OF_EPOLL = re.compile(rb"tfd:\s*(\d+)")
_PR_SET_TIMERSLACK = 29
_TIMESPEC = struct.Struct("=qq")
_FUTEX_COMMAND, _FUTEX_CLOCK_REALTIME, _FUTEX_WAIT_BITSET = 0x7F, 0x100, 9


@dataclass(slots=True)
class _Thread:
    """Held descriptors of one thread."""

    tid: int
    stat: int
    syscall: int | None

    def close(self) -> None:
        for fd in (self.stat, self.syscall):
            if fd is not None:
                os.close(fd)


@dataclass(slots=True)
class _Rows:
    t_ns: list[int] = field(default_factory=list)
    thread: list[int] = field(default_factory=list)
    site: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)


class Sampler:
    """Samples process `pid`, whose requests are served by thread `request_thread`, in a thread of its own."""

    def __init__(self, pid: int, request_thread: int, seed: int) -> None:
        self._task = Path(f"/proc/{pid}/task")
        self._pid, self._request_thread = pid, request_thread
        self._random = random.Random(seed)  # noqa: S311  # jitter, not secrets
        self._rows = _Rows()
        self._threads: dict[int, _Thread] = {}
        self._sites = SiteReader(pid)
        self._stop = threading.Event()
        self._refreshed = 0.0
        self._blocked = 1.0
        self.blind: str | None = None
        self._worker = threading.Thread(target=self._sample, name="sampler", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._worker.start()

    def stop(self) -> Samples:
        """End sampling; returns what was seen."""
        self._stop.set()
        self._worker.join()
        for thread in self._threads.values():
            thread.close()
        rows = self._rows
        return Samples(
            *(np.array(column, dtype=np.int64) for column in (rows.t_ns, rows.thread, rows.site, rows.running))
        )

    def _sample(self) -> None:
        be_punctual()
        tick = 0
        while not self._stop.is_set():
            rate = BUSY_RATE_PER_S + self._blocked * BLOCKED_RATE_PER_S
            time.sleep((0.5 + self._random.random()) / rate)
            if time.monotonic() - self._refreshed > THREADS_REFRESH_S:
                self._refresh()
            try:
                self._look(every_thread=tick % EVERY_THREAD_EACH == 0)
            except (ProcessLookupError, FileNotFoundError):
                if not self._task.exists():
                    return
                self._refreshed = 0.0
            except PermissionError as error:
                self.blind = f"thread states cannot be read ({error.strerror})"
                return
            tick += 1

    def _look(self, *, every_thread: bool) -> None:
        """One sample: the request's thread, and the others too where it is blocked or now and then."""
        main = self._threads.get(self._request_thread)
        if main is None:
            return
        now = time.perf_counter_ns()
        state = _state(main.stat)
        site = RUNNING if state == b"R" else self._sites.read(main.syscall, state)
        self._blocked += 0.02 * ((site != RUNNING) - self._blocked)
        running = -1
        if every_thread or site in (FUTEX, TIMER, IPC, OTHER, NETWORK):
            running = self._look_at_others(now)
        self._note(now, main.tid, site, running)

    def _look_at_others(self, now: int) -> int:
        running = 0
        for thread in list(self._threads.values()):
            if thread.tid == self._request_thread:
                continue
            try:
                state = _state(thread.stat)
                running += state == b"R"
                self._note(now, thread.tid, RUNNING if state == b"R" else self._sites.read(thread.syscall, state), -1)
            except (ProcessLookupError, FileNotFoundError):
                self._refreshed = 0.0
        return running

    def _note(self, now: int, tid: int, site: int, running: int) -> None:
        rows = self._rows
        rows.t_ns.append(now)
        rows.thread.append(tid)
        rows.site.append(site)
        rows.running.append(running)

    def _refresh(self) -> None:
        """Open the threads that appeared, close those that are gone; the request's own thread always comes along."""
        self._refreshed = time.monotonic()
        try:
            alive = sorted((int(name) for name in os.listdir(self._task)), key=lambda tid: tid != self._request_thread)
        except OSError:
            return
        for tid in set(self._threads) - set(alive[:THREADS_SAMPLED]):
            self._threads.pop(tid).close()
        for tid in alive[:THREADS_SAMPLED]:
            if tid not in self._threads:
                opened = _open(self._task / str(tid), tid)
                if opened is not None:
                    self._threads[tid] = opened


class Calls:
    """System calls by what a server's thread does in them."""

    def __init__(self) -> None:
        machine = platform.machine()
        table = _ARM if machine == "aarch64" else _X86
        self._kinds = dict.fromkeys(_EPOLLS.get(machine, ()), SELECTOR)
        self._kinds |= dict.fromkeys((*_POLLS.get(machine, ()), *_SELECTS.get(machine, ())), ACCEPTING)
        self._kinds |= dict.fromkeys(table[NETWORK], ACCEPTING)
        self._kinds |= dict.fromkeys(table[FUTEX], WAITING_FOR_WORK) | dict.fromkeys(table[TIMER], SLEEPING)
        self._moves = frozenset((*_READS.get(machine, ()), *_WRITES.get(machine, ()), *table[NETWORK]))
        self._polls = frozenset(_POLLS.get(machine, ()))
        self._many = self._polls | frozenset(_SELECTS.get(machine, ()))

    def kind(self, number: int) -> str:
        """Where a thread that is at rest in this call is parked."""
        return self._kinds.get(number, ELSEWHERE)

    def moves(self, number: int) -> bool:
        """Whether it moves bytes over the descriptor that is its first argument."""
        return number in self._moves

    def sleeps(self, number: int, words: list[bytes]) -> bool:
        """Whether it waits for none of any descriptors, and so for a time."""
        at = 2 if number in self._polls else 1
        return number in self._many and int(words[at], 16) == 0


class TimeLimits:
    """How long a thread that waits in a futex with a time limit still waits at most: its deadline lies in its memory."""

    def __init__(self) -> None:
        self._memories: dict[int, int | None] = {}

    def left_ms(self, process: int, words: list[bytes]) -> int | None:
        """Milliseconds from now, at least 1; None where they cannot be read."""
        if process not in self._memories:
            try:
                self._memories[process] = os.open(f"/proc/{process}/mem", os.O_RDONLY)
            except OSError:
                self._memories[process] = None
        memory = self._memories[process]
        if memory is None:
            return None
        try:
            seconds, ns = map(int, _TIMESPEC.unpack(os.pread(memory, _TIMESPEC.size, int(words[4], 16))))
        except (OSError, OverflowError, struct.error):
            return None
        operation, at = int(words[2], 16), seconds * 1_000_000_000 + ns
        if operation & _FUTEX_COMMAND == _FUTEX_WAIT_BITSET:  # a deadline, and else a length of time
            at -= time.time_ns() if operation & _FUTEX_CLOCK_REALTIME else time.monotonic_ns()
        return max(at // 1_000_000, 1)

    def close(self) -> None:
        """Let go of the memories."""
        for memory in filter(None, self._memories.values()):
            os.close(memory)
        self._memories = {}


class SiteReader:
    """Classifies what a blocked thread waits for, from its system call and the file behind its descriptor."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")
        machine = platform.machine()
        self._sockets: dict[str, tuple[bool, float]] = {}
        self._stored: dict[int, int] = {}  # by descriptor, where a thread waited for storage last
        table = _ARM if machine == "aarch64" else _X86
        self._plain = {number: site for site, numbers in table.items() for number in numbers}
        self._reads, self._writes = _READS.get(machine, ()), _WRITES.get(machine, ())
        self._polls, self._selects, self._epolls = (
            _POLLS.get(machine, ()),
            _SELECTS.get(machine, ()),
            _EPOLLS.get(machine, ()),
        )

    def read(self, descriptor: int | None, state: bytes) -> int:
        """The site of a thread that is not running; `state` is its letter in /proc/PID/stat. One that waits for storage and goes
        on before its system call is read was where it was the last time that it waited so.
        """
        if descriptor is None:
            return DISK if state == b"D" else OTHER
        try:
            found = self.of(os.pread(descriptor, 256, 0).split(), state)
        except OSError:
            return DISK if state == b"D" else OTHER
        if state != b"D":
            return found
        if found != RUNNING:
            self._stored[descriptor] = found
        return self._stored.get(descriptor, DISK)

    def of(self, words: list[bytes], state: bytes) -> int:
        """The site of a thread whose /proc/PID/task/TID/syscall says these words."""
        if not words or words[0] == b"running":
            return RUNNING
        number = int(words[0])
        if number < 0:
            return FAULT
        return self._site(number, words, state)

    def _site(self, number: int, words: list[bytes], state: bytes) -> int:
        if number in self._reads or number in self._writes:
            kind = self._kind(int(words[1], 16))
            return {FILE: SYNC if number in self._writes else DISK, SOCKET: NETWORK}.get(kind, IPC)
        if number in self._polls or number in self._selects:
            return self._polled(number, words)
        if number in self._epolls:
            return NETWORK if self._epoll_has_network(int(words[1], 16)) else self._timed(words[4])
        if state == b"D" and number not in self._plain:
            return DISK
        return self._plain.get(number, OTHER)

    def _polled(self, number: int, words: list[bytes]) -> int:
        """Poll and select: without descriptors a timer, else taken for the network when the process has connections."""
        count = int(words[2 if number in self._polls else 1], 16)
        if count == 0:
            return TIMER
        return NETWORK if self._has_network() else IPC

    def _timed(self, timeout: bytes) -> int:
        """An event loop without network: a positive timeout is a timer, none is another thread or process."""
        milliseconds = ctypes.c_int32(int(timeout, 16) & 0xFFFFFFFF).value
        return TIMER if milliseconds > 0 else IPC

    def inode(self, fd: int) -> int:
        """The inode of the socket behind a descriptor; 0 where it is none."""
        with contextlib.suppress(OSError, ValueError):
            link = os.readlink(self._proc / "fd" / str(fd))
            return int(link[len("socket:[") : -1]) if link.startswith("socket:[") else 0
        return 0

    def _kind(self, fd: int) -> str:
        with contextlib.suppress(OSError):
            link = os.readlink(self._proc / "fd" / str(fd))
            if link.startswith("socket:"):
                return SOCKET if self._is_network(link) else PIPE
            if link.startswith("pipe:"):
                return PIPE
            if link.startswith("anon_inode:"):
                return EPOLL if "eventpoll" in link else ANON
            return FILE
        return ANON

    def _is_network(self, link: str) -> bool:
        """Whether a socket is a connection. The kernel takes milliseconds to list all, so what is known is kept: for good
        where it is one, for a while where it is not (it may not be connected yet).
        """
        known, until = self._sockets.get(link, (False, 0.0))
        if known or time.monotonic() < until:
            return known
        inode = link[len("socket:[") : -1].encode()
        found = False
        for name in ("tcp", "tcp6", "udp", "udp6"):
            with contextlib.suppress(OSError):
                found = found or b" " + inode + b" " in (self._proc / "net" / name).read_bytes()
        if len(self._sockets) >= SOCKETS_KEPT:
            self._sockets.clear()
        self._sockets[link] = (found, time.monotonic() + SOCKET_FORGOTTEN_S)
        return found

    def _has_network(self) -> bool:
        with contextlib.suppress(OSError):
            return any(self._kind(int(name)) == SOCKET for name in os.listdir(self._proc / "fd"))
        return False

    def _epoll_has_network(self, fd: int) -> bool:
        with contextlib.suppress(OSError):
            listing = (self._proc / "fdinfo" / str(fd)).read_bytes()
            return any(self._kind(int(target)) == SOCKET for target in _TARGETS_OF_EPOLL.findall(listing))
        return False


def _open(task: Path, tid: int) -> _Thread | None:
    try:
        stat = os.open(task / "stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        syscall: int | None = os.open(task / "syscall", os.O_RDONLY)
    except OSError:
        syscall = None
    return _Thread(tid, stat, syscall)


def _state(descriptor: int) -> bytes:
    text = os.pread(descriptor, 512, 0)
    at = text.rfind(b") ") + 2
    return text[at : at + 1]


def be_punctual(*, gently: bool = False) -> None:
    """Let this thread's sleeps end when they are due: no timer slack, and ahead of others where we may.

    A sampler that waits for a CPU looks when the target does not run, and sees it blocked too often. A real-time one wakes up
    where it slept, on the target's CPU too while another is idle; `gently`, it is ahead of others only where none is (027).
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)
    with contextlib.suppress(OSError, AttributeError):
        if gently:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HIGHEST_PRIORITY)
        else:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def joined(first: Samples, second: Samples) -> Samples:
    """The samples of two recordings of one target, in order."""
    pairs = (
        (first.t_ns, second.t_ns),
        (first.thread, second.thread),
        (first.site, second.site),
        (first.running, second.running),
    )
    return Samples(*(np.concatenate(pair) for pair in pairs))
