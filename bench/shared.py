"""Targets that share something: a lock, the interpreter, the CPUs. Each is fast alone and limited by what it shares.

Pairs are a program and the same program with a remedy done; their demands are sleeps and fixed numbers of steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import itertools
import math
import os
import random
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import IO

import pinchpoint
from bench.pipelines import spin
from bench.report import REPOSITORY
from bench.stopwatch import Holder

HELD_S, BESIDE_S = 0.004, 0.003
THINK_S, SERVED_S = 0.005, (0.0015, 0.002)
BLOCK = bytes(2_000_000)
YOUNG, LIVING = 2000, 60_000
SLOW_S = 0.012
LIVE: list[list[int]] = []
recent: deque[list[list[int]]] = deque(maxlen=5)
turns = itertools.count()
chance = random.Random(4)
ready = threading.Event()
ready.set()
one, first, second, third = (threading.Lock() for _ in range(4))
places, more_places = threading.Semaphore(3), threading.Semaphore(6)
two_workers, four_workers = ThreadPoolExecutor(2), ThreadPoolExecutor(4)
shards = [ThreadPoolExecutor(1) for _ in range(2)]
turn = itertools.count()


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
    """A lock that is hardly held."""
    with third:
        next(turns)
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


def pooled() -> None:
    """4 ms asleep in a pool of two workers: at most 500/s."""
    two_workers.submit(time.sleep, HELD_S).result()


def well_pooled() -> None:
    """The same with four workers: 1,000/s."""
    four_workers.submit(time.sleep, HELD_S).result()


def sharded() -> None:
    """4 ms asleep with one of two workers, nine times of ten the same one: at most 278/s."""
    shards[next(turn) % 10 == 0].submit(time.sleep, HELD_S).result()


def well_sharded() -> None:
    """The same by turns: 500/s."""
    shards[next(turn) % 2].submit(time.sleep, HELD_S).result()


def placed() -> None:
    """4 ms asleep in one of three places: at most 750/s."""
    with places:
        time.sleep(HELD_S)


def well_placed() -> None:
    """The same with six places."""
    with more_places:
        time.sleep(HELD_S)


class Exponential:
    """Exponential times of that mean: equally likely ones in random order, all of them before any comes again.

    So each block has the mean and, but for half a percent, the variance of all: some hundred requests show a law that as many
    independent times would hide behind their own chance.
    """

    BLOCK = 1000

    def __init__(self, mean_s: float) -> None:
        quantiles = [-math.log(1 - (number + 0.5) / self.BLOCK) for number in range(self.BLOCK)]
        self._times = [mean_s * each * self.BLOCK / sum(quantiles) for each in quantiles]
        self._left: list[float] = []

    def draw(self) -> float:
        """The next one, for any thread."""
        while True:
            try:
                return self._left.pop()
            except IndexError:
                self._left = random.sample(self._times, self.BLOCK)


class Station:
    """A lock that serves one after the other for exponential times (their mean in seconds).

    Each service begins when the one before it was due to end: what sleeps and handing over take longer here adds to none, so
    that the station has the demand that it was given, on any machine.
    """

    def __init__(self, mean_s: float) -> None:
        self.times, self.free_at = Exponential(mean_s), 0.0
        self.lock = threading.Lock()

    def serve(self, came: float) -> float:
        """When who came then is due to leave, slept until then; on the clock of `time.perf_counter`."""
        with self.lock:
            self.free_at = max(came, self.free_at) + self.times.draw()
            return asleep_until(self.free_at)


thinking = Exponential(THINK_S)
repair, other = (Station(mean_s) for mean_s in SERVED_S)


def repairman() -> None:
    """1.5 ms on average under a lock, 5 ms beside it, both exponential: machines that one repairman serves."""
    repair.serve(thought())


def tandem() -> None:
    """Exponential times under one lock and then under another, and beside both."""
    other.serve(repair.serve(thought()))


def thought() -> float:
    """The due end of an exponential time beside the stations, slept until then."""
    return asleep_until(time.perf_counter() + thinking.draw())


def asleep_until(due: float) -> float:
    """The same moment again, once it has come."""
    time.sleep(max(due - time.perf_counter(), 0.0))
    return due


def polled() -> None:
    """Waits for a timer although the answer is there: 3 ms of sleep beside 1 ms of work."""
    hashlib.sha256(BLOCK).digest()
    time.sleep(BESIDE_S)


def evented() -> None:
    """The same with an event that is set."""
    hashlib.sha256(BLOCK).digest()
    ready.wait()


def decoded() -> None:
    """Preprocessing that is the same each time, and some work after it."""
    with pinchpoint.stage("preprocess"):
        spin(3)
    with pinchpoint.stage("model"):
        spin(1)


def cached() -> None:
    """The same with what preprocessing made kept."""
    with pinchpoint.stage("model"):
        spin(1)


def computed() -> None:
    """60 ms of Python: more than a quota of 40 ms in 100 allows at once."""
    spin(60)


async def native_loop() -> None:
    """Native code in the event loop: it lets go of the interpreter, and the loop stands still all the same."""
    hashlib.sha256(BLOCK).digest()
    await asyncio.sleep(0.002)


async def native_thread() -> None:
    """The same handed to a thread."""
    await asyncio.to_thread(lambda: hashlib.sha256(BLOCK).digest())
    await asyncio.sleep(0.002)


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


# --- one request in thirty is slow, for a reason -------------------------------------------------------------------
def slept() -> None:
    """It waits for a timer."""
    spin(2)
    if seldom():
        time.sleep(SLOW_S)


def called() -> None:
    """It asks another service, which takes its time."""
    spin(2)
    if seldom():
        with the_service() as asked:
            asked.sendall(b"?")
            asked.recv(1)


def locked() -> None:
    """It finds a lock held by a thread that is not its own."""
    spin(2)
    if seldom():
        the_holder().wait()


def written() -> None:
    """It writes to disk and waits until that is done."""
    spin(2)
    if seldom():
        file = the_file()
        file.write(BLOCK)
        os.fsync(file.fileno())
        file.seek(0)


def heavy() -> None:
    """Nothing happens: what requests take is drawn from a distribution with a heavy tail."""
    spin(min(math.exp(chance.gauss(0.5, 0.6)), 20))


def seldom() -> bool:
    """Once in thirty requests, without a rhythm."""
    return chance.random() < 1 / 30


@contextlib.contextmanager
def the_service() -> Iterator[socket.socket]:
    """A connection to a service that answers late."""
    with socket.create_connection(_listening().getsockname()) as connection:
        yield connection


@cache
def _listening() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                time.sleep(SLOW_S)
                connection.sendall(b"!")

    threading.Thread(target=serve, daemon=True).start()
    return server


@cache
def the_holder() -> Holder:
    return Holder(SLOW_S)


@cache
def the_file() -> IO[bytes]:
    return tempfile.TemporaryFile(dir=REPOSITORY / "build")
