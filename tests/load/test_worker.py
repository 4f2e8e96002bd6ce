"""A worker against servers that behave badly: what was sent has ended, each in its own way, and the worker goes on.

The worker runs in the test's own process, so that its inside can be looked at; `test_crew` has it in one of its own.
"""

from __future__ import annotations

import array
import asyncio
import base64
import collections
import fcntl
import json
import os
import termios
import time

import numpy as np
import pytest
import uvloop

import hostile_server as h
from pinchpoint.load import records, worker
from pinchpoint.load.crew import ROW
from pinchpoint.load.worker import Worker

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def plan(server, **more):
    host, port, unix = "127.0.0.1", getattr(server, "port", server), getattr(server, "unix", None) or ""
    return {
        "kind": "http", "requests": [base64.b64encode(REQUEST).decode()], "statuses": [], "check": [], "stream": False,
        "host": host, "port": port, "unix": unix, "tls": False, "name": host, "ca": None, "insecure": False,
        "timeout_s": 5.0, "seed": 0, "target": "/", "worker": 0, "workers": 1, **more,
    }  # fmt: skip


def closed(concurrency=1, think_s=0.0):
    return {"loop": "closed", "concurrency": concurrency, "think_s": think_s}


def constant(rate_per_s, burst=1):
    return {"loop": "burst", "rate_per_s": rate_per_s, "burst": burst}


class Driven:
    """What came of the levels that a worker drove."""

    def __init__(self, worker, ring):
        self.worker = worker
        rows = np.frombuffer(ring.memory, ROW, records.ROWS, records.HEAD_BYTES)[: worker._written].copy()
        self.rows, self.head = rows, list(ring.head[:8])

    @property
    def kinds(self):
        """How many ended in each way."""
        return collections.Counter(records.OUTCOMES[each] for each in self.rows["outcome"])

    def of(self, kind):
        return self.rows[self.rows["outcome"] == records.OUTCOMES.index(kind)]


def drive(server, arrivals, *, count=0, seconds=0.0, spacing_s=0.0, meanwhile=None, levels=1, **more):
    """Levels driven by one worker; what was sent has ended, and the rows are in order."""

    async def main():
        ring = records.Ring(records.new_ring("test"))
        loop = asyncio.get_running_loop()
        made = Worker(plan(server, **more), ring, loop)
        level = {"arrivals": arrivals, "seconds": seconds, "count": count, "spacing_s": spacing_s}
        for _ in range(levels):
            await made.prepare(level)
            also = loop.create_task(meanwhile(made)) if meanwhile else None
            await asyncio.wait_for(made.run(level, time.monotonic_ns() + 5_000_000), 60)
            if also:
                await also
        assert not made._waiting
        assert not [each for each in made._connections if each.busy]
        await asyncio.sleep(0)
        found = Driven(made, ring)
        made.close()
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(main())
    assert found.worker._sent == found.worker._written == len(found.rows)
    assert found.head[records.SENT] == found.head[records.WRITTEN] == len(found.rows)
    rows = found.rows
    assert (rows["due_ns"] <= rows["done_ns"]).all()
    left = rows[rows["sent_ns"] > 0]
    assert (left["due_ns"] <= left["sent_ns"]).all()
    assert (left["sent_ns"] <= left["done_ns"]).all()
    assert (rows["first_ns"][rows["outcome"] == records.OK] > 0).all()
    return found


# --- each bad day of an answer -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("behaviour", "kinds"),
    [
        (h.good, {"ok"}),
        (h.says_close, {"ok"}),
        (h.until_close, {"ok"}),
        (h.closes, {"closed", "reset"}),
        (h.resets, {"reset", "closed"}),
        (h.resets_midway, {"reset", "short"}),
        (h.closes_midway, {"short"}),
        (h.malformed, {"malformed"}),
        (h.endless_head, {"malformed"}),
        (h.endless_line, {"malformed"}),
        (h.unavailable, {"status"}),
        (h.redirects, {"status"}),
        (h.escapes, {"ok"}),
        (h.escapes_esc, {"malformed"}),
        (h.every(2, h.good, h.closes_midway), {"ok", "short"}),
        (h.every(2, h.good, h.resets), {"ok", "reset", "closed"}),
    ],
)
@pytest.mark.parametrize("arrivals", [closed(3), pytest.param(constant(400.0), marks=pytest.mark.slow)])
def test_every_request_ends_in_one_way(behaviour, kinds, arrivals):
    with h.Server(behaviour) as server:
        found = drive(server, arrivals, count=40)
    assert len(found.rows) == 40
    assert set(found.kinds) <= kinds
    assert found.kinds.keys() & {"ok"} == kinds & {"ok"}


