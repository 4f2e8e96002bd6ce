"""A run on one time line: complete where it is small, bounded and honest about it where it is not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pinchpoint import tracks as module
from pinchpoint.domain.run import FUTEX, RUNNING, Events, Held, Samples, Telemetry, Visit
from pinchpoint.tracks import evenly, tracks
from synthetic import MAIN, US, WORKER, Script, marked, run_of

STEPS = [marked("preprocess", 1000, cpu=1000), marked("model", 3000, cpu=1000, site=FUTEX)]
S = 1_000_000_000


def track(trace, name):
    return next(each for each in trace.tracks if each.name.startswith(name))


def counter(trace, name):
    return dict(next(each for each in trace.series if f"{each.name} {each.measure}" == name).points)


def visit(load, begin_s, end_s, done, **more):
    return Visit(load, begin_s * S, end_s * S, done, 0, 0.5, 0.01, (0.009, 0.01, 0.02), **more)


@pytest.fixture
def run():
    return run_of(Script(STEPS, requests=40, worker=[("decode", 1, 100, 900)]))


def test_requests_hold_their_stages_and_workers_have_tracks_of_their_own(run):
    trace = tracks(run)
    main, worker = track(trace, f"thread {MAIN}"), track(trace, f"thread {WORKER}")
    assert sum(each.name == "request" for each in main.slices) == 40
    assert sum(each.name == "model" for each in main.slices) == 20  # of the observed ones
    first = next(each for each in main.slices if each.name == "preprocess")
    holder = [each for each in main.slices if each.name == "request" and each.begin_ns <= first.begin_ns < each.end_ns]
    assert dict(first.facts)["request"] == dict(holder[0].facts)["request"]
    assert dict(first.facts)["on CPU, us"] == 1000
    assert first.end_ns - first.begin_ns == 1000 * US
    assert {each.name for each in worker.slices} == {"decode"}
    assert "on CPU, us" not in dict(worker.slices[0].facts)  # not measured there, so not said
    assert trace.left_out == ()


def test_the_trace_begins_with_what_happened_first(run):
    trace = tracks(replace(run, telemetry=Telemetry(np.array([5, 6]), (("host.cpus", np.array([2.0, 2.0])),))))
    assert trace.begin_ns == 5
    assert all(each.begin_ns >= 0 for one in trace.tracks for each in one.slices)


def test_what_overlaps_without_nesting_gets_a_track_each(run):
    spans = run.spans
    end = spans.end_ns.copy()
    end[spans.thread == MAIN] += 500 * US  # each stage now reaches into the next, and out of its request
    trace = tracks(replace(run, spans=replace(spans, end_ns=end)))
    names = [each.name for each in trace.tracks if each.group == module.REQUESTS]
    assert f"thread {MAIN} (requests) [2]" in names
    for one in trace.tracks:
        assert_nested(one.slices)


def assert_nested(slices):
    open_until: list[int] = []
    for each in slices:
        assert each.begin_ns <= each.end_ns
        while open_until and open_until[-1] <= each.begin_ns:
            open_until.pop()
        assert not open_until or each.end_ns <= open_until[-1]
        open_until.append(each.end_ns)


def test_equal_samples_are_one_state_and_a_gap_is_not_filled(run):
    ms = 1_000_000
    t = np.array([10, 11, 12, 13, 100, 101]) * ms
    sites = np.array([RUNNING, RUNNING, FUTEX, FUTEX, FUTEX, RUNNING])
    same = np.full(6, MAIN)
    trace = tracks(replace(run, samples=Samples(t, same, sites, np.zeros(6, np.int64))))
    found = [(each.name, each.begin_ns + trace.begin_ns, each.end_ns + trace.begin_ns)
             for each in next(one for one in trace.tracks if one.group == module.STATES).slices]  # fmt: skip
    assert found == [
        ("running", 10 * ms, 11 * ms),
        ("waiting for threads", 11 * ms, 13 * ms),
        ("waiting for threads", 75 * ms, 100 * ms),
        ("running", 100 * ms, 101 * ms),
    ]


def test_counters_are_rates_and_gauges_are_not(run):
    telemetry = Telemetry(
        np.array([0, 1, 3]) * S,
        (
            ("process.cpu_s", np.array([5.0, 6.0, 7.0])),
            ("process.threads", np.array([1.0, 2.0, 2.0])),
            ("new.gauge", np.array([2.0, 1.0, 3.0])),
        ),
    )
    trace = tracks(replace(run, telemetry=telemetry))
    assert list(counter(trace, "process.cpu_s a second").values()) == [1.0, 0.5]
    assert list(counter(trace, "process.threads then").values()) == [1.0, 2.0, 2.0]
    assert list(counter(trace, "new.gauge then").values()) == [2.0, 1.0, 3.0]  # it fell, so it does not count


def test_what_a_server_told_of_itself_is_on_the_line(run):
    """GIVEN readings after the last request: a counter and a gauge that does not fall."""
    end = int(run.requests.end_ns[-1])
    columns = (("queue_s", np.array([1.0, 2.0, 4.0])), ("waiting", np.array([0.0, 3.0, 5.0])))
    trace = tracks(replace(run, told=Telemetry(end + np.arange(3, dtype=np.int64) * S, columns)))
    assert list(counter(trace, "server.queue_s a second").values()) == [1.0, 2.0]
    assert list(counter(trace, "server.waiting then").values()) == [0.0, 3.0, 5.0]
    assert max(counter(trace, "server.waiting then")) == end + 2 * S - trace.begin_ns


def test_collections_and_loads_are_on_the_line(run):
    begin = run.requests.start_ns[3:5]
    events = Events(begin, begin + 1000, np.zeros(2, np.int64), np.array([0, 2]))
    ladder = (visit(0, 10, 11, 0), visit(2, 11, 13, 100, held=(Held("lock", "app.py:9", 1.0, 0.5, 0.1, 7),)))
    trace = tracks(replace(run, events=events, ladder=ladder))
    assert [dict(each.facts)["generation"] for each in track(trace, "garbage").slices] == [0, 2]
    alone, two = track(trace, "load").slices
    assert (alone.name, two.name) == ("left alone", "2 in flight")
    assert "mean latency, ms" not in dict(alone.facts)
    assert dict(two.facts)["mean latency, ms"] == 10
    assert dict(two.facts)["lock app.py:9: held, s"] == 0.5
    assert list(counter(trace, "requests completed a second").values()) == [0.0, 50.0, 0.0]


def test_a_run_with_nothing_in_it_is_a_trace_too(run):
    none = np.empty(0, dtype=np.int64)
    bare = replace(
        run, requests=type(run.requests)(*[none] * 4), spans=type(run.spans)(*[none] * 12), samples=Samples(*[none] * 4)
    )
    assert [each.name for each in tracks(bare).tracks] == ["everything"]


@pytest.mark.parametrize(("count", "most", "found"), [(5, 9, 5), (9, 3, 3), (1000, 7, 7), (5, 0, 0), (0, 3, 0)])
def test_thinning_is_even_and_keeps_both_ends(count, most, found):
    kept = evenly(np.arange(count), most)
    assert len(kept) == found
    if found > 1:
        assert (kept[0], kept[-1]) == (0, count - 1)
        assert np.ptp(np.diff(kept)) <= 1


def test_a_long_run_is_thinned_and_says_so(run, monkeypatch):
    for name, most in (
        ("MOST_REQUESTS", 50),
        ("SLOWEST", 5),
        ("MOST_SPANS", 40),
        ("MOST_STATES", 60),
        ("MOST_POINTS", 10),
    ):
        monkeypatch.setattr(module, name, most)
    long = run_of(Script(STEPS, requests=1000, slow=[marked("model", 9000, cpu=9000)], slow_every=200))
    trace = tracks(replace(long, telemetry=Telemetry(np.arange(100) * S, (("process.cpu_s", np.arange(100.0)),))))
    main = track(trace, f"thread {MAIN}")
    requests = [each for each in main.slices if each.name == "request"]
    assert 45 <= len(requests) <= 50
    assert sum(each.end_ns - each.begin_ns > 8_000_000 for each in requests) == 5  # the slowest are all there
    assert len(main.slices) - len(requests) <= 40
    assert sum(len(each.slices) for each in trace.tracks if each.group == module.STATES) <= 60 + 2
    assert max(len(each.points) for each in trace.series) <= 10
    assert set(counter(trace, "process.cpu_s a second").values()) == {1.0}  # thinned before it is a rate
    words = "\n".join(trace.left_out)
    for said in ("of 1,000 requests", "stages", "thread states", "points"):
        assert said in words
    assert tuple(words for _, words in track(trace, "everything").slices[0].facts) == trace.left_out


def test_where_counters_end_is_said(run):
    ended = Telemetry(run.requests.start_ns[:2], (("process.cpu_s", np.array([1.0, 2.0])),))
    (words,) = tracks(replace(run, telemetry=ended)).left_out
    assert "until 0.0 s" in words


def test_a_million_requests_stay_within_the_bound():
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from bench.million import run_of as many

    trace = tracks(many(300_000))
    assert (
        sum(len(each.slices) for each in trace.tracks)
        <= module.MOST_REQUESTS + module.MOST_SPANS + module.MOST_STATES + 100
    )
    assert any("of 300,000 requests" in words for words in trace.left_out)
