"""Locks that the target's own code makes: how long each is held and waited for. Libraries' locks are left as they are."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
import threading
import time
from typing import Any, Dict, List, Tuple

_clock = time.perf_counter_ns
Held = Tuple[int, int, int]  # held ns, waited ns, how often
LOCKS_KEPT = 64
LIBRARIES = tuple({os.path.realpath(p) for p in (os.path.dirname(os.__file__), *sysconfig.get_paths().values()) if p})


class Tally:
    """What one lock counts; written by its holder only."""

    __slots__ = ("count", "held_ns", "site", "waited_ns")

    def __init__(self, site: str) -> None:
        self.site = site
        self.held_ns = self.waited_ns = self.count = 0


_tallies: List[Tally] = []  # in the order in which the locks were made


class _Timed:
    """A lock that notes its holders' time. What it does not define is the real lock's, as `threading.Condition` asks for."""

    def __init__(self, lock: Any, tally: Tally) -> None:
        self._lock, self._tally = lock, tally
        self._since = self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As a lock's own."""
        if not self._lock.acquire(False):
            if not blocking:
                return False
            begin = _clock()
            if not self._lock.acquire(True, timeout):
                return False
            self._tally.waited_ns += _clock() - begin
        self._depth += 1
        if self._depth == 1:
            self._since = _clock()
        return True

    def release(self) -> None:
        """As a lock's own."""
        if self._depth == 1:
            self._tally.held_ns += _clock() - self._since
            self._tally.count += 1
        self._depth = max(self._depth - 1, 0)
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)

    def __repr__(self) -> str:
        return "<timed %r of %s>" % (self._lock, self._tally.site)


def watch() -> None:
    """Time every Lock and RLock of threading and every Lock of asyncio that the target's own code makes from now on."""
    threading.Lock = _class_for(threading.Lock, "Lock")
    threading.RLock = _class_for(threading.RLock, "RLock")
    plain = asyncio.Lock

    class Lock(plain):  # type: ignore[misc,valid-type]
        """An asyncio.Lock that notes its holders' time."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._pinchpoint = _tally(sys._getframe(1))
            self._pinchpoint_since = 0

        async def acquire(self) -> Any:
            begin = _clock()
            got = await super().acquire()
            self._pinchpoint_since = _clock()
            if self._pinchpoint is not None:
                self._pinchpoint.waited_ns += self._pinchpoint_since - begin
            return got

        def release(self) -> None:
            if self._pinchpoint is not None:
                self._pinchpoint.held_ns += _clock() - self._pinchpoint_since
                self._pinchpoint.count += 1
            super().release()

    asyncio.Lock = Lock  # type: ignore[misc]


def _class_for(plain: Any, name: str) -> Any:
    """What takes the place of a factory of locks: a class, since users write `Lock | None`."""
    kind = type(plain())

    class _Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, (kind, _Timed))

        def __call__(cls, *arguments: Any, **named: Any) -> Any:
            lock = plain(*arguments, **named)
            tally = _tally(sys._getframe(1))
            return lock if tally is None else _Timed(lock, tally)

    return _Meta(name, (), {"__module__": "threading"})


def _tally(frame: Any) -> Any:
    """A new tally for a lock that is made in this frame; None where its code is not the target's own."""
    file = frame.f_code.co_filename
    if len(_tallies) >= LOCKS_KEPT or not _own_code(file):
        return None
    _tallies.append(Tally("%s:%d" % (os.path.basename(file), frame.f_lineno)))
    return _tallies[-1]


def _own_code(file: str) -> bool:
    real = os.path.realpath(file)
    inside = any(real.startswith(folder + os.sep) for folder in LIBRARIES)
    return not (file.startswith("<") or inside or "site-packages" in real or "dist-packages" in real)


def totals() -> List[Held]:
    """What each lock has counted so far."""
    return [(each.held_ns, each.waited_ns, each.count) for each in _tallies]


def since(before: List[Held]) -> List[Dict[str, Any]]:
    """What each lock has counted since, those that were used."""
    found = []
    for number, each in enumerate(_tallies):
        held, waited, count = before[number] if number < len(before) else (0, 0, 0)
        if each.count > count:
            found.append({
                "name": each.site,
                "held_s": (each.held_ns - held) / 1e9,
                "waited_s": (each.waited_ns - waited) / 1e9,
                "count": each.count - count,
            })  # fmt: skip
    return found
