"""The tail of synthetic runs: slow requests differ from typical ones in one thing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinchpoint import api
from pinchpoint.domain.run import DISK, FUTEX, NETWORK, SYNC, TIMER, Events
from pinchpoint.inquire import inquire
from pinchpoint.limits import shipped
from pinchpoint.plugins import builtin
from pinchpoint.recurring import recurring
from pinchpoint.slow_requests import collection_seconds, tail
from synthetic import Script, marked, run_of

USUAL = [marked("preprocess", 2000, cpu=2000)]


def diagnosed(run):
    return inquire(run, builtin(), shipped())


def run_with(*slow, requests=2000, every=25):
    """A run in which every 25th request is slow; of those every second one is observed."""
    return run_of(Script(USUAL, requests=requests, slow=list(slow), slow_every=every))


@pytest.mark.parametrize(("slow", "cause", "bound"), [
    ([marked("preprocess", 9000, cpu=2000, site=FUTEX)], "W104", "wait"),
    ([marked("preprocess", 9000, cpu=2000, site=DISK)], "I101", "io"),
    ([marked("preprocess", 9000, cpu=2000, site=SYNC)], "I106", "io"),
    ([marked("preprocess", 9000, cpu=2000, site=NETWORK)], "I105", "io"),
    ([marked("preprocess", 9000, cpu=2000, site=TIMER)], "W110", "wait"),
    ([marked("preprocess", 9000, cpu=2000, starved=7000)], "C109", "cpu"),
])  # fmt: skip
def test_the_largest_difference_is_the_answer(slow, cause, bound):
    found = diagnosed(run_with(*slow))
    verdict = found.verdicts["tail"]
    assert (verdict.cause, verdict.bound, verdict.where) == (cause, bound, "preprocess")
    assert verdict.proof == "supported"
    assert found.verdicts["latency"].cause == "C102"
    assert "TAIL" in api.render(found)


LONGER = [marked("preprocess", 9000, cpu=9000)]


def test_a_heavy_tailed_service_time_is_no_cause_by_itself():
    verdict = diagnosed(run_of(Script(USUAL, requests=2000, slow=LONGER, slow_every=25, slow_at_random=True))).verdicts[
        "tail"
    ]
    assert (verdict.cause, verdict.bound, verdict.where, verdict.proof) == (None, "cpu", "preprocess", "supported")


@pytest.mark.parametrize(("every", "requests", "cause"), [
    (64, 2000, "W109"),
    (25, 2000, "W109"),
    (250, 2000, "W109"),  # too few for the percentile
    (500, 2000, None),  # three distances are too few
])  # fmt: skip
def test_slow_requests_that_come_back_at_one_distance_are_a_jobs(every, requests, cause):
    run = run_of(Script(USUAL, requests=requests, slow=LONGER, slow_every=every))
    found = diagnosed(run)
    verdict = found.verdicts["tail"]
    assert verdict.cause == cause
    if cause:
        assert f"every {every} requests" in verdict.sentence
        assert not [
            each for each in found.predictions if each.change.remedy == "freeze-collector"
        ]  # no collection was seen


def test_an_input_that_comes_in_turns_is_no_job():
    """GIVEN 25 inputs of which the last takes longer THEN that it comes back says nothing."""
    run = run_of(Script(USUAL, requests=2000, slow=LONGER, slow_every=25))
    inputs = replace(run, aside=replace(run.aside, payload_shapes=tuple(range(25))))
    assert tail(inputs).recurring is None
    few = replace(run, aside=replace(run.aside, payload_shapes=tuple(range(3))))
    assert tail(few).recurring.unit == "requests"


def test_the_first_request_after_each_pause_is_no_jobs():
    """GIVEN slices of 100 requests with a pause before each, whose first one is slow THEN it is slow for the pause."""
    run = run_of(Script(USUAL, requests=2000, slow=LONGER, slow_every=100))
    assert tail(run).recurring.unit == "requests"
    pauses = np.cumsum(np.where(np.arange(2000) % 100 == 99, 50_000_000, 0))
    requests = replace(run.requests, start_ns=run.requests.start_ns + pauses, end_ns=run.requests.end_ns + pauses)
    assert tail(replace(run, requests=requests)).recurring is None


def test_a_job_comes_back_after_some_time_too():
    """GIVEN requests of very different lengths, and a job each half second THEN it comes back by the clock, not by their number."""
    rng = np.random.default_rng(5)
    run = run_of(Script(USUAL, requests=4000))
    length = np.where(np.arange(4000) // 200 % 2, 1_000_000, 3_000_000) * rng.uniform(0.95, 1.05, 4000)
    ends = np.cumsum(length)
    at_job = np.searchsorted(ends, np.arange(0.5e9, ends[-1], 0.5e9))
    length[at_job] += 30e6
    ends = (run.requests.start_ns[0] + np.cumsum(length)).astype(np.int64)
    starts = np.concatenate(([run.requests.start_ns[0]], ends[:-1]))
    main = np.ones(4000, bool)
    found = recurring(replace(run, requests=replace(run.requests, start_ns=starts, end_ns=ends)), main, 2e-3, 30e-3)
    assert (found.unit, found.every) == ("seconds", pytest.approx(0.53, rel=0.05))  # the job's own time comes with it
    assert found.share.low > 0.5


def test_cells_of_the_tail_are_differences_and_add_up():
    found = tail(run_with(marked("preprocess", 9000, cpu=2000, site=FUTEX)))
    assert found.percentile == "p99"
    assert found.ledger.latency.value == pytest.approx(7e-3, rel=0.01)
    assert found.ledger.seconds(state="wait") == pytest.approx(7e-3, rel=0.1)
    assert abs(found.ledger.seconds(state="cpu")) < 1e-4
    assert sum(row.seconds.value for row in found.ledger.rows) == pytest.approx(7e-3, rel=0.01)


def test_equal_requests_have_nothing_to_explain():
    verdict = diagnosed(run_of(Script(USUAL, requests=600))).verdicts["tail"]
    assert verdict.bound in ("none", "unknown")
    assert verdict.cause is None


def test_too_few_requests_are_said_to_be():
    verdict = diagnosed(run_of(Script(USUAL, requests=40))).verdicts["tail"]
    assert verdict.bound == "unknown"
    assert "459 are needed" in verdict.sentence


def collected(run, every=25, seconds=0.007):
    """The run with a collection of some length at the begin of each slow request."""
    begin = run.requests.start_ns[every - 1 :: every]
    size = len(begin)
    events = Events(begin, begin + int(seconds * 1e9), np.zeros(size, np.int64), np.full(size, 2))
    return replace(run, events=events)


def test_collections_within_slow_requests_are_the_cause():
    run = collected(run_with(marked("preprocess", 9000, cpu=9000)))
    found = diagnosed(run)
    verdict = found.verdicts["tail"]
    assert (verdict.cause, verdict.bound, verdict.proof) == ("W109", "wait", "supported")
    assert verdict.gain.statistic == "p99"
    assert verdict.gain.value == pytest.approx(9 / 2, rel=0.05)
    assert "W109" not in found.verdicts["latency"].also


def test_collections_beside_slow_requests_are_not():
    run = run_of(Script(USUAL, requests=2000, slow=LONGER, slow_every=25, slow_at_random=True))
    events = Events(
        run.requests.start_ns[5::25],
        run.requests.start_ns[5::25] + 500_000,
        np.zeros(80, np.int64),
        np.zeros(80, np.int64),
    )
    assert diagnosed(replace(run, events=events)).verdicts["tail"].cause is None


def test_a_collection_counts_where_it_lies():
    run = run_of(Script([marked("preprocess", 1000, cpu=1000)], requests=3))
    first, second = run.requests.start_ns[:2]
    begin = np.array([first - 100, first + 300_000, first + 900_000])
    end = np.array([first + 100_000, first + 400_000, second + 50_000])
    found = collection_seconds(replace(run, events=Events(begin, end, np.zeros(3, np.int64), np.zeros(3, np.int64))))
    assert found == pytest.approx([300e-6, 50e-6, 0])
