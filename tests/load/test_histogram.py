"""Latencies as counts: how far a quantile may be off, merging, and the ends."""

from __future__ import annotations

import numpy as np
import pytest

from pinchpoint.load import histogram
from pinchpoint.load.histogram import BUCKETS, bucketed, edges, quantile

WIDEST = 2.0**-histogram.FRACTION_BITS  # of a bucket, as a share of its value


@pytest.mark.parametrize("seconds", [1e-9, 3e-7, 1e-3, 0.999999, 1.0, 1.0000001, 7.3, 86_400.0, 2.0**30])
def test_a_value_lies_between_the_ends_of_its_bucket(seconds):
    bucket = int(np.flatnonzero(bucketed(np.array([seconds])))[0])
    low, high = (float(end) for end in edges(bucket))
    assert low <= seconds < high
    assert (high - low) / low <= WIDEST * (1 + 1e-12)


def test_buckets_follow_each_other_without_a_gap():
    low, high = edges(np.arange(BUCKETS))
    np.testing.assert_array_equal(low[1:], high[:-1])
    assert low[0] < 1e-9
    assert high[-1] > 1e9


@pytest.mark.parametrize("q", [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.lognormal(-6, 1, 50_000),
        lambda rng: rng.exponential(0.01, 50_000),
        lambda rng: rng.uniform(0.1, 0.2, 999),
        lambda rng: np.where(rng.random(5000) < 0.8, 0.001, 0.1),
        lambda _: np.full(100, 0.0123),
        lambda _: np.array([0.5]),
    ],
)
def test_a_quantile_is_good_to_the_width_of_a_bucket(draw, q):
    x = draw(np.random.default_rng(1))
    exact = np.quantile(x, q, method="inverted_cdf")
    assert quantile(bucketed(x), q) == pytest.approx(exact, rel=WIDEST)


def test_quantiles_ascend():
    counts = bucketed(np.random.default_rng(2).lognormal(0, 2, 1000))
    found = [quantile(counts, q) for q in np.linspace(0, 1, 1001)]
    assert (np.diff(found) >= 0).all()


def test_counts_are_merged_by_adding():
    x = np.random.default_rng(3).exponential(0.01, 10_000)
    merged = sum(bucketed(part) for part in np.array_split(x, 7))
    np.testing.assert_array_equal(merged, bucketed(x))


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-12, 1e12, np.inf, np.nan])
def test_what_lies_outside_counts_at_an_end(seconds):
    counts = bucketed(np.array([seconds]))
    assert counts.sum() == 1
    assert counts[0] + counts[-1] == 1


def test_nothing_has_no_quantile():
    assert bucketed(np.empty(0)).sum() == 0
    with pytest.raises(ValueError, match="nothing was counted"):
        quantile(bucketed(np.empty(0)), 0.5)


def test_the_claimed_precision_is_the_real_one():
    assert f"{WIDEST:.1%}".replace("%", " %") in histogram.__doc__
