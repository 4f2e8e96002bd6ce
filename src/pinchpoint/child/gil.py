"""Where the interpreter notes whether its lock (GIL) is held: found once, then read by the parent from outside.

CPython keeps the switch interval, the last holder and a flag `locked` side by side (`_gil_runtime_state`, the same order from
3.7 to 3.14) in `_PyRuntime`, at a place that differs with every version. Setting the interval shows where it is. Reading the
flag from another process neither takes the lock nor disturbs anybody; a thread of the target's own could do neither.

Behind the flag lies the condition at which threads wait for the lock (a `pthread_cond_t` of glibc), with the number of those that
do: a thread that has been woken up counts until it runs. Where that number lies differs too, so one thread is made to wait.
"""

from __future__ import annotations

import _thread
import os
import sys
import time
from typing import Optional, Set

PROBES_US = (4321, 5678)  # switch intervals that no other word in there is likely to follow
MOST_BYTES = 4 << 20
WORD = 8
_pread = os.pread  # bound before the target can change it
LOCKED_AFTER = 2 * WORD  # the interval and the last holder stand before it
CONDITION_AFTER, CONDITION_BYTES = 2 * WORD, 48  # the flag and the number of switches stand before it
A_WAITER, FIRST_WAITER = 8, 8  # one more waiter in that number; without one it is less than that
LONG_S, PATIENCE_S = 1.0, 0.2


def has_gil() -> bool:
    """Whether this interpreter runs one thread at a time."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def address() -> Optional[int]:
    """The address of the flag, an int of 4 bytes; None where it is not found beyond doubt."""
    if sys.implementation.name != "cpython" or sys.maxsize < 1 << 32 or not has_gil():
        return None
    before = sys.getswitchinterval()
    try:
        return _found()
    except (ImportError, OSError, ValueError):
        return None
    finally:
        sys.setswitchinterval(before)


def waiters(flag: int) -> Optional[int]:
    """The address of an int of 4 bytes that grows by `A_WAITER` with each thread that waits for the lock; None where it is not
    found beyond doubt. No other thread may wait for it meanwhile.
    """
    done = _thread.allocate_lock()
    done.acquire()
    before = sys.getswitchinterval()
    sys.setswitchinterval(LONG_S)  # for so long nobody makes us give it up
    try:
        found = _moved_by(done, flag + CONDITION_AFTER)
    except (ImportError, RuntimeError):  # no thread can be started
        return None
    finally:
        sys.setswitchinterval(before)
    done.acquire()
    return found


def _moved_by(done: "_thread.LockType", condition: int) -> Optional[int]:
    import ctypes

    words = (ctypes.c_uint32 * (CONDITION_BYTES // 4)).from_address(condition)
    quiet = list(words)
    _thread.start_new_thread(done.release, ())
    end = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < end:
        now = list(words)
        moved = [n for n, word in enumerate(now) if word - quiet[n] == A_WAITER and quiet[n] < FIRST_WAITER]
        if len(moved) == 1:
            return condition + 4 * moved[0]
    return None


def _found() -> Optional[int]:
    import ctypes

    base = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    places: Optional[Set[int]] = None
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        size = min(_mapped_from(base), MOST_BYTES)
        for interval in PROBES_US:
            sys.setswitchinterval(interval / 1e6)
            raw = _pread(memory.fileno(), size, base)  # ends early where reading it ourselves would end the process
            words = memoryview(raw[: len(raw) // WORD * WORD]).cast("Q")
            here = {number for number, word in enumerate(words) if word == interval}
            places = here if places is None else places & here
    if places is None or len(places) != 1:
        return None
    flag = base + places.pop() * WORD + LOCKED_AFTER
    held = ctypes.c_int.from_address(flag).value == 1  # by us, who ask
    return flag if held else None


def _mapped_from(base: int) -> int:
    """How many bytes from `base` on are the interpreter's data: its file's, and what is mapped behind it without a file."""
    end, own = base, ""
    with open("/proc/self/maps") as file:
        for line in file:
            span, rights, _, _, inode = line.split()[:5]
            low, high = (int(part, 16) for part in span.split("-"))
            if low <= end < high and "r" in rights and inode in (own or inode, "0"):
                end, own = high, own or inode
    return end - base
