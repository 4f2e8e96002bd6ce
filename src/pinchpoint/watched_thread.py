"""A thread of another process: what it does at a moment, by its files in /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pinchpoint.domain.run import DISK, OTHER

READ_BYTES = 512
UNLIMITED_MS = 1 << 30


@dataclass(frozen=True, slots=True)
class Blocked:
    """What a thread is blocked in: whether it may be parked there, whether the same words mean the same in the next moment, and
    the words that tell its deadline.
    """

    site: int
    place: int
    limit_ms: int = UNLIMITED_MS
    parked: bool = False
    kept: bool = False
    until: list[bytes] | None = None


@dataclass(slots=True)
class WatchedThread:
    """A thread, with held descriptors once it is awake; one that never ran since it was found serves nobody. `number` is what it
    is noted by: its own, or that of one which it follows.
    """

    process: int
    thread: int
    name: str
    ran_ns: int
    number: int = 0
    born: bool = False  # while it was watched
    awake: bool = False
    stat: int | None = None
    syscall: int | None = None
    text: bytes = b""
    told: Blocked | None = None  # what `text` says, where it says the same in every moment

    def close(self) -> None:
        """Let go of its files."""
        for fd in (self.stat, self.syscall):
            if fd is not None:
                os.close(fd)

    def glance(self) -> bytes:
        """What it does at this moment, as its `syscall` says; nothing where that cannot be read."""
        if self.awake and self.syscall is None:
            return b""
        try:
            return self.read("syscall", self.syscall)
        except OSError:
            return b""

    def state(self) -> bytes:
        """Its letter in /proc/PID/stat. Raises OSError where it is gone."""
        text = self.read("stat", self.stat)
        return text[text.rfind(b") ") + 2 :][:1]

    def read(self, name: str, held: int | None) -> bytes:
        """One of its files, by the held descriptor where there is one."""
        if held is not None:
            return os.pread(held, READ_BYTES, 0)
        descriptor = os.open(f"/proc/{self.process}/task/{self.thread}/{name}", os.O_RDONLY)
        try:
            return os.read(descriptor, READ_BYTES)
        finally:
            os.close(descriptor)


def thread_of(process: int, thread: int) -> WatchedThread:
    """A thread as it is found."""
    new = WatchedThread(process, thread, "", 0)
    new.name, new.ran_ns = new.read("comm", None).decode(errors="replace").strip(), ran_ns(new)
    return new


def unread(thread: WatchedThread) -> int:
    """What a thread is blocked in whose system call cannot be read."""
    return DISK if thread.state() == b"D" else OTHER


def ran_ns(thread: WatchedThread) -> int:
    """How long it has run. Raises OSError where it is gone."""
    return int(thread.read("schedstat", None).split()[0])
