"""How much of the time the interpreter's lock (GIL) is held: a thread that wakes at random and notes when it has to wait.

What a thread must wait for after a sleep is a CPU, which the kernel counts, and the GIL, which is the rest. Holders that
let go within the usual lateness of a sleep are not seen. Nothing is knocked on where the interpreter has no such lock.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from typing import Optional, Tuple

_clock, _sleep = time.perf_counter_ns, time.sleep
SHORTEST_S, LONGEST_S = 0.003, 0.009  # between knocks: longer than a switch interval on average, and without a rhythm
CALIBRATING = 40  # knocks while nothing else runs
MARGIN_NS = 50_000


class Knocker:
    """Knocks between `begin` and `end`; how late an undisturbed sleep may be is measured once, at the first use."""

    def __init__(self) -> None:
        self._random = random.Random(1)  # noqa: S311  # sampling, not secrets
        self._late_ns: Optional[int] = None
        self._stop = False
        self._thread: Optional[threading.Thread] = None
        self.probes = self.held = 0

    def begin(self) -> None:
        """Start to knock."""
        if not has_gil():
            return
        if self._late_ns is None:
            self._calibrate()
        self._stop, self.probes, self.held = False, 0, 0
        self._thread = threading.Thread(target=self._knock, daemon=True)
        self._thread.start()

    def end(self) -> Tuple[int, int]:
        """Stop; how often it knocked, and how often the lock was held."""
        if self._thread is None:
            return 0, 0
        self._stop = True
        self._thread.join()
        self._thread = None
        return self.probes, self.held

    def _calibrate(self) -> None:
        with open(_schedstat(), "rb", buffering=0) as file:
            late = [self._lateness(file.fileno(), SHORTEST_S / 3) for _ in range(CALIBRATING)]
        self._late_ns = sorted(late)[-3] + MARGIN_NS

    def _knock(self) -> None:
        with open(_schedstat(), "rb", buffering=0) as file:
            while not self._stop:
                late = self._lateness(file.fileno(), self._random.uniform(SHORTEST_S, LONGEST_S))
                assert self._late_ns is not None
                self.probes += 1
                self.held += late > self._late_ns

    def _lateness(self, schedstat: int, seconds: float) -> int:
        """Nanoseconds that a sleep ended late, without those in which this thread waited for a CPU."""
        waited, due = _run_delay(schedstat), _clock() + int(seconds * 1e9)
        _sleep(seconds)
        return _clock() - due - (_run_delay(schedstat) - waited)


def has_gil() -> bool:
    """Whether this interpreter runs one thread at a time."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _schedstat() -> str:
    return "/proc/self/task/%d/schedstat" % threading.get_native_id()


def _run_delay(descriptor: int) -> int:
    return int(os.pread(descriptor, 64, 0).split()[1])
