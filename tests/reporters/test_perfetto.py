"""The time line as JSON of the Trace Event Format: valid, sorted, nested, bounded, and safe with whatever names are in it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pinchpoint.domain.run import Events, Telemetry
from pinchpoint.domain.track import Series, Slice, Trace, Track
from pinchpoint.reporters.perfetto import render
from pinchpoint.tracks import tracks
from synthetic import Script, marked, run_of
from test_demands import CASES

EVIL = "</script>\"'\\\n\x1b[31m\u202e\ud800 猫" + "x" * 500
COMPLETE = {"ph", "name", "cat", "ts", "dur", "pid", "tid", "args"}
COUNTER = {"ph", "name", "ts", "pid", "tid", "args"}
METADATA = {"ph", "name", "pid", "tid", "args"}


@pytest.fixture(scope="module")
def document():
    run = run_of(
        Script(
            [marked("preprocess", 900, cpu=900), marked("model", 100, cpu=100)],
            requests=200,
            worker=[("decode", 1, 100, 900)],
        )
    )
    begin = run.requests.start_ns[:3]
    telemetry = Telemetry(np.arange(5) * 10**8 + int(begin[0]), (("process.cpu_s", np.arange(5.0)),))
    events = Events(begin, begin + 500, np.zeros(3, np.int64), np.zeros(3, np.int64))
    return json.loads(render(tracks(replace(run, events=events, telemetry=telemetry, ladder=CASES["GIL"][0]))))


def test_it_is_the_documented_format(document):
    assert document["displayTimeUnit"] in ("ms", "ns")
    shapes = {"X": COMPLETE, "C": COUNTER, "M": METADATA}
    assert {each["ph"] for each in document["traceEvents"]} == set(shapes)
    for each in document["traceEvents"]:
        assert set(each) == shapes[each["ph"]]
        assert isinstance(each["pid"], int)
        assert isinstance(each["tid"], int)
        assert isinstance(each["name"], str)
        if each["ph"] == "C":
            assert all(math.isfinite(value) for value in each["args"].values())
        if each["ph"] == "M":
            assert each["name"] in ("process_name", "process_sort_index", "thread_name", "thread_sort_index")


def test_events_are_in_order_and_end_after_they_begin(document):
    timed = [each for each in document["traceEvents"] if each["ph"] != "M"]
    assert [each["ts"] for each in timed] == sorted(each["ts"] for each in timed)
    assert timed[0]["ts"] >= 0
    assert all(each["dur"] >= 0 for each in timed if each["ph"] == "X")


def test_slices_of_a_track_lie_apart_or_within_each_other(document):
    by_track: dict[int, list[float]] = {}
    for each in document["traceEvents"]:
        if each["ph"] == "X":
            running, begin, end = by_track.setdefault(each["tid"], []), each["ts"], each["ts"] + each["dur"]
            while running and running[-1] <= begin + 1e-3:
                running.pop()
            assert not running or end <= running[-1] + 1e-3
            running.append(end)


def test_everything_that_was_measured_has_a_track_with_a_name(document):
    names = {
        each["args"]["name"] for each in document["traceEvents"] if each["name"] in ("process_name", "thread_name")
    }
    for words in (
        "requests and stages",
        "thread states (sampled)",
        "interpreter",
        "several requests in flight",
        "counters",
    ):
        assert words in names
    named = {each["tid"] for each in document["traceEvents"] if each["name"] == "thread_name"}
    assert {each["tid"] for each in document["traceEvents"] if each["ph"] == "X"} == named
    assert document["otherData"]["left out"] == "nothing"


def test_names_of_the_target_stay_text():
    facts = ((EVIL, EVIL), ("request", 1))
    trace = Trace(
        EVIL,
        EVIL,
        0,
        (Track(EVIL, EVIL, (Slice(EVIL, 0, 5, facts),)),),
        (Series(EVIL, EVIL, EVIL, ((0, 1.0),)),),
        facts,
        (EVIL,),
    )
    text = render(trace)
    assert text.isascii()
    assert "\x1b" not in text
    assert "202e" not in text
    found = json.loads(text)
    assert all(len(each["name"]) <= 200 for each in found["traceEvents"])
    assert "\n" not in found["otherData"]["target"]


def test_a_figure_that_is_no_number_is_a_loud_defect():
    with pytest.raises(ValueError, match="JSON"):
        render(Trace("", "", 0, (), (Series("counters", "x", "y", ((0, math.nan),)),)))
