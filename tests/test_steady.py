"""Figures of one run of requests that depend on each other: intervals that hold the truth, or none and how many it takes.

Coverage over 2,000 runs of many processes is in `python -m bench coverage`; here are a few hundred runs of a few of them.
"""

from __future__ import annotations

import functools
import time

import numpy as np
import pytest
from scipy import special

from pinchpoint import load_figures
from pinchpoint.stats import independent_mean, mean_interval, samples_needed
from pinchpoint.steady import _excursions, requests_needed, steady_mean, steady_quantile, steady_rate, steady_ratio

DROPPED = 3000  # until a queue that began empty is steady


# --- series of known truth -----------------------------------------------------------------------------------------
@functools.cache
def mm1(load, runs, n, seed=1):
    """Latencies of M/M/1 queues with mean service 1, whose mean is 1 / (1 - load), and the times of completion."""
    rng = np.random.default_rng(seed)
    service, gaps = rng.exponential(1, (runs, n + DROPPED)), rng.exponential(1 / load, (runs, n + DROPPED))
    walk = np.concatenate([np.zeros((runs, 1)), np.cumsum((service - gaps)[:, :-1], axis=1)], axis=1)
    latency = walk - np.minimum.accumulate(walk, axis=1) + service
    done = np.cumsum(gaps, axis=1) - gaps + latency
    return latency[:, DROPPED:], done[:, DROPPED:]


def exponential(runs, n, seed=2):
    return np.random.default_rng(seed).exponential(1, (runs, n))


def mm1_quantile(load, q):
    return -np.log(1 - q) / (1 - load)


def answers(found, truth):
    """The share of runs that were answered, and of the answers that hold the truth."""
    given = [each for each in found if each is not None]
    return len(given) / len(found), float(np.mean([each.low <= truth <= each.high for each in given]))


def quantile_of_independent(x, q):
    """Between the order statistics of independent values: what most load generators would give."""
    ends = special.bdtrik([0.025, 0.975], x.size, q)
    low, high = np.sort(x)[np.clip(ends.astype(int), 0, x.size - 1)]
    return low, high


# --- coverage ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("load", "n", "naive_at_most"), [(0.5, 1000, 0.75), (0.8, 3000, 0.35), (0.8, 10_000, 0.35)]
)  # fmt: skip
def test_the_mean_of_a_queue_is_covered_and_would_not_be_if_requests_were_independent(load, n, naive_at_most):
    runs, truth = mm1(load, 300, n)[0], 1 / (1 - load)
    share, covered = answers([steady_mean(x) for x in runs], truth)
    _, naive = answers([independent_mean(x) for x in runs], truth)
    _, batches = answers([mean_interval(x) for x in runs], truth)
    print(f"{load} {n}: {covered:.3f} of {share:.2f}; batch means {batches:.3f}; independent {naive:.3f}")
    assert share >= 0.85
    assert 0.92 <= covered <= 0.99
    assert naive <= naive_at_most
    assert batches < covered


@pytest.mark.parametrize(
    ("load", "q", "n", "share_at_least", "naive_at_most"),
    [
        (0.5, 0.5, 1000, 0.99, 0.8), (0.5, 0.9, 3000, 0.99, 0.6), (0.5, 0.99, 10_000, 0.95, 0.6),
        (0.8, 0.5, 3000, 0.95, 0.5), (0.8, 0.9, 10_000, 0.95, 0.5), (0.8, 0.99, 30_000, 0.6, 0.4),
    ],
)  # fmt: skip
def test_the_percentile_of_a_queue_is_covered(load, q, n, share_at_least, naive_at_most):
    runs, truth = mm1(load, 200, n)[0], mm1_quantile(load, q)
    share, covered = answers([steady_quantile(x, q) for x in runs], truth)
    naive = np.mean([low <= truth <= high for low, high in (quantile_of_independent(x, q) for x in runs)])
    print(f"{load} p{100 * q:g} {n}: {covered:.3f} of {share:.2f}; independent {naive:.3f}")
    assert share >= share_at_least
    assert covered >= 0.91
    assert naive <= naive_at_most


