"""MLPerf's rules against the tables that MLCommons publishes, and against the binomial distribution itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from pinchpoint.load.mlperf import early_stopping, queries_fixed, queries_needed, within


@pytest.mark.parametrize(("quantile", "over", "queries"), [
    (0.90, 0, 44), (0.95, 0, 90), (0.99, 0, 459), (0.999, 0, 4603),
    (0.90, 10, 197), (0.95, 10, 398), (0.99, 10, 2010), (0.999, 10, 20140),
])  # fmt: skip
def test_the_published_counts(quantile, over, queries):
    assert queries_needed(quantile, over) == queries


@pytest.mark.parametrize(("quantile", "queries"), [(0.90, 23_886), (0.99, 262_742)])
def test_the_published_fixed_counts(quantile, queries):
    assert queries_fixed(quantile) == queries


@pytest.mark.parametrize(("quantile", "over"), [(0.9, 3), (0.97, 25), (0.99, 100)])
def test_a_worse_quantile_passes_one_time_in_a_hundred_at_most(quantile, over):
    n = queries_needed(quantile, over)
    assert binom.cdf(over, n, 1 - quantile) <= 0.01 < binom.cdf(over, n - 1, 1 - quantile)


def test_the_bound_has_as_many_above_it_as_the_rule_permits():
    latency_s = np.random.default_rng(0).permutation(np.arange(1, 2011) / 1000)
    found = early_stopping(latency_s, 0.99)
    assert (found.queries, found.over, found.bound_s) == (2010, 10, 2.0)
    assert within(latency_s, 0.99, 2.0)
    assert not within(latency_s, 0.99, 1.999)


def test_too_few_queries_have_no_bound():
    found = early_stopping(np.ones(458), 0.99)
    assert (found.bound_s, found.queries_least) == (None, 459)


def test_failures_are_slower_than_any_bound():
    latency_s = np.r_[np.full(1000, 0.01), np.full(30, np.inf)]
    assert early_stopping(latency_s, 0.99).bound_s is None
    assert not within(latency_s, 0.99, 1e9)


@pytest.mark.parametrize(("quantile", "over"), [(0.0, 0), (1.0, 0), (0.99, -1)])
def test_what_is_no_rule(quantile, over):
    with pytest.raises(ValueError, match="no such rule"):
        queries_needed(quantile, over)
