"""How long the target's soft resources are held and waited for: locks, semaphores, pools and the event loop."""

from __future__ import annotations

import os
import sysconfig
from _thread import allocate_lock  # the real one, whatever becomes of threading's
from _thread import get_ident as _ident
from typing import Any, Dict, List, Tuple

KEPT = 64
LOCK, SEMAPHORE, POOL, LOOP = "lock", "semaphore", "pool", "loop"
LIBRARIES = tuple({os.path.realpath(p) for p in (os.path.dirname(os.__file__), *sysconfig.get_paths().values()) if p})
Before = List[Tuple[int, int, int]]


class Tally:
    """What one resource counts. A lock's holder writes alone; what several hold at once is written through `add`.

    Those with the same `alike` were made by one instruction, with the same capacity.
    """

    __slots__ = ("_guard", "alike", "capacity", "count", "held_ns", "kind", "name", "waited_ns")

    def __init__(self, kind: str, name: str, capacity: int, alike: Tuple[str, str, int, int]) -> None:
        self.kind, self.name, self.capacity, self.alike = kind, name, capacity, alike
        self.held_ns = self.waited_ns = self.count = 0
        self._guard = allocate_lock()

    def add(self, held_ns: int, waited_ns: int) -> None:
        """One more use, from any thread."""
        with self._guard:
            self.held_ns += held_ns
            self.waited_ns += waited_ns
            self.count += 1


_expired_ns: Dict[int, int] = {}  # by thread: what was waited with a time limit until that was over
_tallies: List[Tally] = []  # in the order in which the resources were made


def tally(kind: str, name: str, capacity: int = 1, made: int = 0) -> Any:
    """A new tally, made by the instruction `made` of its line; None where there are too many. Those of one name are numbered."""
    if len(_tallies) >= KEPT:
        return None
    same = sum(each.alike[:2] == (kind, name) for each in _tallies)
    numbered = "%s #%d" % (name, same + 1) if same else name
    _tallies.append(Tally(kind, numbered, capacity, (kind, name, capacity, made)))
    return _tallies[-1]


def own_place(frame: Any) -> str:
    """The file and line of a frame; empty where its code is a library's and not the target's own."""
    file = frame.f_code.co_filename
    real = os.path.realpath(file)
    inside = any(real.startswith(folder + os.sep) for folder in LIBRARIES)
    if file.startswith("<") or inside or "site-packages" in real or "dist-packages" in real:
        return ""
    return "%s:%d" % (os.path.basename(file), frame.f_lineno)


def totals() -> Before:
    """What each resource has counted so far."""
    return [(each.held_ns, each.waited_ns, each.count) for each in _tallies]


def waited_s() -> float:
    """What locks and semaphores were waited for so far, all threads together."""
    return sum(each.waited_ns for each in _tallies if each.kind in (LOCK, SEMAPHORE)) / 1e9


def expired(waited_ns: int) -> None:
    """A wait of this thread ended with its time limit, and with nothing else."""
    me = _ident()
    _expired_ns[me] = _expired_ns.get(me, 0) + waited_ns


def expired_s() -> float:
    """What this thread has waited so far until a time limit was over."""
    return _expired_ns.get(_ident(), 0) / 1e9


def since(before: Before) -> List[Dict[str, Any]]:
    """What each resource has counted since: those that were used, and those made like them."""
    found, used = [], set()
    for number, each in enumerate(_tallies):
        if each.count > (before[number][2] if number < len(before) else 0):
            used.add(each.alike)
    for number, each in enumerate(_tallies):
        held, waited, count = before[number] if number < len(before) else (0, 0, 0)
        if each.alike in used:
            found.append({
                "kind": each.kind,
                "name": each.name,
                "capacity": each.capacity,
                "held_s": (each.held_ns - held) / 1e9,
                "waited_s": (each.waited_ns - waited) / 1e9,
                "count": each.count - count,
            })  # fmt: skip
    return found
