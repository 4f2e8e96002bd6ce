"""What a server counted between two moments: differences of counters, their intervals, and what is not used and why."""

from __future__ import annotations

import numpy as np
import pytest

from pinchpoint.counted import FELL, queued, tally
from pinchpoint.domain.run import Telemetry, Visit
from pinchpoint.prometheus_text import samples
from pinchpoint.server_counters import count_of, kind_of, values_of
from server_pages import PAGES

SECOND = 1_000_000_000


def told(**columns):
    """Readings once a second, from second 0 on."""
    length = len(next(iter(columns.values())))
    series = tuple((name, np.array(values, float)) for name, values in columns.items())
    return Telemetry(np.arange(length, dtype=np.int64) * SECOND, series)


def within(series, asked=100, begin=1.5, end=3.5):
    return tally(series, int(begin * SECOND), int(end * SECOND), asked)


def test_differences_from_the_last_reading_before_to_the_first_one_after():
    """GIVEN 50 requests a second of 10 ms, of which 1 is queued; before second 1 and after second 4 they take ten times as long."""
    series = told(
        requests=[0, 50, 100, 150, 200, 250],
        request_s=[0, 5, 5.5, 6.0, 6.5, 11.5],
        queue_s=[0, 0.5, 0.55, 0.6, 0.65, 1.15],
    )
    found = within(series, asked=150)
    assert (found.answered, found.reason) == (150, "")
    assert [(each.name, each.count, each.of) for each in found.counted] == [
        ("request", 150, "request"),
        ("queue", 150, "request"),
    ]
    assert [each.seconds for each in found.counted] == pytest.approx([1.5, 0.15])
    assert [each.each.value for each in found.counted] == pytest.approx([0.01, 0.001])


def test_the_interval_holds_the_mean_of_what_differs_from_reading_to_reading():
    rng = np.random.default_rng(1)
    requests = np.concatenate([[0], np.cumsum(rng.integers(40, 60, 30))])
    means = rng.normal(0.010, 0.001, 30)
    seconds = np.concatenate([[0], np.cumsum(np.diff(requests) * means)])
    found = within(told(requests=requests, request_s=seconds), 1000, 0.5, 29.5)
    each = found.counted[0].each
    assert each.low < 0.010 < each.high
    assert each.high / each.low < 1.2
    assert each.n == requests[-1]


def test_one_difference_has_no_interval():
    found = within(told(requests=[0, 50], request_s=[0, 0.5]), 50, 0, 1)
    assert found.counted[0].mean is None
    assert found.counted[0].each.value == pytest.approx(0.01)


@pytest.mark.parametrize("name", PAGES)
def test_two_pages_of_a_real_server(name):
    """GIVEN a page, and later one on which each counter is twice as high THEN the means are those of the first."""
    found = tuple(samples(PAGES[name].encode()))
    once = values_of(kind_of(found), found)
    series = told(**{column: [value, 2 * value] for column, value in once.items()})
    counted = tally(series, 0, SECOND, 0).counted
    assert counted
    for each in counted:
        assert each.seconds == pytest.approx(once[f"{each.name}_s"])
        assert each.count == once[count_of(each.name, list(once))]
    assert {each.of for each in counted} == {"token" if name == "llama-server" else "request"}


def test_the_steps_of_an_ensemble():
    """GIVEN 50 requests a second; each is queued in one step, which serves others too, and asks another step twice."""
    series = told(**{
        "requests": [0, 50, 100], "queue_s": [0, 0, 0], "queue_count": [0, 50, 100],
        "queue_s@network": [0, 2, 4], "queue_count@network": [0, 100, 200],
        "queue_s@scaler": [0, 0.1, 0.2], "queue_count@scaler": [0, 50, 100],
    })  # fmt: skip
    found = within(series, 100, 0, 2)
    assert [(each.name, each.step, each.count) for each in found.counted] == [
        ("queue", "", 100), ("queue", "network", 200), ("queue", "scaler", 100),
    ]  # fmt: skip
    assert [each.each.value for each in found.counted] == pytest.approx([0, 0.02, 0.002])
    (crowded,) = queued(series, [Visit(4, 0, 2 * SECOND, 100, 0, 0.0, 0.0, ())])
    assert crowded.each.value == pytest.approx(0.022)


