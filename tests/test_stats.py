"""Intervals hold what they promise: coverage by simulation, with fixed seeds, of series whose truth is known."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import signal, stats

from pinchpoint.stats import (
    arm_difference_interval,
    drift,
    line_interval,
    mean_interval,
    median_difference_interval,
    poisson_rate,
    quantile_interval,
    ratio_interval,
    samples_needed,
    share_interval,
    throughput_interval,
    warmup_end,
)


# --- series of known truth -----------------------------------------------------------------------------------------
def exponential(rng, runs, n):
    return rng.exponential(1.0, (runs, n))


def ar1(rng, runs, n, rho=0.8):
    """Autoregressive noise around 10, stationary from the start."""
    noise = rng.standard_normal((runs, n))
    noise[:, 0] /= np.sqrt(1 - rho**2)
    return 10 + signal.lfilter([1], [1, -rho], noise, axis=1)


def mm1(rng, runs, n, load=0.8):
    """Sojourn times of an M/M/1 queue with mean service 1, stationary from the start (Lindley's recursion)."""
    service, gaps = rng.exponential(1.0, (runs, n)), rng.exponential(1 / load, (runs, n))
    first = np.where(rng.random(runs) < load, rng.exponential(1 / (1 - load), runs), 0.0)
    steps = np.cumsum((service - gaps)[:, :-1], axis=1)
    walk = np.concatenate([np.zeros((runs, 1)), steps], axis=1)
    return np.maximum(first[:, None] + walk, walk - np.minimum.accumulate(walk, axis=1)) + service


def pareto(rng, runs, n):
    """A tail so heavy that the variance is infinite."""
    return 1 + rng.pareto(1.5, (runs, n))


MEANS = {exponential: 1.0, ar1: 10.0, mm1: 5.0}
QUANTILES = {
    exponential: lambda q: -np.log(1 - q),
    ar1: lambda q: 10 + stats.norm.ppf(q) / 0.6,
    mm1: lambda q: -5 * np.log(1 - q),
    pareto: lambda q: (1 - q) ** (-1 / 1.5),
}


def coverage(quantities, truth):
    return float(np.mean([q.low <= truth <= q.high for q in quantities]))


# --- means ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("series", "n", "at_least"),
    [
        (exponential, 10, 0.88),  # skewed and few
        (exponential, 100, 0.92),
        (exponential, 1000, 0.93),
        (exponential, 10_000, 0.93),
        (ar1, 100, 0.90),
        (ar1, 1000, 0.93),
        (ar1, 10_000, 0.93),
        (mm1, 1000, 0.78),  # ten batches of one busy period each: stated, not hidden
        (mm1, 3000, 0.87),
        (mm1, 10_000, 0.90),
        (mm1, 30_000, 0.90),
    ],
)
def test_the_mean_is_covered(series, n, at_least):
    runs = 600 if n <= 10_000 else 300
    quantities = [mean_interval(x) for x in series(np.random.default_rng(1), runs, n)]
    covered = coverage(quantities, MEANS[series])
    print(f"{series.__name__} n={n}: {covered:.3f}")
    assert covered >= at_least


def test_the_mean_of_independent_values_is_not_much_wider_than_needed():
    quantities = [mean_interval(x) for x in exponential(np.random.default_rng(2), 300, 2000)]
    needed = 2 * 1.96 / np.sqrt(2000)
    assert np.mean([q.high - q.low for q in quantities]) < 1.25 * needed


def test_the_mean_scales_with_its_unit():
    x = mm1(np.random.default_rng(3), 1, 500)[0]
    one, two = mean_interval(x), mean_interval(1e-3 * x)
    assert (two.value, two.low, two.high) == pytest.approx((1e-3 * one.value, 1e-3 * one.low, 1e-3 * one.high))


def test_small_and_odd_series():
    assert mean_interval([2.0, 2.0]).high == 2.0
    pair = mean_interval([1.0, 3.0])
    assert (pair.value, pair.low, pair.high, pair.n) == (
        2.0,
        pytest.approx(2 - 12.706, abs=1e-3),
        pytest.approx(14.706, abs=1e-3),
        2,
    )
    assert mean_interval(np.arange(7, dtype=np.int64)).value == 3.0
    assert type(mean_interval(np.ones(5)).low) is float


@pytest.mark.parametrize("x", [[], [1.0], [1.0, np.nan], [1.0, np.inf, -np.inf], np.ones((2, 2)), 3.0])
def test_what_is_no_series_is_refused(x):
    with pytest.raises(ValueError, match="series"):
        mean_interval(x)


