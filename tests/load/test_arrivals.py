"""When requests are due: rates, bursts, shares of workers, seeds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from pinchpoint.domain.arrivals import BURST, CONSTANT, POISSON, Arrivals
from pinchpoint.load.arrivals import NS, due_times, share


def first(n, arrivals, seed=0, worker=0, workers=1):
    return np.array(list(itertools.islice(due_times(arrivals, seed, worker, workers), n)))


def together(n, arrivals, workers, seed=0):
    """The first `n` of all workers' requests."""
    return np.sort(np.concatenate([first(n, arrivals, seed, number, workers) for number in range(workers)]))[:n]


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("arrivals", "due_ms"),
    [
        (Arrivals(CONSTANT, rate_per_s=100.0), [0, 10, 20, 30, 40, 50]),
        (Arrivals(CONSTANT, rate_per_s=3.0), [0, 333.333333, 666.666667, 1000, 1333.333333, 1666.666667]),
        (Arrivals(BURST, rate_per_s=100.0, burst=3), [0, 0, 0, 30, 30, 30]),
        (Arrivals(BURST, rate_per_s=100.0, burst=4), [0, 0, 0, 0, 40, 40]),
        (Arrivals(CONSTANT, rate_per_s=1e7), [0, 0.0001, 0.0002, 0.0003, 0.0004, 0.0005]),
    ],
)
def test_regular_arrivals_are_the_same_however_many_workers_share_them(arrivals, due_ms, workers):
    assert (together(6, arrivals, workers) / 1e6).tolist() == pytest.approx(due_ms)


@pytest.mark.parametrize("arrivals", [Arrivals(CONSTANT, rate_per_s=7.0), Arrivals(BURST, rate_per_s=7.0, burst=5)])
def test_regular_arrivals_do_not_drift(arrivals):
    at = next(itertools.islice(due_times(arrivals, 0, 0, 1), 700_000, None))
    assert at == 100_000 * NS


@pytest.mark.parametrize(("rate", "workers"), [(1000.0, 1), (1000.0, 3), (0.01, 1), (5e5, 16)])
def test_poisson_arrivals_are_poisson(rate, workers):
    """Gaps of all workers together are exponential (Kolmogorov-Smirnov), and do not depend on those before."""
    n = 20_000
    due = together(n, Arrivals(POISSON, rate_per_s=rate), workers) / NS
    gaps = np.diff(due, prepend=0.0)
    assert stats.kstest(gaps * rate, "expon").pvalue > 1e-3
    assert stats.spearmanr(gaps[:-1], gaps[1:]).pvalue > 1e-3
    assert n / due[-1] == pytest.approx(rate, rel=4 / n**0.5)


def test_a_seed_repeats_and_another_does_not():
    arrivals = Arrivals(POISSON, rate_per_s=100.0)
    np.testing.assert_array_equal(first(100, arrivals, 7), first(100, arrivals, 7))
    for other in [first(100, arrivals, 8), first(100, arrivals, 7, worker=1, workers=1)]:
        assert not np.intersect1d(first(100, arrivals, 7), other).size


@pytest.mark.parametrize("arrivals", [Arrivals(POISSON, rate_per_s=1e4), Arrivals(BURST, rate_per_s=1e4, burst=8)])
def test_due_times_ascend(arrivals):
    for number in range(3):
        assert (np.diff(first(5000, arrivals, 1, number, 3)) >= 0).all()


@pytest.mark.parametrize("workers", [1, 2, 3, 64])
@pytest.mark.parametrize("total", [0, 1, 2, 63, 64, 65, 1000])
def test_shares_add_up_and_are_fair(total, workers):
    found = [share(total, number, workers) for number in range(workers)]
    assert sum(found) == total
    assert max(found) - min(found) <= 1