def test_tokens_are_told_by_the_token_where_no_requests_are():
    series = told(decode_s=[0, 1, 2], decode_tokens=[0, 100, 200], prefill_s=[0, 0, 0], prefill_tokens=[5, 5, 5])
    found = within(series, 10, 0, 2)
    assert [(each.name, each.of, each.count) for each in found.counted] == [("decode", "token", 200)]
    assert found.answered is None
    assert found.counted[0].each.value == pytest.approx(0.01)


@pytest.mark.parametrize("columns", [
    {"requests": [0, 50, 20, 70], "request_s": [0, 1, 2, 3]},    # started anew
    {"requests": [0, 50, 100, 150], "queue_s": [0, 1, 0.5, 2]},
    {"requests": [0, 50, 100, 150], "batches": [9, 8, 7, 6]},
])  # fmt: skip
def test_where_a_counter_fell_nothing_is_told(columns):
    assert within(told(**columns), 100, 0, 3) == tally(told(**columns), 0, 3 * SECOND, 100)
    found = within(told(**columns), 100, 0, 3)
    assert (found.counted, found.answered, found.reason) == ((), None, FELL)


def test_a_gauge_may_fall_and_is_counted_as_nothing():
    series = told(requests=[0, 50, 100], request_s=[0, 1, 2], running=[4, 0, 2], kv_cache_share=[0.5, 0.1, 0.2])
    found = within(series, 100, 0, 2)
    assert [each.name for each in found.counted] == ["request"]
    assert found.reason == ""


@pytest.mark.parametrize(("counted", "asked", "used"), [
    (200, 200, True),
    (500, 200, True),   # other clients: V103 tells
    (190, 200, True),
    (60, 200, False),   # one of several processes
])  # fmt: skip
def test_a_server_that_counted_less_than_it_answered_is_not_believed(counted, asked, used):
    found = within(told(requests=[0, counted], request_s=[0, 1]), asked, 0, 1)
    assert bool(found.counted) == used
    assert (found.reason == "") == used
    assert used or ("60" in found.reason and "200" in found.reason)


@pytest.mark.parametrize(("begin", "end"), [(-1, 2), (0, 9), (-5, -1), (8, 9)])
def test_without_a_reading_on_either_side_nothing_is_told(begin, end):
    found = within(told(requests=[0, 50, 100], request_s=[0, 1, 2]), 100, begin, end)
    assert (found.counted, found.answered, found.reason) == ((), None, "")


def test_of_nothing_nothing_is_told():
    assert within(Telemetry.nothing()).counted == ()
    assert within(told(running=[1, 2, 3, 4, 5])).counted == ()
    assert within(told(request_s=[1, 2, 3, 4, 5])).counted == ()  # how often is not told


def visit(load, begin, end):
    return Visit(load, int(begin * SECOND), int(end * SECOND), 100, 0, 0.5, 0.01, ())


def test_queueing_at_each_load():
    """GIVEN 1 ms a request at 1 in flight, and 30 and 50 ms at 4, with equally many requests THEN 40 ms there."""
    series = told(requests=[0, 100, 100, 200, 200, 300, 300, 400], queue_s=[0, 0.1, 0.1, 3.1, 3.1, 8.1, 8.1, 9.1])
    found = queued(series, [visit(1, 0.1, 0.9), visit(4, 2.1, 2.9), visit(4, 4.1, 4.9), visit(0, 5.1, 5.9)])
    assert [(each.load, each.each.n) for each in found] == [(1, 100), (4, 200)]
    assert [each.each.value for each in found] == pytest.approx([0.001, 0.04])
    assert found[1].each.low < 0.04 < found[1].each.high


@pytest.mark.parametrize("series", [
    Telemetry.nothing(),
    told(requests=[0, 100, 200]),                       # it does not tell
    told(requests=[0, 100, 50], queue_s=[0, 1, 2]),     # it was started anew
    told(requests=[7, 7, 7], queue_s=[1, 1, 1]),        # nobody asked
])  # fmt: skip
def test_queueing_that_is_not_told(series):
    assert queued(series, [visit(4, 0.5, 1.5)]) == ()
