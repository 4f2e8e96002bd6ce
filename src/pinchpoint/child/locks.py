"""Locks and semaphores that the target's own code makes: how long each is held and waited for. Libraries' are left alone.

And waits for conditions, events and queues, whoever made them, that nothing ends but their time limit.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
from typing import Any, List, Set

from pinchpoint.child import held

_clock, _ident = time.perf_counter_ns, threading.get_ident


class _Timed:
    """A lock that notes its holders' time. What it does not define is the real lock's, as `threading.Condition` asks for.

    While somebody waits it counts as held also between a release and the next acquisition: a waiter that has been woken but
    does not run yet keeps nobody from overtaking it, and the lock serves nobody meanwhile.
    """

    def __init__(self, lock: Any, tally: held.Tally) -> None:
        self._lock, self._tally = lock, tally
        self._since = self._depth = self._released = 0
        self._waiting: Set[int] = set()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As a lock's own."""
        free_since = 0  # for somebody who waited
        if self._lock.acquire(False):
            if self._waiting and self._depth == 0:
                free_since = self._released
        elif not blocking:
            return False
        else:
            begin, me = _clock(), _ident()
            self._waiting.add(me)
            got = self._lock.acquire(True, timeout)
            self._waiting.discard(me)
            if not got:  # somebody holds it: that is no timer
                return False
            self._tally.waited_ns += _clock() - begin
            free_since = max(begin, self._released)
        self._depth += 1
        if self._depth == 1:
            self._since = free_since or _clock()
        return True

    def release(self) -> None:
        """As a lock's own."""
        if self._depth == 1:
            self._released = _clock()
            self._tally.held_ns += self._released - self._since
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
        return "<timed %r of %s>" % (self._lock, self._tally.name)


def watch() -> None:
    """Time the locks and semaphores of threading and asyncio that the target's own code makes from now on."""
    threading.Lock = _class_for(threading.Lock, "Lock")
    threading.RLock = _class_for(threading.RLock, "RLock")
    asyncio.Lock = _awaited(asyncio.Lock, held.LOCK)  # type: ignore[misc]
    for name in ("Semaphore", "BoundedSemaphore"):
        setattr(asyncio, name, _awaited(getattr(asyncio, name), held.SEMAPHORE))
    _count_semaphores(threading.Semaphore, threading.BoundedSemaphore)
    threading.Condition.wait = _noting_its_limit(threading.Condition.wait)  # type: ignore[method-assign]


def _class_for(plain: Any, name: str) -> Any:
    """What takes the place of a factory of locks: a class, since users write `Lock | None`."""
    kind = type(plain())

    class _Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, (kind, _Timed))

        def __call__(cls, *arguments: Any, **named: Any) -> Any:
            lock = plain(*arguments, **named)
            tally = _tally(held.LOCK, sys._getframe(1))
            return lock if tally is None else _Timed(lock, tally)

    return _Meta(name, (), {"__module__": "threading"})


def _count_semaphores(plain: Any, bounded: Any) -> None:
    """Time threading's semaphores in place: the bounded kind calls the plain one by its name."""
    plain.__init__, bounded.__init__ = _making(plain.__init__), _making(bounded.__init__)
    plain.release, bounded.release = _releasing(plain.release), _releasing(bounded.release)
    for kind in (plain, bounded):
        kind.__exit__ = lambda self, *_: self.release()
    acquire = plain.acquire

    @functools.wraps(acquire)
    def timed(self: Any, *arguments: Any, **named: Any) -> Any:
        begin = _clock()
        got = acquire(self, *arguments, **named)
        if got:
            self._pinchpoint.begin(begin)
        return got

    plain.acquire = plain.__enter__ = timed


def _noting_its_limit(wait: Any) -> Any:
    """A condition's wait, also that of events and queues, which notes how long it lasts where only its time limit ends it."""

    @functools.wraps(wait)
    def waited(self: Any, timeout: Any = None) -> Any:
        if timeout is None:
            return wait(self)
        begin = _clock()
        told = wait(self, timeout)
        if not told:
            held.expired(_clock() - begin)
        return told

    return waited


def _making(make: Any) -> Any:
    @functools.wraps(make)
    def made(self: Any, value: int = 1) -> None:
        make(self, value)
        self._pinchpoint = _Holds(_tally(held.SEMAPHORE, sys._getframe(1), value))

    return made


def _releasing(release: Any) -> Any:
    @functools.wraps(release)
    def released(self: Any, n: int = 1) -> None:
        for _ in range(n):
            self._pinchpoint.end()
        release(self, n)

    return released


def _awaited(plain: Any, kind: str) -> Any:
    """A lock or semaphore of asyncio, timed."""

    class Timed(plain):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            value = named.get("value", arguments[0] if arguments else 1) if kind == held.SEMAPHORE else 1
            self._pinchpoint = _Holds(_tally(kind, sys._getframe(1), value))

        async def acquire(self) -> Any:
            begin = _clock()
            got = await super().acquire()
            self._pinchpoint.begin(begin)
            return got

        def release(self) -> None:
            self._pinchpoint.end()
            super().release()

    return _named(Timed, plain)


def _named(timed: Any, plain: Any) -> Any:
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(timed, name, getattr(plain, name))
    return timed


class _Holds:
    """The holds of a resource that are open: the sum of their lengths does not depend on which of them ends first."""

    __slots__ = ("_open", "_tally")

    def __init__(self, tally: Any) -> None:
        self._tally = tally
        self._open: List[int] = []

    def begin(self, asked: int) -> None:
        """A hold begins now that was asked for then."""
        if self._tally is not None:
            now = _clock()
            self._tally.waited_ns += now - asked
            self._open.append(now)

    def end(self) -> None:
        """One of the holds ends; a release without a hold (a semaphore used as a signal) is none."""
        if self._tally is not None and self._open:
            self._tally.add(_clock() - self._open.pop(), 0)


def _tally(kind: str, frame: Any, capacity: int = 1) -> Any:
    """A new tally for what is made in this frame; None where its code is not the target's own, or nothing is shared out."""
    place = held.own_place(frame)
    shared = place and isinstance(capacity, int) and capacity > 0
    return held.tally(kind, place, capacity, frame.f_lasti) if shared else None
