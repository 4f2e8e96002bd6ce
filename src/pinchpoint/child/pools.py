"""Thread pools and the event loop: how long they are busy for the target's requests."""

from __future__ import annotations

import functools
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pinchpoint.child import held

_clock = time.perf_counter_ns


def watch() -> None:
    """Time what is handed to thread pools that are made from now on."""
    pool: Any = ThreadPoolExecutor
    make, submit = pool.__init__, pool.submit

    @functools.wraps(make)
    def made(self: Any, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        frame = sys._getframe(1)
        self._pinchpoint = held.tally(held.POOL, _maker(frame), self._max_workers, frame.f_lasti)

    @functools.wraps(submit)
    def timed(self: Any, work: Any, /, *arguments: Any, **named: Any) -> Any:
        tally = getattr(self, "_pinchpoint", None)
        return submit(self, work if tally is None else _clocked(work, tally), *arguments, **named)

    pool.__init__, pool.submit = made, timed


class LoopWatch:
    """Times what an event loop does beside waiting in its selector; one without a selector of Python's own is left alone."""

    def __init__(self, loop: Any) -> None:
        self._since = _clock()
        selector: Any = getattr(loop, "_selector", None)
        self._select: Any = getattr(selector, "select", None)
        self._tally: Any = held.tally(held.LOOP, "") if self._select is not None else None
        if self._tally is not None:
            selector.select = self._wait

    def begin(self) -> None:
        """The loop begins to run now; what passed since it last did was not its own."""
        self._since = _clock()

    def _wait(self, timeout: Any = None) -> Any:
        self._tally.held_ns += _clock() - self._since
        self._tally.count += 1
        try:
            return self._select(timeout)
        finally:
            self._since = _clock()


def _clocked(work: Any, tally: held.Tally) -> Any:
    asked = _clock()

    @functools.wraps(work, updated=())
    def run(*arguments: Any, **named: Any) -> Any:
        begin = _clock()
        try:
            return work(*arguments, **named)
        finally:
            tally.add(_clock() - begin, begin - asked)

    return run


def _maker(frame: Any) -> str:
    """Where a pool was made, or by which library."""
    own = held.own_place(frame)
    if own:
        return own
    name = str(frame.f_globals.get("__name__", "") or os.path.basename(frame.f_code.co_filename))
    return name.split(".")[0]