@pytest.mark.parametrize("arrivals", [closed(3), constant(200.0)])
def test_a_server_that_never_answers(arrivals):
    with h.Server(h.silent) as server:
        found = drive(server, arrivals, count=6, timeout_s=0.2)
    assert found.kinds == {"timeout": 6}
    assert (found.rows["done_ns"] - found.rows["due_ns"] >= 200_000_000).all()


def test_any_timeout_will_do():
    with h.Server() as server:
        assert drive(server, closed(2), count=5, timeout_s=1e6).kinds == {"ok": 5}
        assert drive(server, closed(2), count=5, timeout_s=1e15).kinds == {"ok": 5}


@pytest.mark.parametrize("arrivals", [closed(3), constant(200.0)])
def test_nobody_listens(arrivals):
    assert drive(h.unused_port(), arrivals, count=12).kinds == {"refused": 12}


@pytest.mark.slow
@pytest.mark.parametrize("arrivals", [closed(3), constant(50.0)])
def test_a_server_that_accepts_nothing(arrivals):
    """Its queue of new connections is full: they are made once in a while, if at all."""
    with h.Server(accepts=False, backlog=0) as server:
        found = drive(server, arrivals, count=12, timeout_s=0.3)
    assert found.kinds == {"timeout": 12}
    assert (found.rows["done_ns"] - found.rows["due_ns"] >= 300_000_000).all()


@pytest.mark.parametrize("greets", [h.reset, lambda transport: transport.close()])
@pytest.mark.parametrize("arrivals", [closed(2), constant(200.0)])
def test_a_server_that_gives_up_each_connection_at_once(greets, arrivals):
    begin = time.monotonic()
    with h.Server(greets=greets) as server:
        found = drive(server, arrivals, count=20, timeout_s=20.0)
    assert set(found.kinds) <= {"closed", "reset"}
    assert time.monotonic() - begin < 20  # none of them was waited for until its time was up
    assert not found.worker._connections


@pytest.mark.parametrize("arrivals", [closed(4), constant(400.0)])
def test_a_server_that_closes_without_a_word(arrivals):
    """A request that raced with the end of its connection is a failure of its kind, and is not sent again."""
    with h.Server(h.closes_after) as server:
        found = drive(server, arrivals, count=60)
        assert set(found.kinds) <= {"ok", "closed", "reset"}
        assert found.kinds["ok"] >= 20
        assert server.requests <= 60


def test_a_connection_that_was_closed_while_it_was_idle_is_made_anew():
    def lets_go(transport):
        server.loop.call_later(0.05, transport.close)

    with h.Server(greets=lets_go) as server:
        found = drive(server, closed(1, think_s=0.1), count=5)
        assert found.kinds == {"ok": 5}
        assert server.connections >= 5


def test_bytes_that_come_unasked_are_counted_and_no_failure():
    with h.Server(h.talks_on) as server:
        found = drive(server, closed(1, think_s=0.02), count=5)
    assert found.kinds == {"ok": 5}
    assert found.head[records.UNASKED] >= 1


# --- closed loops --------------------------------------------------------------------------------------------------
def test_a_closed_loop_keeps_its_requests_in_flight_whatever_happens():
    """A place whose request timed out before it had a connection is taken again: none is lost over time."""
    with h.Server(accepts=False, backlog=0) as server:
        found = drive(server, closed(8), seconds=1.0, timeout_s=0.1)
    begin = found.rows["due_ns"].min()
    late = found.rows["due_ns"] > begin + 500_000_000
    assert np.count_nonzero(late) >= 8


def test_a_request_is_due_when_the_one_before_it_has_ended():
    with h.Server() as server:
        found = drive(server, closed(1), count=50)
        paused = drive(server, closed(1, think_s=0.005), count=20)
    assert (found.rows["due_ns"][1:] == found.rows["done_ns"][:-1]).all()
    assert (paused.rows["due_ns"][1:] == paused.rows["done_ns"][:-1] + 5_000_000).all()


