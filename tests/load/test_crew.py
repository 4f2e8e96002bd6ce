"""Workers in processes of their own: counted, thinned, drained, interrupted, killed."""

from __future__ import annotations

import base64
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_worker import REQUEST, closed, constant, plan

import hostile_server as h
from pinchpoint.errors import AnalysisFailed, TargetFailed, interrupts_heard, interrupts_held
from pinchpoint.load import crew, records
from pinchpoint.load.crew import ROW, Crew, Seen


# --- what was seen -------------------------------------------------------------------------------------------------
def rows(n, first=0, outcome=records.OK):
    made = np.zeros(n, ROW)
    made["due_ns"] = np.arange(first, first + n)
    made["done_ns"] = made["due_ns"] + 1_000_000
    made["outcome"] = outcome
    return made


def test_all_are_counted_and_some_are_kept(monkeypatch):
    monkeypatch.setattr(crew, "KEPT_ROWS", 1000)
    seen, first = Seen(), 0
    for size in [1, 3, 7, 500, 2, 900, 1, 1, 1, 3333, 5]:  # however they come
        seen.take(rows(size, first))
        first += size
        assert seen.kept == sum(map(len, seen.rows)) <= 1000
        assert seen.all_rows()["due_ns"].tolist() == list(range(0, first, seen.thinned))  # each k-th, without a gap
    assert seen.thinned == 8
    assert seen.outcomes.sum() == seen.counts.sum() == seen.done == first


def test_how_requests_ended_is_counted_by_kind():
    seen = Seen()
    for kind, n in [
        (records.OK, 5),
        (records.STATUS, 3),
        (records.TIMEOUT, 2),
        (records.CUT_OFF, 4),
        (records.UNSENT, 1),
    ]:
        made = rows(n, outcome=kind)
        made["status"] = np.where(np.arange(n) < 2, 503, 404) if kind == records.STATUS else 200
        seen.take(made)
    assert (seen.done, seen.failed) == (11, 6)
    assert seen.statuses == {503: 2, 404: 1}
    assert seen.counts.sum() == 5  # only answers have a latency
    assert len(seen.all_rows()) == 15


# --- processes -----------------------------------------------------------------------------------------------------
def level(arrivals, **more):
    return {"arrivals": arrivals, "seconds": 0.0, "count": 0, "spacing_s": 0.0, **more}


def unwatched(_seen, _seconds):
    return ""


@pytest.fixture
def manned():
    """A crew that is ended whatever happens."""
    crews = []

    def start(server, workers=1, **more):
        made = plan(server, **more)
        crews.append(Crew({key: value for key, value in made.items() if key not in ("worker", "workers")}, workers))
        return crews[-1]

    yield start
    pids = [worker._process.pid for each in crews for worker in each._workers]
    for each in crews:
        each.close()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def adds_up(seen):
    assert seen.lost == 0
    assert seen.counters[records.SENT] == seen.outcomes.sum() == len(seen.all_rows()) * seen.thinned
    return seen


@pytest.mark.parametrize("workers", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("arrivals", [closed(4), constant(2000.0)])
def test_a_count_is_shared_between_workers(manned, workers, arrivals):
    with h.Server() as server:
        made = manned(server, workers)
        for _ in range(2):
            seen = adds_up(made.drive(level(arrivals, count=100), unwatched, 20.0))
            assert (seen.stopped, seen.done, seen.failed) == ("", 100, 0)
        assert server.requests == 200
    if arrivals["loop"] == "burst":
        due = np.sort(seen.all_rows()["due_ns"])
        np.testing.assert_array_equal(due, seen.begin_ns + np.arange(100) * 500_000)


def test_what_watches_can_stop_a_level(manned):
    with h.Server(h.late(0.2)) as server:
        made = manned(server)
        seen = adds_up(made.drive(level(closed(4), seconds=60.0), lambda *_: "enough", 20.0))
        assert seen.stopped == "enough"
        assert seen.outcomes[records.CUT_OFF] > 0
        assert adds_up(made.drive(level(closed(4), count=8), unwatched, 20.0)).done == 8  # and the next one goes on


def test_a_level_that_does_not_end_is_stopped(manned):
    with h.Server(h.silent) as server:
        seen = adds_up(manned(server, timeout_s=60.0).drive(level(closed(2), seconds=0.1), unwatched, 0.3))
    assert seen.stopped == crew.TOO_LONG
    assert seen.outcomes[records.CUT_OFF] == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSEGV, marks=pytest.mark.slow)])
def test_a_worker_that_is_killed(manned, number):
    with h.Server() as server:
        made = manned(server, 2)

        def kills(_seen, _seconds):
            os.kill(made._workers[1]._process.pid, number)
            return ""

        with pytest.raises(TargetFailed) as caught:
            made.drive(level(closed(2), seconds=60.0), kills, 5.0)
    assert f"a client process was killed by signal {number:d}, {number.name}" in str(caught.value)


