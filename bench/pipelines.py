"""Targets whose cells are known by construction, and which time their own parts: the truth that the ledger is held to.

A part is known to compute (a fixed number of loop steps) or to block (a sleep, a lock that another thread holds, a read
of a throttled device). Of a computing part the CPU time is its wall time less the run-queue delay, and not what a CPU
clock says.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pinchpoint
from bench.stopwatch import Device, Holder, Watch, raw_ns

MS_STEPS = 80_000  # empty loop steps that take about a millisecond on a server core of today
HELD_S = 0.005
MARKERS = 20  # stages in a request of `markers`


# What the pipelines share is made when it is first used: importing this module starts nothing.
@cache
def the_watch() -> Watch:
    return Watch()


@cache
def the_holder() -> Holder:
    return Holder(HELD_S)


@cache
def the_device() -> Device:
    return Device()


@cache
def the_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


def spin(milliseconds: float) -> None:
    """A fixed number of instructions, about so many milliseconds long."""
    for _ in range(int(milliseconds * MS_STEPS)):
        pass


# --- pipelines: functions of one request ---------------------------------------------------------------------------
def loop() -> None:
    watch = the_watch()
    watch.begin()
    spin(5)
    watch.computed("framework")
    watch.end()


def sleeps() -> None:
    watch = the_watch()
    watch.begin()
    spin(2)
    watch.computed("framework")
    time.sleep(0.004)
    watch.blocked("framework", "wait")
    watch.end()


def short() -> None:
    """A millisecond in three stages."""
    watch = the_watch()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        spin(0.3)
        watch.computed("preprocess")
    with pinchpoint.stage("model"):
        time.sleep(0.0004)
        watch.blocked("model", "wait")
    with pinchpoint.stage("postprocess"):
        spin(0.2)
        watch.computed("postprocess")
    watch.end()


def lock() -> None:
    watch, holder = the_watch(), the_holder()
    watch.begin()
    spin(2)
    watch.computed("framework")
    holder.wait()
    watch.held_until("framework", holder.released_ns)
    watch.end()


def disk() -> None:
    watch, device = the_watch(), the_device()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        device.read()
        watch.blocked("preprocess", "disk")
    with pinchpoint.stage("model"):
        spin(20)
        watch.computed("model")
    watch.end()


def mixed() -> None:
    """Each stage in a state of its own: computing, a timer, a lock, computing."""
    watch, holder = the_watch(), the_holder()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        spin(3)
        watch.computed("preprocess")
    with pinchpoint.stage("model"):
        time.sleep(0.003)
        watch.blocked("model", "wait")
    with pinchpoint.stage("postprocess"):
        holder.wait()
        watch.held_until("postprocess", holder.released_ns)
        spin(1)
        watch.computed("postprocess")
    watch.end()


def nested() -> None:
    """Stages inside stages, and work outside of all."""
    watch = the_watch()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        spin(1)
        watch.computed("preprocess")
        with pinchpoint.stage("deserialize"):
            spin(1)
            watch.computed("deserialize")
            time.sleep(0.001)
            watch.blocked("deserialize", "wait")
        spin(1)
        watch.computed("preprocess")
    with pinchpoint.stage("model"):
        spin(2)
        watch.computed("model")
    spin(1)
    watch.computed("framework")
    watch.end()


async def coroutine() -> None:
    """A timer of the event loop."""
    watch = the_watch()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        spin(2)
        watch.computed("preprocess")
    with pinchpoint.stage("model"):
        await asyncio.sleep(0.004)
        watch.blocked("model", "wait")
    watch.end()


def pool() -> None:
    """Work handed to another thread, which the request waits for."""
    watch, executor = the_watch(), the_pool()
    watch.begin()
    with pinchpoint.stage("preprocess"):
        spin(2)
        watch.computed("preprocess")
    with pinchpoint.stage("model"):
        worked, delayed = executor.submit(_work, watch).result()
        watch.handed("model", worked, delayed)
    watch.end()


def _work(watch: Watch) -> tuple[int, int]:
    """Nanoseconds of wall time and of run-queue delay of a fixed loop, in whichever thread this is."""
    delay, began = watch.run_delay(), raw_ns()
    spin(5)
    return raw_ns() - began, watch.run_delay() - delay


def markers() -> None:
    """A usual request, of 2 ms, with stages that hold nothing; the row's wall time is that of the stages alone."""
    watch = the_watch()
    spin(2)
    began = raw_ns()
    for _ in range(MARKERS):
        with pinchpoint.stage("preprocess"):
            pass
    marked = raw_ns()
    for _ in range(MARKERS):
        pass
    counted = raw_ns()
    watch.begin()
    watch.took((marked - began) - (counted - marked))
    watch.end()
