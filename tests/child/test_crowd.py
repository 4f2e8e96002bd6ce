"""Several requests in flight: all answered, all counted, and answers compared with those of one alone."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from pinchpoint.child.crowd import Crowd, digest


def test_threads_are_in_flight_together():
    most, now, lock = [0], [0], threading.Lock()

    def call(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1

    visit = Crowd(call, [None]).visit(4, 0.1, None)
    assert most[0] == 4
    assert visit["load"] == 4
    assert visit["failed"] == 0
    assert visit["done"] > 40
    assert visit["latencies_ns"][0] >= 2e6
    assert visit["cpu_s"] < (visit["end_ns"] - visit["begin_ns"]) / 1e9


def test_tasks_are_in_flight_together():
    async def call(_):
        await asyncio.sleep(0.01)

    loop = asyncio.new_event_loop()
    visit = Crowd(call, [None]).visit(8, 0.1, loop)
    loop.close()
    assert 40 <= visit["done"] <= 8 * 11
    assert visit["failed"] == 0


def test_nothing_in_flight_is_left_alone():
    visit = Crowd(lambda _: 1 / 0, [None]).visit(0, 0.05, None)
    assert (visit["done"], visit["failed"]) == (0, 0)
    assert visit["end_ns"] - visit["begin_ns"] >= 0.05e9


def test_failures_are_counted_and_the_first_is_kept():
    def call(payload):
        if payload:
            raise ValueError("no")

    crowd = Crowd(call, [0, 1])
    visit = crowd.visit(2, 0.02, None)
    assert visit["failed"] > 0
    assert str(crowd.first_error) == "no"


def test_one_that_always_fails_ends():
    visit = Crowd(lambda _: 1 / 0, [None]).visit(2, 0.02, None)
    assert visit["done"] == 0
    assert visit["failed"] >= 1


def test_a_callable_that_mixes_answers_up_is_found():
    shared = {}

    def call(payload):
        shared["x"] = payload
        time.sleep(0.001)
        return {"answer": [shared["x"], np.arange(3)]}

    assert Crowd(call, [1, 2, 3, 4]).check(2)["different"] > 0


@pytest.mark.parametrize("call", [lambda payload: payload * 2, lambda _: np.ones((2, 2)), lambda _: time.time()])
def test_answers_that_are_the_same_or_never_are_not_called_wrong(call):
    assert Crowd(call, [1, 2]).check(2)["different"] == 0


def test_what_cannot_be_compared_has_no_digest():
    assert digest(object()) == b""
    assert digest([object()]) == b""
    assert digest(np.array([object()])) == b""
    assert digest([1, "a", b"b", None, 2.5, {"k": (1,)}, np.zeros(2)]) != digest(
        [1, "a", b"b", None, 2.5, {"k": (2,)}, np.zeros(2)]
    )
    nested = []
    nested.append(nested)
    assert digest(nested) == b""


def test_a_visit_begins_when_all_do_and_keeps_a_bounded_picture():
    begin = time.perf_counter_ns() + 50_000_000
    visit = Crowd(lambda _: None, [None]).visit(1, 0.05, None, begin)
    assert visit["begin_ns"] >= begin
    assert visit["done"] > 1000
    assert len(visit["latencies_ns"]) == 1000
    assert visit["latencies_ns"] == sorted(visit["latencies_ns"])
