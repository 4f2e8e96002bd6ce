"""Several requests in flight and slow requests, end to end, on programs whose limit is known by construction."""

from __future__ import annotations

import pytest

from end_to_end import diagnose, named, program

pytestmark = [pytest.mark.slow, pytest.mark.alone]
LOCK = """
    import threading, time
    lock = threading.Lock()
    def handle():
        {held}
        time.sleep(0.003)
"""


def capacity(found):
    return found["verdicts"]["capacity"]


def test_a_full_lock_and_its_healthy_twin(tmp_path):
    found = diagnose(tmp_path, program(tmp_path, LOCK.format(held="with lock: time.sleep(0.004)")), budget=22)
    named(found, "W104", question="capacity")
    named(found, "W110")
    (split,) = [p for p in found["predictions"] if p["change"]["remedy"] == "split-lock"]
    assert 1.5 < split["gain"]["value"] < 2.2
    ceilings = [d["ceiling_per_s"] for d in found["demands"] if d["resource"].startswith("lock app.py:")]
    assert all(c["value"] == pytest.approx(250, rel=0.1) for c in ceilings)
    free = diagnose(
        tmp_path, program(tmp_path, LOCK.format(held="with lock: pass\n        time.sleep(0.004)")), budget=22
    )
    assert capacity(free)["cause"] is None
    assert "grew" in capacity(free)["sentence"]


def test_the_interpreter_is_full_and_native_code_is_not(tmp_path):
    python = program(tmp_path, "def handle(): return sum(i * i for i in range(20_000))")
    found = diagnose(tmp_path, python, budget=22)
    gil = [d for d in found["demands"] if d["resource"] == "gil" and d["load"] == 1]
    assert gil[0]["utilization"]["value"] > 0.7
    assert capacity(found)["cause"] in ("W101", None)
    native = program(
        tmp_path, "import hashlib\nDATA = bytes(3_000_000)\ndef handle(): return hashlib.sha256(DATA).digest()"
    )
    assert capacity(diagnose(tmp_path, native, budget=22))["cause"] != "W101"


POOL = """
    import time
    from concurrent.futures import ThreadPoolExecutor
    pool = ThreadPoolExecutor({workers})
    def handle(): pool.submit(time.sleep, 0.004).result()
"""


def test_too_few_workers_and_enough_of_them(tmp_path):
    found = diagnose(tmp_path, program(tmp_path, POOL.format(workers=2)), budget=22)
    named(found, "W102", question="capacity")
    (more,) = [p for p in found["predictions"] if p["change"]["remedy"] == "more-workers"]
    assert 1.5 < more["gain"]["value"] < 2.2
    assert capacity(diagnose(tmp_path, program(tmp_path, POOL.format(workers=64)), budget=22))["cause"] != "W102"


SHARDS = """
    import itertools, time
    from concurrent.futures import ThreadPoolExecutor
    shards, turn = [ThreadPoolExecutor(1) for _ in range(2)], itertools.count()
    def handle(): shards[{which}].submit(time.sleep, 0.004).result()
"""


def test_requests_that_go_to_one_of_two_workers_and_by_turns(tmp_path):
    found = diagnose(tmp_path, program(tmp_path, SHARDS.format(which="next(turn) % 10 == 0")), budget=22)
    named(found, "W106", question="capacity")
    assert capacity(found)["where"] == "queue"
    (spread,) = [p for p in found["predictions"] if p["change"]["remedy"] == "spread-requests"]
    assert 1.5 < spread["gain"]["value"] < 2.2  # 1.8
    even = diagnose(tmp_path, program(tmp_path, SHARDS.format(which="next(turn) % 2")), budget=22)
    named(even, "W102", question="capacity")


LOOP = """
    import asyncio, hashlib
    data = bytes(2_000_000)
    def work(): {work}
    async def handle():
        {call}
        await asyncio.sleep(0.002)
"""


@pytest.mark.parametrize(("work", "call", "causes"), [
    ("hashlib.sha256(data).digest()", "work()", ("W105",)),  # the fault: native code in the loop
    ("hashlib.sha256(data).digest()", "await asyncio.to_thread(work)", (None, "C102")),  # its healthy twin
    ("sum(range(60_000))", "work()", ("W101",)),  # the look-alike: what computes is Python
])  # fmt: skip
def test_a_blocked_event_loop(tmp_path, work, call, causes):
    found = diagnose(tmp_path, program(tmp_path, LOOP.format(work=work, call=call)), budget=22)
    assert capacity(found)["cause"] in (*causes, None)
    loops = [d["utilization"]["value"] for d in found["demands"] if d["resource"] == "loop"]
    assert (max(loops) > 0.85) == (call == "work()")


@pytest.mark.parametrize(("source", "words"), [
    ("""
    import time
    now = [0]
    def handle():
        now[0] += 1
        mine = now[0]
        time.sleep(0.002)
        if now[0] != mine: raise RuntimeError("torn")
    """, "requests failed with 2 in flight: RuntimeError: torn"),
    ("""
    import time
    now = {}
    def example_inputs(): return [1, 2, 3, 4]
    def handle(number):
        now["x"] = number
        time.sleep(0.002)
        return now["x"]
    """, "Threads cannot serve it: "),
    ("""
    import os, threading, time
    def handle():
        if threading.current_thread() is not threading.main_thread() and threading.active_count() > 4: os.abort()
        time.sleep(0.002)
    """, "signal 6"),
])  # fmt: skip
def test_what_breaks_in_company_leaves_the_latency_as_it_is(tmp_path, source, words):
    found = diagnose(tmp_path, program(tmp_path, source), budget=22)
    named(found, "W110")
    assert found["valid"]
    assert words in capacity(found)["sentence"]


COLLECTED = """
    from collections import deque
    live = [[i] for i in range(60_000)]
    recent = deque(maxlen=5)
    def handle():
        recent.append([[i] for i in range(2000)])
"""


def test_slow_requests_are_those_that_collect_garbage(tmp_path):
    found = diagnose(tmp_path, program(tmp_path, COLLECTED), budget=10)
    named(found, "W109", question="tail")
    assert found["verdicts"]["tail"]["gain"]["value"] > 2
    quiet = diagnose(tmp_path, program(tmp_path, "def handle(): return sum(range(10_000))"), budget=10)
    assert quiet["verdicts"]["tail"]["cause"] != "W109"
