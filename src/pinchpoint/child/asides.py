"""Small arms beside the requests that count: pauses between requests, and marks between stretches of them."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, List, Tuple

from pinchpoint.child import descendants, held

_clock, _thread_cpu, _process_cpu = time.perf_counter_ns, time.thread_time_ns, time.process_time_ns
_sleep = time.sleep
LOOP_TURNS, LOOP_REPEATS = 20_000, 3  # about a millisecond each
UNREADABLE = -1
DEPTH, PARTS = 4, 64  # of a payload that is looked into
PAGE = os.sysconf("SC_PAGE_SIZE")


def mark(served: int) -> Dict[str, Any]:
    """Where the process is now: its clocks, its memory, and how fast its CPU is."""
    loop = fixed_loop_s()
    return {
        "t_ns": _clock(),
        "served": served,
        "cpu_ns": _process_cpu(),
        "anonymous_bytes": anonymous_bytes(),
        "loop_s": loop,
        "waited_s": held.waited_s(),
        "expired_s": held.expired_s(),
        "children_s": descendants.cpu_s(),
    }


def fixed_loop_s() -> float:
    """CPU seconds of this thread for a fixed count of integer operations, the best of a few: others only make it wait."""
    best = 0
    for _ in range(LOOP_REPEATS):
        value, start = 1, _thread_cpu()
        for _ in range(LOOP_TURNS):
            value = (value * 1103515245 + 12345) & 0x7FFFFFFF
        took = _thread_cpu() - start
        best = took if best == 0 else min(best, took)
    return best / 1e9


def anonymous_bytes() -> int:
    """Resident memory that is neither a file's nor shared, as our records are; -1 where the kernel does not tell."""
    try:
        with open("/proc/self/statm") as file:
            fields = file.read().split()
        return (int(fields[1]) - int(fields[2])) * PAGE
    except (OSError, ValueError, IndexError):
        return UNREADABLE


def pauses(ask: Callable[[int], Any], command: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Requests with pauses between them, and a longer one at the end; the first only settles what ran before."""
    found: List[Dict[str, Any]] = []
    deadline = _clock() + int(command["seconds"] * 1e9)
    for number in range(command["count"] + 1):
        last = number == command["count"] or _clock() > deadline
        found.append(_pause(ask, number, command["last_s"] if last else command["gap_s"], command["step_s"]))
        if last:
            break
    return found[1:] if len(found) > 1 else found


def _pause(ask: Callable[[int], Any], number: int, gap_s: float, step_s: float) -> Dict[str, Any]:
    cpu, own, start = _process_cpu(), _thread_cpu(), _clock()
    ask(number)
    at, own_after, used = _clock(), _thread_cpu(), _process_cpu()
    request = {
        "request_s": (at - start) / 1e9,
        "request_cpu_s": (used - cpu) / 1e9,
        "own_cpu_s": (own_after - own) / 1e9,
    }
    until, steps = at + int(gap_s * 1e9), []
    while at < until:
        _sleep(step_s)
        now, cpu = _clock(), _process_cpu()
        steps.append(((now - at) / 1e9, (cpu - used) / 1e9))
        at, used = now, cpu
    return dict(request, steps=steps)


def shape_numbers(payloads: List[Any]) -> List[int]:
    """A number for the shapes of the arrays in each payload, equal where they are; -1 where there is no array."""
    known: Dict[Any, int] = {}
    found = []
    for payload in payloads:
        shapes = _shapes(payload, DEPTH)
        found.append(known.setdefault(shapes, len(known)) if shapes else UNREADABLE)
    return found


def _shapes(value: Any, depth: int) -> Tuple[Any, ...]:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return (tuple(shape),)
    if depth and isinstance(value, (list, tuple)) and len(value) <= PARTS:
        return tuple(shape for part in value for shape in _shapes(part, depth - 1))
    if depth and isinstance(value, dict) and len(value) <= PARTS:
        return tuple((key, shape) for key, part in value.items() for shape in _shapes(part, depth - 1))
    return ()


def again(ask: Callable[[Any], Any], payloads: List[Any], command: Dict[str, Any]) -> List[Tuple[int, float]]:
    """Seconds of requests like those of these numbers, of the same shapes and with other values, in that order."""
    found: List[Tuple[int, float]] = []
    deadline = _clock() + int(command["seconds"] * 1e9)
    for number in command["numbers"]:
        other = reversed_values(payloads[number], DEPTH)
        if other is None or _clock() > deadline:
            break
        start = _clock()
        ask(other)
        found.append((number, (_clock() - start) / 1e9))
    return found


def reversed_values(value: Any, depth: int) -> Any:
    """The same with the values of its arrays in another order: all of them are as valid as before; None without arrays."""
    if isinstance(getattr(value, "shape", None), tuple):
        try:
            return value[..., ::-1].copy()
        except Exception:  # an array of a kind that cannot
            return None
    if depth and isinstance(value, (list, tuple)):
        parts = [(part, reversed_values(part, depth - 1)) for part in value]
        changed = any(other is not None for _, other in parts)
        made = [part if other is None else other for part, other in parts]
        return type(value)(made) if changed and type(value) in (list, tuple) else None
    if depth and type(value) is dict:
        others = {key: reversed_values(part, depth - 1) for key, part in value.items()}
        if all(other is None for other in others.values()):
            return None
        return {key: part if others[key] is None else others[key] for key, part in value.items()}
    return None