# --- ratios, rates, shares, lines ----------------------------------------------------------------------------------
def test_the_ratio_is_covered():
    rng = np.random.default_rng(4)
    quantities = []
    for _ in range(500):
        bottom = rng.gamma(4.0, 0.25, 400)
        quantities.append(ratio_interval(0.7 * bottom + rng.normal(0, 0.3, 400), bottom))
    assert coverage(quantities, 0.7) >= 0.93
    assert np.median([q.high - q.low for q in quantities]) < 0.085  # 0.059 are needed; the mean alone would take 0.13


def test_a_ratio_of_proportional_series_is_exact():
    x = np.random.default_rng(5).exponential(1, 100)
    ratio = ratio_interval(3 * x, x)
    assert (ratio.low, ratio.high) == (pytest.approx(3), pytest.approx(3))


@pytest.mark.parametrize("pair", [([1, 2], [1]), ([1, 2], [0, 0]), ([1, 2], [-1, 0]), ([1], [1])])
def test_no_ratio(pair):
    with pytest.raises(ValueError, match=r"ratio|series"):
        ratio_interval(*pair)


def test_throughput_is_completions_over_time():
    rng = np.random.default_rng(6)
    quantities = [throughput_interval(5.0 + np.cumsum(rng.exponential(0.02, 500))) for _ in range(500)]
    assert coverage(quantities, 50.0) >= 0.92
    assert throughput_interval([3.0, 1.0, 2.0]).value == 1.0


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (1, 1, 0.2065, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilsons_interval(k, n, low, high):
    share = share_interval(k, n)
    assert (share.value, share.n) == (k / n, n)
    assert (share.low, share.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize(("events", "low", "high"), [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.390)])
def test_garwoods_interval(events, low, high):
    rate = poisson_rate(events, 10.0)
    assert rate.value == events / 10
    assert (rate.low * 10, rate.high * 10) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


@pytest.mark.parametrize(
    "call", [lambda: share_interval(1, 0), lambda: share_interval(3, 2), lambda: poisson_rate(1, 0.0)]
)
def test_no_share_and_no_rate(call):
    with pytest.raises(ValueError, match="no "):
        call()


def test_a_line_as_scipy_draws_it():
    rng = np.random.default_rng(7)
    x = np.arange(12.0)
    y = 3 + 0.5 * x + rng.normal(0, 0.2, 12)
    slope, start = line_interval(x, y)
    expected = stats.linregress(x, y)
    t = stats.t.ppf(0.975, 10)
    assert slope.value == pytest.approx(expected.slope)
    assert slope.high - slope.value == pytest.approx(t * expected.stderr)
    assert start.high - start.value == pytest.approx(t * expected.intercept_stderr)
    with pytest.raises(ValueError, match="two different x"):
        line_interval([1, 1, 1], [1, 2, 3])


# --- percentiles ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("q", "n"), [(0.9, 44), (0.95, 90), (0.99, 459), (0.999, 4603), (0.5, 7), (0.1, 44)])
def test_samples_needed_as_mlperf_counts_them(q, n):
    assert samples_needed(q) == n
    x = np.random.default_rng(8).random(n)
    assert quantile_interval(x[:-1], q) is None
    found = quantile_interval(x, q)
    assert found is not None
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(
    ("series", "q", "n", "at_least"),
    [
        (exponential, 0.5, 50, 0.94),
        (exponential, 0.9, 100, 0.94),
        (exponential, 0.99, 459, 0.94),
        (exponential, 0.99, 10_000, 0.94),
        (pareto, 0.5, 100, 0.94),
        (pareto, 0.99, 1000, 0.94),
        (ar1, 0.5, 100, 0.92),
        (ar1, 0.9, 1000, 0.92),
        (ar1, 0.99, 3000, 0.92),
        (mm1, 0.5, 1000, 0.92),
        (mm1, 0.9, 3000, 0.88),
        (mm1, 0.99, 3000, 0.65),  # stated, not hidden
        (mm1, 0.99, 10_000, 0.85),
        (mm1, 0.99, 50_000, 0.88),
    ],
)
def test_the_quantile_is_covered(series, q, n, at_least):
    runs = 300 if n <= 10_000 else 150
    quantities = [quantile_interval(x, q) for x in series(np.random.default_rng(9), runs, n)]
    covered = coverage(quantities, QUANTILES[series](q))
    print(f"{series.__name__} q={q} n={n}: {covered:.3f}")
    assert covered >= at_least


def test_a_quantile_of_ties():
    found = quantile_interval(np.full(500, 0.25), 0.99)
    assert found is not None
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)