def test_more_than_is_permitted_is_never_sent():
    """Not at the start either, nor by several workers together."""
    with h.Server(h.unavailable) as server:
        for number in range(3):
            found = drive(server, closed(30), count=12, spacing_s=0.01, worker=number, workers=3)
            assert (np.diff(np.sort(found.rows["due_ns"])) >= 30_000_000).all()
        alone = drive(server, closed(1), count=9, spacing_s=0.01, workers=3)
    refused = drive(h.unused_port(), closed(30), count=30, spacing_s=0.01)
    for found in (alone, refused):
        assert (np.diff(np.sort(found.rows["due_ns"])) >= 10_000_000).all()
    due = np.sort(alone.rows["due_ns"])
    assert np.median(np.diff(due)) < 30_000_000  # who sends nothing takes no turn


# --- open loops ----------------------------------------------------------------------------------------------------
def test_an_open_loop_sends_whatever_comes_back():
    with h.Server(h.late(0.2)) as server:
        found = drive(server, constant(200.0), count=60)
        assert server.connections > 16  # more than it began with
    assert found.kinds == {"ok": 60}
    due = np.sort(found.rows["due_ns"])
    np.testing.assert_array_equal(np.diff(due), 5_000_000)


def test_latency_runs_from_due_when_connections_are_short(monkeypatch):
    monkeypatch.setattr(worker, "MOST_CONNECTIONS", 1)
    with h.Server(h.late(0.05)) as server:
        found = drive(server, constant(200.0), count=6)
        assert server.connections == 1
    assert found.kinds == {"ok": 6}
    waited = (found.rows["sent_ns"] - found.rows["due_ns"]) / 1e9
    assert waited[-1] >= 0.2  # five times 50 ms, less the 25 ms until it was due


def test_a_time_is_up_at_the_same_moment_whether_a_request_waits_or_is_under_way(monkeypatch):
    monkeypatch.setattr(worker, "MOST_CONNECTIONS", 2)
    with h.Server(h.silent) as server:
        found = drive(server, constant(100.0), count=30, timeout_s=0.3)
    took = (found.rows["done_ns"] - found.rows["due_ns"]) / 1e9
    assert found.kinds == {"timeout": 30}
    assert (took >= 0.3).all()
    assert np.median(took) < 0.6  # from due: twice as long, if it began with the sending


@pytest.mark.slow
def test_what_waits_for_a_connection_is_bounded(monkeypatch):
    monkeypatch.setattr(worker, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(worker, "MOST_WAITING", 10)
    with h.Server(h.late(0.05)) as server:
        found = drive(server, constant(1000.0), count=100)
    assert found.kinds["unsent"] >= 60
    assert set(found.kinds) == {"ok", "unsent"}
    assert (found.of("unsent")["sent_ns"] == 0).all()


# --- a server that dies and comes back -----------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("arrivals", [closed(4), constant(200.0)])
def test_a_server_that_restarts(arrivals):
    async def restart(_):
        await asyncio.sleep(0.5)
        server.die()
        await asyncio.sleep(1.0)
        server.begin()

    with h.Server() as server:
        found = drive(server, arrivals, seconds=2.5, meanwhile=restart)
    order = found.rows[np.argsort(found.rows["due_ns"])]
    assert set(found.kinds) <= {"ok", "reset", "closed", "refused"}
    assert found.kinds["refused"] > 10
    assert order["outcome"][0] == order["outcome"][-1] == records.OK
    assert order["due_ns"][-1] - order["due_ns"][0] > 2_000_000_000


# --- its end -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "behaviour", [h.silent, *(pytest.param(each, marks=pytest.mark.slow) for each in (h.endless_body, h.loris))]
)
@pytest.mark.parametrize("arrivals", [closed(4), closed(2, think_s=10.0), constant(100.0)])
def test_a_stop_gives_up_what_is_under_way(behaviour, arrivals):
    async def stop(made):
        await asyncio.sleep(0.15)
        made.stop()

    with h.Server(behaviour) as server:
        found = drive(server, arrivals, seconds=60.0, timeout_s=60.0, meanwhile=stop)
    assert found.kinds["cut_off"] == len(found.rows) > 0


def test_a_stop_gives_up_connections_that_are_being_made():
    async def stop(made):
        await asyncio.sleep(0.1)
        made.stop()

    with h.Server(accepts=False, backlog=0) as server:
        found = drive(server, closed(4), seconds=60.0, timeout_s=0.5, meanwhile=stop)
    assert set(found.kinds) == {"cut_off"}
    assert found.worker._dialling == 0


def test_levels_follow_each_other_on_the_same_connections():
    with h.Server() as server:
        found = drive(server, closed(4), count=40, levels=3)
        assert server.connections == 4
    assert found.kinds == {"ok": 120}


