"""The ladder and its crews, on crews whose throughput is a formula and on a child that is a dictionary."""

from __future__ import annotations

import time

import pytest

from pinchpoint import ladder
from pinchpoint.crews import Processes, _merged
from pinchpoint.domain.run import Visit
from pinchpoint.ladder import COMPLETE, Climb, Unsafe, climb
from pinchpoint.process import Ended


class Formula:
    """Serves `rate(load)` a second without taking the time."""

    def __init__(self, rate, *, failing_from=99, wrong="", full_from=999, dies_at=99):
        self.rate, self.failing_from, self.wrong = rate, failing_from, wrong
        self.full_from, self.dies_at, self.asked = full_from, dies_at, []

    def visit(self, load, seconds):
        if load >= self.dies_at:
            raise Ended("its process was ended by signal 6, SIGABRT")
        self.asked.append(load)
        done = round(self.rate(load) * seconds) if load else 0
        failed = done // 10 if load >= self.failing_from else 0
        return Visit(load, 0, int(seconds * 1e9), done, failed, 0.0, 0.001, (0.001,) * 3), "no" if failed else None

    def wrong_answers(self):
        return self.wrong

    def full(self, load):
        return "memory is full" if load >= self.full_from else ""


def plan(seconds=30.0, **more):
    given = {"typical_s": 0.001, "fails_alone": 0.0, "seed": 1, "compared": True, **more}
    return Climb(deadline=time.monotonic() + seconds, **given)


def test_it_climbs_until_throughput_stops_growing():
    crew = Formula(lambda load: 1000 * min(load, 4))
    visits, ended = climb(crew, plan())
    assert ended == COMPLETE
    assert crew.asked[:6] == [0, 1, 2, 4, 8, 16]  # two loads without growth
    assert sorted(crew.asked) == sorted([0, 1, 2, 4, 8, 16] * 5)
    assert len(visits) == len(crew.asked)


@pytest.mark.parametrize(("crew", "words", "loads"), [
    (Formula(lambda load: load * 100, full_from=8), "memory is full", {0, 1, 2, 4}),
    (Formula(lambda load: load * 100), "still grew at 64", {0, 1, 2, 4, 8, 16, 32, 64}),
    (Formula(lambda load: load * 100, dies_at=4), "signal 6", {0, 1, 2}),
])  # fmt: skip
def test_why_it_went_no_further(crew, words, loads):
    visits, ended = climb(crew, plan())
    assert words in ended
    assert {visit.load for visit in visits} == loads


@pytest.mark.parametrize(("crew", "words", "loads"), [
    (Formula(lambda load: load * 100, failing_from=2), "requests failed with 2 in flight: no", {0, 1}),
    (Formula(lambda load: load * 100, wrong="3 of 16 answers differ"), "3 of 16", {0, 1, 2}),
])  # fmt: skip
def test_what_several_at_once_break_is_unsafe(crew, words, loads):
    with pytest.raises(Unsafe, match=words) as raised:
        climb(crew, plan())
    assert {visit.load for visit in raised.value.visits} == loads


def test_failures_that_happen_alone_as_well_are_nobodys_fault():
    assert climb(Formula(lambda load: 500, failing_from=1), plan(fails_alone=0.1))[1] == COMPLETE


@pytest.mark.parametrize(("missing_s", "said"), [(0.01, 1), (0.9, 1), (1.5, 2)])
def test_too_little_time_is_said_in_whole_seconds_that_are_enough(monkeypatch, missing_s, said):
    monkeypatch.setattr(ladder.time, "monotonic", lambda: 1000.0)
    needed = ladder.LEAST_S + 4 * ladder.REQUESTS_A_VISIT * 0.001
    visits, words = climb(Formula(lambda load: 1), plan(seconds=needed - missing_s))
    assert visits == ()
    assert words == f"too little time was left: {said} s more of --budget would do"


def test_much_time_makes_longer_visits():
    assert plan(seconds=5).visit_s(time.monotonic()) == pytest.approx(0.25)
    assert 0.9 < plan(seconds=35).visit_s(time.monotonic()) <= 1.0
    assert plan(typical_s=3.0).visit_s(time.monotonic()) == 3.0


def part(done, latency_ms, begin=0, end=1_000_000_000):
    return {"begin_ns": begin, "end_ns": end, "done": done, "failed": 1, "cpu_s": 0.5, "mean_s": latency_ms / 1e3,
            "latencies_ns": [int(latency_ms * 1e6)] * min(done, 10), "held": ()}  # fmt: skip


def test_processes_add_up():
    """GIVEN nine tenths of the requests at 1 ms and a tenth at 5 THEN the median is 1 ms and the 99th percentile 5."""
    visit = _merged(2, [part(900, 1.0), part(100, 5.0, begin=-1_000_000_000)])
    assert (visit.load, visit.done, visit.failed, visit.cpu_s) == (2, 1000, 2, 1.0)
    assert visit.seconds == 2.0
    assert visit.mean_s == pytest.approx(0.0014)
    assert visit.quantiles_s == (0.001, pytest.approx(0.001), 0.005)


class FakeChild:
    pid = 1

    def __init__(self):
        self.closed = False
        self.commands = []

    def ask(self, command, timeout_s):
        self.commands.append(command)
        return {"visit": part(10, 1.0), "error": None}

    def close(self):
        self.closed = True


def test_processes_are_started_when_they_are_needed_and_ended():
    first, started = FakeChild(), []

    def start():
        started.append(FakeChild())
        return started[-1]

    import pinchpoint.crews as crews

    crews_child, crews.Child = crews.Child, FakeChild
    try:
        crew = Processes(first, start, timeout_s=1.0)
        assert crew.visit(1, 0.1)[0].done == 10
        assert not started
        assert crew.visit(4, 0.1)[0].done == 40
        assert crew.visit(2, 0.1)[0].done == 20
        assert len(started) == 3
    finally:
        crews.Child = crews_child
    begins = {child.commands[1]["begin_ns"] for child in started}
    assert len(begins) == 1
    crew.close()
    assert [child.closed for child in started] == [True] * 3
    assert not first.closed


def test_a_process_that_does_not_start_ends_the_ladder():
    def start():
        raise Ended("port in use")

    with pytest.raises(Ended, match="one more process did not start: port in use"):
        Processes(FakeChild(), start, timeout_s=1.0).visit(2, 0.1)