def test_a_worker_that_fails_says_its_last_words(manned):
    with (
        h.Server() as server,
        pytest.raises(AnalysisFailed, match="a client process ended with exit code 1: TypeError"),
    ):
        manned(server).drive(level({"loop": "closed", "no such": 1}), unwatched, 5.0)


def test_a_plan_that_cannot_be_followed(manned):
    with pytest.raises(AnalysisFailed, match="a client process ended with exit code 1: FileNotFoundError"):
        manned(1, tls=True, ca="/no/such/file")


def test_a_worker_never_blocks_on_its_own_words(manned):
    """What it says on stderr is read by nobody while it lives."""
    with h.Server() as server:
        made = manned(server)
        pid = made._workers[0]._process.pid
        flags = Path(f"/proc/{pid}/fdinfo/2").read_text().split("flags:")[1].split()[0]
        assert int(flags, 8) & os.O_NONBLOCK


def test_a_worker_imports_nothing_from_the_current_folder(manned, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("1 / 0")
    (tmp_path / "uvloop.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    with h.Server() as server:
        assert manned(server).drive(level(closed(1), count=3), unwatched, 5.0).done == 3


def test_no_secret_is_on_a_command_line(manned):
    secret = "sesame-open-4711"
    request = REQUEST.replace(b"\r\n\r\n", f"\r\nAuthorization: {secret}\r\n\r\n".encode())
    with h.Server() as server:
        made = manned(server, requests=[base64.b64encode(request).decode()])
        shown = Path(f"/proc/{made._workers[0]._process.pid}/cmdline").read_bytes()
    assert b"pinchpoint.load.worker" in shown
    assert secret.encode() not in shown
    assert base64.b64encode(secret.encode())[:12] not in shown


# --- interrupts ----------------------------------------------------------------------------------------------------
def interrupted_after(seconds):
    """Send this process what Ctrl-C sends, once and again."""
    timers = [threading.Timer(each, os.kill, (os.getpid(), signal.SIGINT)) for each in seconds]
    for each in timers:
        each.start()
    return timers


@pytest.mark.parametrize(
    ("held", "times"), [(False, (0.2,)), (True, (0.2, 0.21)), pytest.param(True, (0.2,), marks=pytest.mark.slow)]
)
def test_an_interrupt_ends_a_level_and_loses_nothing(manned, held, times):
    with h.Server() as server:
        made = manned(server)
        timers = []

        def watch(seen, _seconds):
            if seen.done and not timers:
                timers.extend(interrupted_after(times))
            return ""

        def drive():
            return adds_up(made.drive(level(closed(2), seconds=60.0), watch, 5.0))

        if held:
            with interrupts_held(), interrupts_heard():
                seen = drive()
                for each in timers:  # the second one may come when all is over
                    each.join()
        else:
            seen = drive()
    assert seen.stopped == "interrupted"
    assert seen.done > 0


def test_an_interrupt_while_connections_are_made_is_heard(manned):
    with h.Server(accepts=False, backlog=0) as server:
        made = manned(server, timeout_s=60.0)
        timers = interrupted_after((0.3,))
        begin = time.monotonic()
        seen = made.drive(level(closed(8), seconds=60.0), unwatched, 120.0)
        for each in timers:
            each.join()
        assert time.monotonic() - begin < 30
    assert seen.stopped == "interrupted"
    assert seen.outcomes.sum() == 0
    assert seen.end_ns > seen.begin_ns


# --- what answers tell of their stages -----------------------------------------------------------------------------
def tells(call):
    call.write(h.answer(more=b"Server-Timing: db;dur=1;at=0.5, app;dur=2\r\nServer-Timing: total;dur=4\r\n"))


def test_stages_that_answers_tell_come_with_their_requests(manned):
    """GIVEN one request in flight THEN each answer's metrics are there, known by when it was done; with more, nothing is kept."""
    with h.Server(tells) as server:
        made = manned(server, timed=True, timings=True)
        one = made.drive(level(closed(1), count=300), unwatched, 30.0)
        again = made.drive(level(closed(1), count=50), unwatched, 30.0)
        more = made.drive(level(closed(2), count=50), unwatched, 30.0)
    for seen, count in ((one, 300), (again, 50)):
        told = seen.all_timings()
        assert told["name"].tolist() == [b"db", b"app", b"total"] * count
        assert told["at_ns"].tolist() == [500_000, -1, -1] * count
        assert told["length_ns"].tolist() == [1_000_000, 2_000_000, 4_000_000] * count
        assert told["done_ns"][::3].tolist() == seen.all_rows()["done_ns"].tolist()
        assert set(seen.all_rows()["server_ns"].tolist()) == {4_000_000}
    assert len(more.all_timings()) == 0
    assert more.done == 50


def test_nothing_is_kept_of_stages_where_nobody_asks(manned):
    with h.Server(tells) as server:
        seen = manned(server, timed=True).drive(level(closed(1), count=50), unwatched, 30.0)
    assert len(seen.all_timings()) == 0
