"""The highest rate within a promise: a known limit is found, both ends are seen twice, and no more is sent than permitted."""

from __future__ import annotations

import random

import pytest

from pinchpoint.load.search import BROKEN, KEPT, MOST_TRIALS, PRECISION, SMALLEST_RATE, UNDECIDED, Search


def searched(outcome, first=10.0, most=float("inf")):
    """A search to its end; `outcome` says of a rate what came of it."""
    found = Search(first, most)
    while (following := found.next()) is not None:
        rate, again = following
        assert SMALLEST_RATE / 2 <= rate <= most
        assert again == (rate in {trial.rate_per_s for trial in found.trials})
        found.take(rate, outcome(rate), again=again)
        assert found.low < found.high
        assert len(found.trials) <= MOST_TRIALS
    return found


def limited(limit):
    return lambda rate: KEPT if rate <= limit else BROKEN


@pytest.mark.parametrize("first", [0.5, 10.0, 3000.0, 1e6])
@pytest.mark.parametrize("limit", [0.3, 1.0, 9.99, 10.0, 777.0, 12_345.6, 2e5])
def test_a_known_limit_is_found(limit, first):
    found = searched(limited(limit), first)
    assert found.low <= limit < found.high
    assert found.high / found.low <= PRECISION
    assert found.confirmed
    assert [trial.rate_per_s for trial in found.trials if trial.again] == [found.low, found.high]


@pytest.mark.parametrize("limit", [5.0, 100.0, 101.0, 1e9])
def test_no_more_than_permitted_is_tried(limit):
    found = searched(limited(limit), 10.0, most=100.0)
    assert found.confirmed
    assert found.low <= min(limit, 100.0)
    assert max(trial.rate_per_s for trial in found.trials) <= 100.0
    if limit >= 100.0:
        assert (found.low, found.high) == (100.0, float("inf"))
        assert found.low_seen == 2


def test_what_is_permitted_may_be_less_than_the_first_rate():
    assert searched(limited(1e9), 1000.0, most=10.0).low == 10.0


@pytest.mark.parametrize("outcome", [BROKEN, UNDECIDED])
def test_a_promise_that_is_never_kept(outcome):
    found = searched(lambda _: outcome)
    assert (found.low, found.confirmed) == (0.0, False)
    assert found.high < SMALLEST_RATE


def test_a_promise_that_is_always_kept_ends_too():
    found = searched(lambda _: KEPT)
    assert not found.confirmed
    assert found.high == float("inf")
    assert found.low >= 1e9


def test_what_cannot_be_decided_is_not_promised():
    found = searched(lambda rate: KEPT if rate < 100 else UNDECIDED if rate < 200 else BROKEN)
    assert found.low < 100 <= found.high
    assert found.confirmed


def test_an_end_that_holds_no_second_time_moves():
    """The lower end breaks when it is looked at again: the search goes on below it."""
    moody = {}

    def outcome(rate):
        moody[rate] = moody.get(rate, 0) + 1
        return BROKEN if rate > 100 or (rate > 90 and moody[rate] > 1) else KEPT

    found = searched(outcome)
    assert found.low <= 90
    assert found.confirmed
    assert found.high / found.low <= PRECISION


def test_an_upper_end_that_holds_the_second_time_moves():
    moody = {}

    def outcome(rate):
        moody[rate] = moody.get(rate, 0) + 1
        return KEPT if rate < 100 or (rate < 110 and moody[rate] > 1) else BROKEN

    found = searched(outcome)
    assert found.confirmed
    assert 95 < found.low < 110 * PRECISION


@pytest.mark.parametrize("seed", range(200))
def test_noisy_outcomes_end_near_the_limit(seed):
    """Within a tenth of the limit an outcome is chance, beyond it is sure."""
    generator, limit = random.Random(seed), 500.0

    def outcome(rate):
        if abs(rate / limit - 1) > 0.1:
            return KEPT if rate < limit else BROKEN
        return KEPT if generator.random() < 0.5 + 5 * (1 - rate / limit) else BROKEN

    found = searched(outcome, generator.uniform(1, 5000))
    assert len(found.trials) == MOST_TRIALS or found.next() is None
    if found.confirmed:
        assert 0.89 * limit <= found.low <= found.high <= 1.11 * limit * PRECISION
        kept = [trial for trial in found.trials if trial.rate_per_s == found.low and trial.outcome == KEPT]
        broken = [trial for trial in found.trials if trial.rate_per_s == found.high and trial.outcome != KEPT]
        assert len(kept) >= 2
        assert len(broken) >= 2


def test_nearly_all_noisy_searches_are_confirmed():
    done = 0
    for seed in range(200):
        generator = random.Random(seed)
        found = searched(lambda rate, g=generator: KEPT if rate * g.uniform(0.97, 1.03) < 500 else BROKEN)
        done += found.confirmed
    assert done >= 190