@pytest.mark.parametrize("n", [50, 500, 3000])
def test_independent_requests_lose_nothing(n):
    found = [steady_mean(x) for x in exponential(300, n)]
    share, covered = answers(found, 1.0)
    assert (share, covered) >= (0.97, 0.92)
    assert covered >= 0.92
    assert np.median([each.high - each.low for each in found if each]) < (1.3 if n == 50 else 1.1) * 2 * 1.96 / n**0.5


@pytest.mark.parametrize(("q", "n"), [(0.5, 100), (0.9, 500), (0.99, 1000), (0.99, 10_000)])
def test_percentiles_of_independent_requests_are_covered(q, n):
    found = [steady_quantile(x, q) for x in exponential(300, n)]
    share, covered = answers(found, -np.log(1 - q))
    needed = 2 * 1.96 * (q / (1 - q) / n) ** 0.5
    assert share >= 0.97
    assert covered >= 0.92
    assert np.median([each.high - each.low for each in found if each]) < 1.25 * needed


def test_requests_that_balance_each_other_are_not_taken_for_certain():
    """A fast and a slow route in turn: the mean is known better than of independent requests, but not exactly."""
    rng = np.random.default_rng(4)
    runs = np.where(np.arange(600) % 2, 1.0, 3.0) + rng.exponential(1, (300, 600)) - 1
    share, covered = answers([steady_mean(x) for x in runs], 2.0)
    assert share == 1
    assert covered >= 0.92


def closed_loop(in_flight, runs, n, seed=9):
    """Latencies before one server that never idles: sums of as many services, Erlang with `in_flight` phases."""
    done = np.cumsum(np.random.default_rng(seed).exponential(1, (runs, n + in_flight)), axis=1)
    return done[:, in_flight:] - done[:, :-in_flight]


@pytest.mark.parametrize(("in_flight", "n"), [(4, 500), (16, 500), (16, 2000), (64, 2000)])
@pytest.mark.parametrize(("name", "q"), [("mean", None), ("p50", 0.5)])
def test_a_closed_loop_is_not_widened_for_queues_that_cannot_come(in_flight, n, name, q):
    runs = closed_loop(in_flight, 300, n)
    truth = in_flight if q is None else special.gammaincinv(in_flight, q)
    told = {
        closed: [steady_mean(x, closed=closed) if q is None else steady_quantile(x, q, closed=closed) for x in runs]
        for closed in (True, False)
    }
    share, covered = answers(told[True], truth)
    print(
        f"{in_flight} in flight, {n}, {name}: {covered:.3f} of {share:.2f}, open {answers(told[False], truth)[1]:.3f}"
    )
    assert share >= 0.95
    assert 0.92 <= covered <= 0.99
    widths = [[each.high - each.low for each in told[closed] if each] for closed in (True, False)]
    assert np.median(widths[0]) < 0.97 * np.median(widths[1])


def test_slow_phases_that_are_rare_widen_the_interval_of_a_closed_loop():
    """20 of about 200 requests take three times as long; and what as many independent requests would say."""
    rng = np.random.default_rng(10)
    begun = np.cumsum(rng.random((300, 2020)) < 1 / 200, axis=1)
    runs = np.where(begun[:, 20:] > begun[:, :-20], 3.0, 1.0) * rng.lognormal(0, 0.3, (300, 2000))
    share, covered = answers([steady_mean(x, closed=True) for x in runs], float(runs.mean()))
    _, naive = answers([independent_mean(x) for x in runs], float(runs.mean()))
    assert share >= 0.98
    assert covered >= 0.92
    assert naive < 0.6


@pytest.mark.parametrize(("sums", "count"), [
    ([3, -3] * 5, 10),          # all of one size
    ([1, -1], 2),
    ([100, -50, 1, -51], 2.0),  # one on one side, its two halves on the other: (1 + 2 / 4) ** 2 / (1 + 2 / 16) = 2
    ([0, 0, 0, 0], 8),          # no spread rests on any
])  # fmt: skip
def test_excursions_count_by_their_squares(sums, count):
    """Each sum is that of an excursion of two values."""
    assert _excursions(np.repeat(np.array(sums) / 2, 2)) == pytest.approx(count, rel=0.01)


# --- refusals ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("load", "q", "n"), [(0.8, 0.99, 1000), (0.8, 0.99, 3000), (0.5, 0.99, 500), (0.8, 0.9, 500)])
def test_too_short_a_run_is_given_no_percentile(load, q, n):
    runs = mm1(load, 200, n)[0]
    refused = [x for x in runs if steady_quantile(x, q) is None]
    assert len(refused) >= 0.9 * len(runs)
    assert all(requests_needed(x, q) > n for x in refused)


