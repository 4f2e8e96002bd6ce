"""Targets that share something: a lock, the interpreter, the CPUs. Each is fast alone and limited by what it shares.

Pairs are a program and the same program with a remedy done; their demands are sleeps and fixed numbers of steps.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import itertools
import threading
import time
from collections import deque
from functools import cache

from bench.pipelines import spin

HELD_S, BESIDE_S = 0.004, 0.003
BLOCK = bytes(2_000_000)
YOUNG, LIVING = 2000, 60_000
LIVE: list[list[int]] = []
recent: deque[list[list[int]]] = deque(maxlen=5)
turns = itertools.count()
one, first, second, third = (threading.Lock() for _ in range(4))


def lock() -> None:
    """4 ms asleep under a lock, 3 ms beside it: at most 250/s."""
    with one:
        time.sleep(HELD_S)
    time.sleep(BESIDE_S)


def two_locks() -> None:
    """The same with a second lock for every other request: 500/s."""
    with (first, second)[next(turns) % 2]:
        time.sleep(HELD_S)
    time.sleep(BESIDE_S)


def short_lock() -> None:
    """A lock that is rarely held: 0.2 ms of 4."""
    with third:
        time.sleep(HELD_S / 20)
    hashlib.sha256(BLOCK).digest()


def interpreter() -> None:
    """2 ms of Python: the interpreter's lock is held throughout."""
    spin(2)


def interpreter_and_wait() -> None:
    """1 ms of Python and a sleep of 4: five in flight fill the interpreter."""
    spin(1)
    time.sleep(HELD_S)


def native() -> None:
    """Native code that lets go of the interpreter: limited by the CPUs."""
    hashlib.sha256(BLOCK).digest()


def half_native() -> None:
    """Half of that work."""
    hashlib.sha256(BLOCK[: len(BLOCK) // 2]).digest()


def lock_and_native() -> None:
    """Two resources: 4 ms under a lock, then native code."""
    with one:
        time.sleep(HELD_S)
    hashlib.sha256(BLOCK).digest()


async def loop() -> None:
    """A coroutine that computes 1 ms in the event loop and waits for 5 ms."""
    spin(1)
    await asyncio.sleep(0.005)


@cache
def _living() -> None:
    LIVE.extend([i] for i in range(LIVING))


def collected() -> None:
    """Makes objects that stay for five requests, beside many that live: full collections take long."""
    _living()
    recent.append([[i] for i in range(YOUNG)])


def frozen() -> None:
    """The same with everything frozen that was loaded."""
    _freeze()
    collected()


@cache
def _freeze() -> None:
    _living()
    gc.freeze()
