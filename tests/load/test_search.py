"""The search of the highest rate: against targets that are certain, noisy, capped, or never good enough."""

from __future__ import annotations

import numpy as np
import pytest

from pinchpoint.load.search import BROKEN, KEPT, MOST_TRIALS, PRECISION, UNDECIDED, Search


def searched(search, judge):
    """The search driven to its end by `judge(rate, again)`."""
    while (following := search.next()) is not None:
        rate, again = following
        search.take(rate, judge(rate, again), again=again)
    return search


@pytest.mark.parametrize("first", [0.5, 40.0, 3000.0, 1e6])
@pytest.mark.parametrize("limit", [0.3, 1.0, 85.0, 777.0, 12_345.6, 2e5])
def test_a_certain_limit_is_found_and_confirmed_at_both_ends(first, limit):
    found = searched(Search(first), lambda rate, _: KEPT if rate <= limit else BROKEN)
    assert found.confirmed
    assert found.low <= limit < found.high <= found.low * PRECISION
    assert {(t.rate_per_s, t.outcome) for t in found.trials if t.again} == {(found.low, KEPT), (found.high, BROKEN)}


def test_noisy_looks_widen_the_ends_and_hold_the_truth_between_them():
    noise = np.random.default_rng(1)

    def judge(rate, again):
        seen = np.log(rate / 85) / (0.07 if again else 0.15) + noise.normal()
        if not again:
            return KEPT if seen < 0 else BROKEN
        return KEPT if seen < -1.96 else BROKEN if seen > 1.96 else UNDECIDED

    found = [searched(Search(10.0), judge) for _ in range(400)]
    assert all(each.confirmed for each in found)
    assert np.mean([each.low <= 85 <= each.high for each in found]) > 0.93
    assert np.median([each.high / each.low for each in found]) < 2


def test_no_rate_above_what_is_permitted_is_tried():
    found = searched(Search(10.0, most_per_s=50.0), lambda *_: KEPT)
    assert (found.low, found.confirmed) == (50.0, True)
    assert max(t.rate_per_s for t in found.trials) == 50.0


@pytest.mark.parametrize("outcome", [BROKEN, UNDECIDED])
def test_where_nothing_is_kept_it_ends_without_an_answer(outcome):
    found = searched(Search(10.0), lambda *_: outcome)
    assert not found.confirmed
    assert found.low == 0.0
    assert len(found.trials) < 10


def test_guesses_that_no_longer_look_confirms_end():
    found = searched(Search(10.0), lambda rate, again: UNDECIDED if again else (KEPT if rate < 85 else BROKEN))
    assert not found.confirmed
    assert len(found.trials) <= MOST_TRIALS


def test_an_end_that_breaks_on_the_second_look_becomes_the_upper_one():
    found = searched(Search(10.0), lambda rate, again: KEPT if rate <= (70 if again else 85) else BROKEN)
    assert found.confirmed
    assert found.low <= 70 < found.high < 85


def test_a_promise_that_is_always_kept_ends_too():
    found = searched(Search(10.0), lambda *_: KEPT)
    assert not found.confirmed
    assert len(found.trials) == MOST_TRIALS