def test_what_is_needed_is_enough():
    """p99 of a queue at half load: what runs of 1,000 requests ask for is answered by most runs of that length."""
    asked = np.median([requests_needed(x, 0.99) for x in mm1(0.5, 100, 1000)[0]])
    assert 2000 <= asked <= 10_000
    longer = mm1(0.5, 100, int(asked), seed=5)[0]
    assert np.mean([steady_quantile(x, 0.99) is not None for x in longer]) >= 0.5


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99, 0.999])
def test_independent_requests_need_what_mlperf_counts(q):
    few = exponential(1, 40)[0] if q > 0.5 else exponential(1, 6)[0]
    assert steady_quantile(few, q) is None
    assert requests_needed(few, q) >= samples_needed(q)


def test_what_was_answered_needs_no_more():
    x = exponential(1, 1000)[0]
    assert requests_needed(x) == 1000
    assert requests_needed(x, 0.9) == 1000


def test_a_report_says_how_many_are_needed():
    spread, unpowered = load_figures._spread(mm1(0.8, 1, 1500)[0][0])
    missing = dict(each.split(": ", 1) for each in unpowered)
    assert spread.p50 is not None
    assert spread.p99 is None
    assert missing["p99"].startswith("1,500 requests that depend on each other, about ")
    assert missing["p999"].endswith(" are needed")
    few = load_figures._spread(exponential(1, 60)[0], thinned=2)[1]
    assert few[-2] == "p99: 120 requests, 918 are needed"


# --- rates and ratios ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_throughput_of_a_queue_is_covered(load):
    """An open loop's completions come at the rate of its arrivals (Burke 1956)."""
    share, covered = answers([steady_rate(done) for done in mm1(load, 300, 1000)[1]], load)
    assert share == 1
    assert covered >= 0.92


def of_a_queue(load, draw, runs, n, seed=11):
    """Times of completion and latencies of queues with one server and Poisson arrivals."""
    rng = np.random.default_rng(seed)
    service, gaps = draw(rng, (runs, n + DROPPED)), rng.exponential(1 / load, (runs, n + DROPPED))
    walk = np.concatenate([np.zeros((runs, 1)), np.cumsum((service - gaps)[:, :-1], axis=1)], axis=1)
    latency = walk - np.minimum.accumulate(walk, axis=1) + service
    done = np.cumsum(gaps, axis=1) - gaps + latency
    return done[:, DROPPED:], latency[:, DROPPED:]


@pytest.mark.parametrize(("load", "draw", "gaps_say"), [
    (0.7, lambda rng, shape: np.where(rng.random(shape) < 0.9, 0.6, 4.6) * rng.exponential(1, shape), "too wide"),
    (0.8, lambda rng, shape: np.ones(shape), "too narrow"),
])  # fmt: skip
def test_the_rate_of_an_open_loop_is_as_uncertain_as_its_arrivals(load, draw, gaps_say):
    """Behind a server that is uneven the gaps vary more than what comes in, behind an even one less."""
    done, latency = of_a_queue(load, draw, 400, 700)
    told = [steady_rate(x, x - y) for x, y in zip(done, latency, strict=True)]
    of_gaps = [steady_rate(x) for x in done]
    share, covered = answers(told, load)
    widths = [np.median([each.high - each.low for each in found]) for found in (told, of_gaps)]
    print(f"{covered:.3f}, by gaps {answers(of_gaps, load)[1]:.3f}")
    assert share == 1
    assert 0.92 <= covered <= 0.985
    assert widths[0] < 0.8 * widths[1] if gaps_say == "too wide" else widths[0] > 1.05 * widths[1]


@pytest.mark.parametrize("jitter", [0.0, 1e-9])
def test_the_rate_of_requests_that_come_by_a_clock_is_that_clocks(jitter):
    """What is due each second and takes 0.1 s on average is done once a second, but for what the first and the last one take."""
    rng = np.random.default_rng(13)
    due = np.arange(1000) + jitter * rng.random((300, 1000))
    told = [steady_rate(x + rng.exponential(0.1, 1000), x) for x in due]
    share, covered = answers(told, 1.0)
    assert share == 1
    assert 0.92 <= covered <= 0.98
    assert np.median([each.high - each.low for each in told]) == pytest.approx(2 * 0.1 * np.log(20) / 1000, rel=0.1)


