"""An alarm clock for an event loop: rings when a moment has come, never before, and tens of microseconds after it at most
where a core is free. Timers of event loops are good to a millisecond; this one is a timerfd, set a little early, and a short
spin over the rest. How early it must be is learnt: a CPU that sleeps takes 20 to 200 us to wake up, more in a virtual machine.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from time import monotonic_ns

SPIN_NS = 20_000  # how much earlier than due the kernel's timer is set, at least: what it takes to wake up
MOST_SPIN_NS = 300_000
OF_GAP = 16  # at most one part in so many of the time until it is due is spun away: answers wait meanwhile
CLOCK_MONOTONIC, NONBLOCKING, ABSOLUTE = 1, os.O_NONBLOCK | os.O_CLOEXEC, 1
_SETTING = struct.Struct("=4q")
_NS = 1_000_000_000


def learnt(early_ns: int, woke_ns: int) -> int:
    """How early to set the timer from now on, where it woke us `woke_ns` after the moment it was set to: rises fast and falls
    slowly, so that nine in ten wakings are in time, and what others do to the CPU now and then is forgotten.
    """
    woke_ns = min(woke_ns, MOST_SPIN_NS)
    step = (woke_ns - early_ns) // 2 if woke_ns > early_ns else (woke_ns - early_ns) // 64
    return max(early_ns + step, SPIN_NS)


class Alarm:
    """Calls `ring` once the moment of `at` has come. Setting it again replaces the moment."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._ring, self._loop, self._due = ring, loop, 0
        self._early, self._moment = SPIN_NS, 0
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self._fd = int(libc.timerfd_create(CLOCK_MONOTONIC, NONBLOCKING))
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "no timer")
        loop.add_reader(self._fd, self._rung)

    def at(self, due_ns: int) -> None:
        """Ring at `due_ns` of CLOCK_MONOTONIC, or as soon as possible if that is past."""
        self._due = due_ns
        now = monotonic_ns()
        early = min(self._early, max((due_ns - now) // OF_GAP, SPIN_NS))
        moment = max(due_ns - early, 1)  # 0 would switch the timer off
        self._moment = moment if moment > now else 0
        self._settime(self._fd, ABSOLUTE, _SETTING.pack(0, 0, moment // _NS, moment % _NS), None)

    def close(self) -> None:
        """Ring no more."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _rung(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # it was set again meanwhile
            return
        due = self._due
        if self._moment:
            self._early = learnt(self._early, monotonic_ns() - self._moment)
        while monotonic_ns() < due:
            pass
        self._ring()
