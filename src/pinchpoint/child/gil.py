"""Where the interpreter notes whether its lock (GIL) is held: found once, then read by the parent from outside.

CPython keeps the switch interval, the last holder and a flag `locked` side by side (`_gil_runtime_state`, the same order from
3.7 to 3.14) in `_PyRuntime`, at a place that differs with every version. Setting the interval shows where it is. Reading the
flag from another process neither takes the lock nor disturbs anybody; a thread of the target's own could do neither.
"""

from __future__ import annotations

import os
import sys
from typing import Optional, Set

PROBES_US = (4321, 5678)  # switch intervals that no other word in there is likely to follow
MOST_BYTES = 4 << 20
WORD = 8
_pread = os.pread  # bound before the target can change it
LOCKED_AFTER = 2 * WORD  # the interval and the last holder stand before it


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