def test_where_latency_grows_the_gaps_of_completions_tell_the_rate():
    """Twice as much is due as the server can do: it does one a second, however many come in."""
    rng = np.random.default_rng(12)
    done = np.cumsum(rng.exponential(1, (200, 1000)), axis=1)
    due = np.cumsum(rng.exponential(0.5, (200, 1000)), axis=1)
    told = [steady_rate(x, y) for x, y in zip(done, np.minimum(due, done), strict=True)]
    share, covered = answers(told, 1.0)
    assert share == 1
    assert covered >= 0.92
    assert np.median([each.high - each.low for each in told]) < 1.1 * 2 * 1.96 / 1000**0.5


def test_a_rate_needs_a_time_due_for_each_completion():
    with pytest.raises(ValueError, match="as many"):
        steady_rate([1, 2, 3, 4], [0, 1, 2])


def test_the_throughput_of_a_paced_loop_is_known_better_than_that_of_a_random_one():
    rng = np.random.default_rng(6)
    paced = [steady_rate(np.arange(1000) / 50 + rng.exponential(0.01, 1000)) for _ in range(100)]
    share, covered = answers(paced, 50.0)
    assert share == 1
    assert covered >= 0.92
    random = steady_rate(np.cumsum(rng.exponential(0.02, 1000)))
    assert np.median([each.high - each.low for each in paced]) < 0.5 * (random.high - random.low)


def test_a_ratio_of_proportional_series_is_exact():
    x = exponential(1, 100)[0]
    ratio = steady_ratio(3 * x, x)
    assert (ratio.low, ratio.value, ratio.high) == (pytest.approx(3), pytest.approx(3), pytest.approx(3))
    with pytest.raises(ValueError, match="ratio"):
        steady_ratio([1, 2], [0, 0])


# --- odd series ----------------------------------------------------------------------------------------------------
def test_a_figure_scales_with_its_unit():
    x = mm1(0.8, 1, 3000)[0][0]
    for figure in (steady_mean, lambda x: steady_quantile(x, 0.5)):
        one, two = figure(x), figure(1e-3 * x)
        assert (two.low, two.value, two.high) == pytest.approx((1e-3 * one.low, 1e-3 * one.value, 1e-3 * one.high))


@pytest.mark.parametrize("x", [np.full(500, 0.25), np.zeros(500)])
def test_a_constant_series(x):
    for found in (steady_mean(x), steady_quantile(x, 0.5), steady_quantile(x, 0.99)):
        assert found is not None
        assert (found.low, found.value, found.high) == (x[0], x[0], x[0])


def test_a_mean_below_zero_has_an_interval_about_it():
    found = steady_mean(np.random.default_rng(7).normal(-1, 3, 200))
    assert found.high - found.value == pytest.approx(found.value - found.low)
    assert requests_needed(np.random.default_rng(7).normal(-1, 3, 200)) == 200


@pytest.mark.parametrize("n", range(2, 30))
def test_few_requests(n):
    x = exponential(1, n)[0]
    for found in (steady_mean(x), steady_quantile(x, 0.5)):
        assert found is None or found.low <= found.value <= found.high
    assert requests_needed(x) >= n


@pytest.mark.parametrize("x", [[], [1.0], [1.0, np.nan], np.ones((2, 2))])
def test_what_is_no_series_is_refused(x):
    with pytest.raises(ValueError, match="series"):
        steady_mean(x)


def test_a_million_requests_take_well_under_a_second():
    x = np.random.default_rng(8).exponential(1, 1_000_000)
    done = np.cumsum(x)
    calls = {
        "mean": lambda: steady_mean(x), "p50": lambda: steady_quantile(x, 0.5), "p99": lambda: steady_quantile(x, 0.99),
        "rate": lambda: steady_rate(done), "needed": lambda: requests_needed(x, 0.999),
    }  # fmt: skip
    for name, call in calls.items():
        began = time.perf_counter()
        call()
        took = time.perf_counter() - began
        print(f"{name}: {took:.3f} s")
        assert took < 2.0, name  # 0.2 s at most here; the rest is for a busy machine
