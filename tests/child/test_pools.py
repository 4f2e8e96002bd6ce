"""Thread pools and event loops are timed, and work as they did."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pinchpoint.child import held, pools
from pinchpoint.child.crowd import Crowd


@pytest.fixture
def watched(monkeypatch):
    for name in ("__init__", "submit"):
        monkeypatch.setattr(ThreadPoolExecutor, name, getattr(ThreadPoolExecutor, name))
    monkeypatch.setattr(held, "_tallies", [])
    before = held.totals()
    pools.watch()
    return lambda: held.since(before)


def test_work_is_counted_by_the_place_that_made_the_pool(watched):
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(lambda x: (time.sleep(0.02), x)[1], range(4))) == 6
    (found,) = watched()
    assert found["name"].startswith("test_pools.py:")
    assert (found["kind"], found["capacity"], found["count"]) == ("pool", 2, 4)
    assert found["held_s"] >= 0.08
    assert found["waited_s"] > 0.01


def test_of_pools_made_at_one_line_the_idle_ones_are_told_too(watched):
    first, second = (ThreadPoolExecutor(1) for _ in range(2))
    ThreadPoolExecutor(1).shutdown()  # another line, and never used
    first.submit(int).result()
    assert [each["count"] for each in watched()] == [1, 0]
    second.shutdown()
    first.shutdown()


def test_an_idle_pool_beside_it_is_none_of_the_same_crew(watched):
    first, second = ThreadPoolExecutor(1), ThreadPoolExecutor(1)  # by two instructions of one line
    of_two_sizes = [ThreadPoolExecutor(size) for size in (2, 3)]
    for pool in (first, of_two_sizes[0]):
        pool.submit(int).result()
    assert [(each["capacity"], each["count"]) for each in watched()] == [(1, 1), (2, 1)]
    for pool in (first, second, *of_two_sizes):
        pool.shutdown()


def test_the_default_pool_of_asyncio_is_known(watched):
    asyncio.run(asyncio.wait_for(asyncio.to_thread(time.sleep, 0.01), 5))
    (found,) = watched()
    assert found["name"] == "asyncio"
    assert found["capacity"] >= 1
    assert found["held_s"] >= 0.01


def test_what_raises_is_counted_and_raised(watched):
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result()
    assert watched()[0]["count"] == 1


def test_a_loop_is_busy_while_it_computes_and_idle_while_it_waits(monkeypatch):
    monkeypatch.setattr(held, "_tallies", [])

    def share(work):
        loop = asyncio.new_event_loop()
        visit = Crowd(work, [None]).visit(4, 0.3, loop)
        loop.close()
        return visit["held"][-1]["held_s"] / ((visit["end_ns"] - visit["begin_ns"]) / 1e9)

    async def computes(_):
        until = time.thread_time() + 0.002
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0)

    async def waits(_):
        await asyncio.sleep(0.005)

    assert share(computes) > 0.9
    assert share(waits) < 0.3


def test_what_passes_between_visits_is_not_the_loops(monkeypatch):
    monkeypatch.setattr(held, "_tallies", [])

    async def waits(_):
        await asyncio.sleep(0.005)

    loop = asyncio.new_event_loop()
    crowd = Crowd(waits, [None])
    crowd.visit(1, 0.05, loop)
    time.sleep(0.3)
    visit = crowd.visit(1, 0.05, loop)
    loop.close()
    assert visit["held"][-1]["held_s"] < 0.05


def test_a_loop_without_a_selector_of_pythons_is_left_alone(monkeypatch):
    monkeypatch.setattr(held, "_tallies", [])
    pools.LoopWatch(object()).begin()
    assert held.totals() == []
    assert threading.active_count() >= 1