# --- comparisons ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("series", [exponential, ar1, mm1, pareto])
@pytest.mark.parametrize("n", [100, 1000])
def test_no_difference_is_seen_where_there_is_none(series, n):
    rng = np.random.default_rng(10)
    pairs = zip(series(rng, 100, n), series(rng, 100, n), strict=True)
    covered = coverage([median_difference_interval(a, b, rng) for a, b in pairs], 0.0)
    print(f"{series.__name__} n={n}: {covered:.3f}")
    assert covered >= 0.90


def test_a_difference_is_measured():
    rng = np.random.default_rng(11)
    quantities = [
        median_difference_interval(1.1 * a, b, rng)
        for a, b in zip(ar1(rng, 100, 3000), ar1(rng, 100, 3000), strict=True)
    ]
    assert coverage(quantities, 0.1) >= 0.93
    assert np.mean([q.low > 0 for q in quantities]) > 0.95


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [([2, 2, 2], [1, 1], 1.0), ([1, 2, 3, 4], [5, 5], -0.5), ([1.0] * 900 + [9.0] * 800, [1.0] * 50, 0.0)],
)
def test_differences_of_few_and_of_tied_values(a, b, value):
    found = median_difference_interval(a, b, np.random.default_rng(0))
    assert found.value == pytest.approx(value)
    assert found.low <= found.value <= found.high


def test_no_difference_to_nothing():
    with pytest.raises(ValueError, match="median of 0"):
        median_difference_interval([1, 2], [0, 0], np.random.default_rng(0))


def test_interleaved_arms_let_shared_drift_cancel():
    """The tool's own overhead, 2 %, under a load that wanders by far more."""
    rng = np.random.default_rng(12)
    together, apart = [], []
    for x in ar1(rng, 100, 3000, rho=0.99):
        x = 10 + (x - 10) / 3 + rng.normal(0, 0.05, x.size)
        observed = rng.random(x.size) < 0.33
        x = np.where(observed, 1.02, 1.0) * x
        together.append(arm_difference_interval(x, observed, rng))
        apart.append(median_difference_interval(x[observed], x[~observed], rng))
    assert coverage(together, 0.02) >= 0.92
    width = [np.median([q.high - q.low for q in found]) for found in (together, apart)]
    assert width[0] < 0.6 * width[1]


@pytest.mark.parametrize("share", [0.02, 0.33, 0.98])
def test_arms_of_any_size_are_covered(share):
    rng = np.random.default_rng(13)
    quantities = [arm_difference_interval(x, rng.random(x.size) < share, rng) for x in exponential(rng, 100, 1000)]
    assert coverage(quantities, 0.0) >= 0.92