@pytest.mark.slow
def test_four_thousand_in_flight():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 10_000:
        pytest.skip("too few file descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    try:
        with h.Server(h.late(0.2), backlog=4096) as server:
            found = drive(server, closed(4096), count=8192, timeout_s=30.0)
            assert server.connections == 4096
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.kinds == {"ok": 8192}


# --- the pipe ------------------------------------------------------------------------------------------------------
def served(*orders, answers_wanted=0, wait_s=0.0):
    """What `serve` answers to orders that are all there when it begins, and its worker; the pipe is closed once there are so
    many answers.
    """
    ring = records.Ring(records.new_ring("test"))
    to_read, to_write = os.pipe()
    answers, told = os.pipe()
    made = []

    async def main():
        loop = asyncio.get_running_loop()

        async def write():
            lines = b"".join(json.dumps(each).encode() + b"\n" for each in orders)
            for at in range(0, len(lines), 1 << 15):
                await loop.run_in_executor(None, os.write, to_write, lines[at : at + (1 << 15)])
            deadline = time.monotonic() + 20
            while waiting(answers) < answers_wanted and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            await asyncio.sleep(wait_s)
            os.close(to_write)

        await asyncio.wait_for(asyncio.gather(worker.serve(ring, to_read, told), write()), 30)

    original = worker._made
    worker._made = lambda *given: made.append(original(*given)) or made[-1]
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    finally:
        worker._made = original
        os.close(told)
    said = os.read(answers, 1 << 16).decode().splitlines()
    os.close(answers)
    return [json.loads(each)["did"] for each in said], made[0], ring


def waiting(descriptor):
    """Answers in a pipe that nobody has read yet."""
    found = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, found)
    return found[0] // len(b'{"did": "run"}\n')


def level(do, arrivals=None, **more):
    order = {"do": do, "arrivals": arrivals or closed(2), "seconds": 0.0, "count": 20, "spacing_s": 0.0, **more}
    return order | ({"start_ns": time.monotonic_ns()} if do == "run" else {})


def test_orders_are_answered_one_by_one():
    with h.Server() as server:
        did, made, _ = served({"do": "plan", **plan(server)}, level("prepare"), level("run"), answers_wanted=3)
    assert did == ["plan", "prepare", "run"]
    assert made._written == 20


def test_a_stop_that_comes_before_its_level_began_stops_it():
    with h.Server() as server:
        orders = [{"do": "plan", **plan(server)}, level("prepare"), level("run", seconds=60.0, count=0), {"do": "stop"}]
        did, made, _ = served(*orders, answers_wanted=3)
        assert did == ["plan", "prepare", "run"]
        assert made._written == 0
        again = [level("prepare"), level("run")]
        did, made, _ = served(*orders[:2], {"do": "stop"}, *again, answers_wanted=4)
        assert made._written == 20


def test_a_pipe_that_closes_ends_the_level():
    with h.Server(h.silent) as server:
        orders = [{"do": "plan", **plan(server, timeout_s=60.0)}, level("prepare"), level("run", seconds=60.0, count=0)]
        _, made, _ = served(*orders, wait_s=0.3)
    assert made._sent == made._written


@pytest.mark.slow
def test_large_payloads_reach_the_worker():
    """In pieces of the pipe's size, each of which is looked at once."""
    body = base64.b64encode(bytes(24 << 20)).decode()
    begin = time.process_time()
    _, made, _ = served({"do": "plan", **plan(1), "requests": [body]}, wait_s=0.0)
    assert len(made.requests[0]) == 24 << 20
    assert time.process_time() - begin < 10


@pytest.mark.slow
def test_all_that_waits_is_told_when_it_is_given_up(monkeypatch):
    """As many as may wait: the ring holds them, so that its reader loses none."""
    monkeypatch.setattr(worker, "MOST_CONNECTIONS", 1)
    assert worker.MOST_WAITING < records.READABLE

    async def stop(made):
        while made._sent < 3000:
            await asyncio.sleep(0.01)
        head = made.ring.head[records.WRITTEN]
        made.stop()
        assert made.ring.head[records.WRITTEN] > head + 2500

    with h.Server(h.silent) as server:
        found = drive(server, constant(20_000.0), seconds=60.0, timeout_s=60.0, meanwhile=stop)
    assert found.kinds["cut_off"] == len(found.rows)
