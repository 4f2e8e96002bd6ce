"""Runs of the target's own sessions with denormal floats as zero, in turns with runs as they are.

The smallest floats (below 1e-38 for float32) take some processors many times longer. Whether they count as zero is a bit of
each thread's own floating-point environment, which the C library sets for the thread that runs a session. The threads of a
pool keep theirs, so a session that has a pool is represented by a twin on one thread, to which values matter as much.
"""

from __future__ import annotations

import ctypes
import platform
import time
from typing import Any, Dict, List, Tuple

from pinchpoint.child import sessions

MXCSR_AT = 28  # bytes into the environment, behind that of the x87 unit
FLUSH_AND_ZERO = 0x8040
ENVIRONMENT_BYTES = 64
LONGEST_OPENING_S, LONGEST_RUN_S = 0.5, 0.25
FEWEST_PAIRS = 4
_clock = time.perf_counter
_TINY = [float.fromhex("0x1p-1074"), 1.0]


class CannotFlush(Exception):
    """Why denormals cannot be taken for zero here."""


class FloatUnit:
    """The calling thread's floating-point environment."""

    def __init__(self) -> None:
        if platform.machine() not in ("x86_64", "AMD64"):
            raise CannotFlush("only known how on x86-64")
        try:
            library = ctypes.CDLL("libm.so.6")
            self._get, self._set = library.fegetenv, library.fesetenv
        except (OSError, AttributeError):
            raise CannotFlush("the C library has no floating-point environment") from None
        self._kept = ctypes.create_string_buffer(ENVIRONMENT_BYTES)
        self._get(self._kept)
        self._flushing = ctypes.create_string_buffer(self._kept.raw, ENVIRONMENT_BYTES)
        word = ctypes.c_uint32.from_buffer(self._flushing, MXCSR_AT)
        word.value |= FLUSH_AND_ZERO
        self.flush(on=True)
        works = _TINY[0] * _TINY[1] == 0.0
        self.flush(on=False)
        if not works:
            raise CannotFlush("the processor does not take denormals for zero when told to")

    def flush(self, *, on: bool) -> None:
        """Take denormals for zero in this thread, or as it was before."""
        self._set(self._flushing if on else self._kept)


def in_turns(known: "sessions.CapturedSession", seconds: float) -> Dict[str, Any]:
    """Seconds of runs as they are and of runs that take denormals for zero, in pairs on the same inputs, A B B A."""
    try:
        unit = FloatUnit()
    except CannotFlush as error:
        return {"missing": str(error)}
    alive = known.session()
    if alive is None or not known.feeds:
        return {"missing": "the session was closed, or ran on inputs that are not kept"}
    if known.facts()["intra_op_threads"] != 1:
        if known.opening_s > LONGEST_OPENING_S:
            return {"missing": "a second session would take too long to open"}
        alive = sessions.on_one_thread(known)
        sessions.run(alive, known, 0)
    start = _clock()
    sessions.run(alive, known, 0)
    if _clock() - start > LONGEST_RUN_S:
        return {"missing": "a run takes too long on one thread"}
    return {"pairs": _pairs(unit, known, alive, seconds)}


def _pairs(unit: FloatUnit, known: Any, session: Any, seconds: float) -> List[Tuple[float, float]]:
    found: List[Tuple[float, float]] = []
    deadline = _clock() + seconds
    while len(found) < FEWEST_PAIRS or _clock() < deadline:
        took = [0.0, 0.0]
        for flushed in (0, 1) if len(found) % 2 == 0 else (1, 0):
            unit.flush(on=bool(flushed))
            try:
                start = _clock()
                sessions.run(session, known, len(found))
                took[flushed] = _clock() - start
            finally:
                unit.flush(on=False)
        found.append((took[0], took[1]))
    return found