def test_arms_in_slices_are_covered():
    """Every fourth slice of 50 requests is the control arm."""
    rng = np.random.default_rng(14)
    control = (np.arange(3000) // 50) % 4 == 3
    assert coverage([arm_difference_interval(x, ~control, rng) for x in ar1(rng, 100, 3000)], 0.0) >= 0.90


def test_no_arms():
    with pytest.raises(ValueError, match="series"):
        arm_difference_interval(np.ones(9), np.ones(9, dtype=bool), np.random.default_rng(0))
    with pytest.raises(ValueError, match="one flag"):
        arm_difference_interval(np.ones(9), np.ones(8, dtype=bool), np.random.default_rng(0))


@pytest.mark.parametrize("series", [exponential, ar1, mm1])
def test_drift_is_not_seen_where_there_is_none(series):
    covered = coverage([drift(x) for x in series(np.random.default_rng(15), 100, 1000)], 0.0)
    print(f"{series.__name__}: {covered:.3f}")
    assert covered >= 0.92


def test_drift_is_seen_and_always_the_same():
    x = ar1(np.random.default_rng(16), 1, 2000)[0]
    x[1000:] *= 1.1
    assert drift(x) == drift(x)
    assert 0 < drift(x).low < 0.1 < drift(x).high


def test_a_steady_climb_is_a_drift():
    """A leak that doubles the latency over the run, under noise of a fifth."""
    rng = np.random.default_rng(18)
    found = [drift(np.linspace(1, 2, 1000) * rng.lognormal(0, 0.2, 1000)) for _ in range(50)]
    assert min(q.low for q in found) > 0.3
    assert np.median([q.value for q in found]) == pytest.approx(0.4, abs=0.02)  # 1.75 against 1.25


# --- warm-up -------------------------------------------------------------------------------------------------------
NOISE = {"steady": lambda rng, n: 1 + 0.02 * rng.standard_normal(n), "noisy": lambda rng, n: rng.lognormal(0, 0.2, n)}


def found_ends(shape, n, noise, runs=60):
    """The 10th, 50th and 90th percentile of where the warm-up is said to end."""
    rng = np.random.default_rng(17)
    ends = [warmup_end(shape(np.arange(n), n) * NOISE[noise](rng, n)) for _ in range(runs)]
    return [int(e) for e in np.quantile(ends, [0.1, 0.5, 0.9])]


@pytest.mark.parametrize(
    ("what", "shape", "noise", "n", "low", "high"),
    [
        ("the first is ten times slower", lambda i, n: 1 + 9.0 * (i < 1), "steady", 8, 1, 2),
        ("the first is ten times slower", lambda i, n: 1 + 9.0 * (i < 1), "noisy", 12, 1, 3),
        ("the first is ten times slower", lambda i, n: 1 + 9.0 * (i < 1), "noisy", 50_000, 1, 5),
        ("the second is slower than the first", lambda i, n: 1 + 9.0 * (i == 1), "steady", 1000, 2, 2),
        ("three at double", lambda i, n: 1 + 1.0 * (i < 3), "steady", 20, 3, 6),
        ("a tenth at double", lambda i, n: 1 + 1.0 * (i < n / 10), "noisy", 300, 30, 75),
        ("a tenth at double", lambda i, n: 1 + 1.0 * (i < n / 10), "steady", 3000, 300, 700),
        ("a decay", lambda i, n: 1 + np.exp(-i / (n / 20)), "steady", 3000, 600, 1300),
        ("a slow decline by 5 %", lambda i, n: 1 + 0.05 * np.clip(1 - i / (0.4 * n), 0, 1), "steady", 300, 60, 140),
        ("a slow decline by 5 %", lambda i, n: 1 + 0.05 * np.clip(1 - i / (0.4 * n), 0, 1), "noisy", 50_000, 11_000,
         25_000),
        ("a rise", lambda i, n: 1 - 0.2 * np.clip(1 - i / (0.1 * n), 0, 1), "steady", 3000, 200, 900),
        ("never settles", lambda i, n: 1.3 - 0.3 * i / n, "steady", 3000, 1400, 1500),
    ],
)  # fmt: skip
def test_where_a_warm_up_ends(what, shape, noise, n, low, high):
    ends = found_ends(shape, n, noise)
    assert low <= ends[0] <= ends[2] <= high, ends


@pytest.mark.parametrize(
    ("series", "n", "at_most"),
    [
        (exponential, 12, 0.2), (exponential, 100, 0.08), (exponential, 1000, 0.08), (exponential, 30_000, 0.05),
        (ar1, 12, 0.2), (ar1, 300, 0.08), (ar1, 3000, 0.05), (pareto, 30, 0.25), (pareto, 3000, 0.12),
        (mm1, 300, 0.30), (mm1, 3000, 0.25),  # a queue that starts in a long busy period looks like a warm-up
    ],
)  # fmt: skip
def test_a_stationary_series_is_hardly_ever_cut(series, n, at_most):
    ends = np.array([warmup_end(x) for x in series(np.random.default_rng(18), 200, n)])
    print(f"{series.__name__} n={n}: {np.mean(ends > 0):.3f} cut, {ends.mean() / n:.3f} lost")
    assert np.mean(ends > 0) <= at_most
    assert ends.mean() / n <= 0.09


@pytest.mark.parametrize("x", [[], [1.0], [9.0, 1.0, 1.0], np.ones(10), np.zeros(1000), [5.0] + [1.0] * 9])
def test_few_and_constant_values(x):
    assert warmup_end(x) == (1 if len(x) == 10 and x[0] == 5.0 else 0)


def test_at_most_half_is_cut():
    rng = np.random.default_rng(19)
    for n in (4, 5, 9, 20, 99, 100, 101, 1000):
        assert warmup_end(np.linspace(2, 1, n) + 0.001 * rng.standard_normal(n)) <= n // 2


# --- speed ---------------------------------------------------------------------------------------------------------
def test_a_million_requests_take_well_under_a_second():
    rng = np.random.default_rng(20)
    x, y = rng.exponential(1, 1_000_000), rng.exponential(1, 1_000_000)
    calls = {
        "mean": lambda: mean_interval(x), "p50": lambda: quantile_interval(x, 0.5),
        "p99": lambda: quantile_interval(x, 0.99), "difference": lambda: median_difference_interval(x, y, rng),
        "arms": lambda: arm_difference_interval(x, y < 1, rng),
        "drift": lambda: drift(x), "warm-up": lambda: warmup_end(x), "ratio": lambda: ratio_interval(x, y),
        "throughput": lambda: throughput_interval(np.cumsum(x)),
    }  # fmt: skip
    for name, call in calls.items():
        began = time.perf_counter()
        call()
        took = time.perf_counter() - began
        print(f"{name}: {took:.3f} s")
        assert took < 2.0, name  # 0.3 s at most here; the rest is for a busy machine
