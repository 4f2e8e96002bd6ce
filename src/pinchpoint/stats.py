"""Statistics of correlated series. Every interval is 95 % and two-sided; the order of a series is its order in time.

Requests of one run depend on each other: a bound for independent samples covers 45 % where it promises 99 % (an M/M/1
queue at 80 % load). So a series is cut into a few consecutive batches, whose means are nearly independent (batch means:
Law & Kelton, Simulation Modeling and Analysis, 9.5.3), and what correlation is left between neighbouring batches widens
the interval as in an AR(1) process (ASAP3: Steiger et al. 2005, ACM TOMACS 15(1)). Coverage is simulated
in tests/test_stats.py.

All functions are pure. A series is one-dimensional, finite and not empty, or ValueError is raised.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

from pinchpoint.domain.quantity import Quantity

Floats: TypeAlias = npt.NDArray[np.float64]

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
Z = float(special.ndtri(1 - TAIL))

BATCHES = 20  # the customary number (Law & Kelton): more are too correlated, fewer have a wide t quantile
LEAST_BATCHES = 5  # batches that a correlated series counts for at least; below it the t quantile explodes
MOST_CORRELATION = 0.9  # between neighbouring batches; beyond it the estimate says nothing but "very much"
EARLY_STOPPING_RISK = 0.01  # 1 - confidence of MLPerf's early stopping
EXCEEDANCES = 10  # requests beyond the percentile that a section should hold to estimate it
REPLICATES = 1000  # of a bootstrap: the ends then rest on its 25 outermost medians
GRID = 256  # order statistics that a large series is reduced to in a bootstrap of medians; exact at and between them
SMALL = 100  # requests below which a warm-up is looked for request by request
MSER_BATCH = 5  # of the rule MSER-5
COARSE = 50  # batches of the coarsest look, for slow declines
SPIKES = 5  # first requests that may each be cut for being slower than anything later
FAR = 2.0  # times the distance from median to maximum that a spike must lie above the maximum
STANDS_OUT = (
    2.0  # half-widths of its interval that a slope must be: neighbouring batches still depend on each other a bit
)
BY_CHANCE = 0.001  # risk, each side, that a start stands out; the cut was chosen to make it so, hence far below 5 %


# --- means, rates and shares ---------------------------------------------------------------------------------------
def mean_interval(x: npt.ArrayLike, batches: int = BATCHES) -> Quantity:
    """The mean of a series with an interval from batch means.

    Below about ten times `batches` values, and for values that depend on each other over more than a tenth of the
    series, the interval covers less than 95 % (M/M/1 at 80 % load: 69 % at 100, 82 % at 1000, 88 % at 3000 requests):
    `steady.steady_mean` is for requests that queue. ValueError if there are fewer than two values.
    """
    series = to_series(x, least=2)
    value = float(series.mean())
    half = _half_width(_batch_means(series, batches))
    return Quantity(value, value - half, value + half, series.size)


def ratio_interval(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Quantity:
    """The ratio of two sums, paired request by request or batch by batch (ratio estimator: Law & Kelton, 9.5.2).

    ValueError unless both have one length of at least two and the denominator's sum is positive. The interval is
    linearised, so it wants a denominator that varies by less than half its mean from batch to batch.
    """
    top, bottom = to_series(numerator, least=2), to_series(denominator, least=2)
    mean = float(bottom.mean())
    if top.size != bottom.size or mean <= 0:
        raise ValueError("a ratio needs pairs and a positive sum below the line")
    value = float(top.mean()) / mean
    half = _half_width(_batch_means((top - value * bottom) / mean, BATCHES))
    return Quantity(value, value - half, value + half, top.size)


def throughput_interval(done_s: npt.ArrayLike) -> Quantity:
    """Completions a second from their times in seconds: gaps are counted, so the first completion is not."""
    gaps = np.diff(np.sort(to_series(done_s, least=3)))
    return ratio_interval(np.ones(gaps.size), gaps)


def share_interval(k: int, n: int) -> Quantity:
    """The share `k` of `n` independent trials with Wilson's score interval (Wilson 1927; Brown, Cai & DasGupta 2001).

    Samples of a thread's state in quick succession are not independent: use `mean_interval` of the 0/1 series there.
    """
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"no share: {k} of {n}")
    share, weight = k / n, Z**2 / n
    centre = (share + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    low = 0.0 if k == 0 else min(share, centre - half)
    high = 1.0 if k == n else max(share, centre + half)
    return Quantity(share, max(0.0, low), min(1.0, high), n)


def poisson_rate(events: int, seconds: float) -> Quantity:
    """Independent events a second with the exact interval from the chi-square distribution (Garwood 1936)."""
    if events < 0 or not 0 < seconds < math.inf:
        raise ValueError(f"no rate: {events} events in {seconds} s")
    low = float(special.chdtri(2 * events, 1 - TAIL)) / 2 if events else 0.0
    high = float(special.chdtri(2 * events + 2, TAIL)) / 2
    return Quantity(events / seconds, low / seconds, high / seconds, events)


def line_interval(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Quantity, Quantity]:
    """Slope and intercept of y over x by least squares, intervals from the residuals with n - 2 degrees of freedom.

    For busy seconds over completions (slope = service demand, intercept = background). ValueError below three points or
    where all x are equal. Errors are taken as independent and of one size.
    """
    xs, ys = to_series(x, least=3), to_series(y, least=3)
    spread = float(((xs - xs.mean()) ** 2).sum())
    if xs.size != ys.size or spread <= 0:
        raise ValueError("a line needs pairs with at least two different x")
    slope = float(((xs - xs.mean()) * (ys - ys.mean())).sum()) / spread
    start = float(ys.mean() - slope * xs.mean())
    variance = float(((ys - start - slope * xs) ** 2).sum()) / (xs.size - 2)
    t = _t(xs.size - 2)
    of_slope = t * math.sqrt(variance / spread)
    of_start = t * math.sqrt(variance * (1 / xs.size + float(xs.mean()) ** 2 / spread))
    return (
        Quantity(slope, slope - of_slope, slope + of_slope, xs.size),
        Quantity(start, start - of_start, start + of_start, xs.size),
    )


# --- percentiles ---------------------------------------------------------------------------------------------------
def samples_needed(q: float) -> int:
    """Requests that the `q` quantile needs at least, 0 < q < 1: p90 44, p95 90, p99 459, p99.9 4603.

    MLPerf Inference's early stopping with no request over the bound: the smallest n with q**n <= 1 %.
    """
    if not 0 < q < 1:
        raise ValueError(f"no quantile: {q}")
    return math.ceil(round(math.log(EARLY_STOPPING_RISK) / math.log(max(q, 1 - q)), 9))


def quantile_interval(x: npt.ArrayLike, q: float) -> Quantity | None:
    """The `q` quantile with an interval that respects correlation, or None where `samples_needed(q)` are not there.

    The union of two intervals: sectioning, with a t quantile (Asmussen & Glynn 2007, III.5a), and order statistics,
    with the binomial count shrunk by the correlation of the indicator "above the quantile" (Conover 1999, 3.2).
    Covers 95 % or more of independent requests. A percentile's own few exceedances come in bursts where requests queue:
    for the p99 of an M/M/1 queue at 80 % load it covers 60 % at 1000, 71 % at 3000 and 89 % at 10 000 requests, where
    `steady.steady_quantile` gives None.
    """
    series = to_series(x, least=1)
    if series.size < samples_needed(q):
        return None
    value = float(np.quantile(series, q))
    half = _section_half_width(series, q, value)
    lower, upper = _rank_shares(series <= value, q)
    low, high = (float(v) for v in np.quantile(series, [lower, upper]))
    return Quantity(
        value,
        min(low, max(value - half, float(series.min()) if q >= 0.5 else -math.inf)),
        max(high, min(value + half, float(series.max()) if q <= 0.5 else math.inf)),
        series.size,
    )


def _section_half_width(series: Floats, q: float, value: float) -> float:
    """Half the interval of a quantile from the same quantile of consecutive sections, spread about `value`."""
    count = int(min(BATCHES, max(LEAST_BATCHES, series.size * min(q, 1 - q) / EXCEEDANCES)))
    edges = _edges(series.size, count)
    sections = np.array([np.quantile(series[a:b], q) for a, b in pairwise(edges)])
    return _half_width(sections, about=value)


def _rank_shares(below: npt.NDArray[np.bool_], q: float) -> tuple[float, float]:
    """The ranks, as shares from 0 to 1, between which the `q` quantile lies: Clopper-Pearson at the effective count."""
    means = _batch_means(below.astype(np.float64), BATCHES)
    independent = q * (1 - q) / below.size
    found = float(means.var(ddof=1)) / _effective(means)
    count = below.size / max(1.0, found / independent)
    lower = float(special.betaincinv(q * count, (1 - q) * count + 1, TAIL))
    upper = float(special.betaincinv(q * count + 1, (1 - q) * count, 1 - TAIL))
    return lower, upper


# --- comparisons ---------------------------------------------------------------------------------------------------
def median_difference_interval(a: npt.ArrayLike, b: npt.ArrayLike, rng: np.random.Generator) -> Quantity:
    """median(a) / median(b) - 1 of two series measured apart, by bootstrap of consecutive blocks (Carlstein 1986).

    Blocks as the batches of `mean_interval`, with its widening. For arms that alternate within one series use
    `arm_difference_interval`, which lets shared drift cancel. ValueError below two values each or if median(b) is 0.
    """
    first, second = to_series(a, least=2), to_series(b, least=2)
    above, below = _Blocks.of(first, _edges(first.size, BATCHES)), _Blocks.of(second, _edges(second.size, BATCHES))
    draws = above.medians(_weights(above.count, rng)), below.medians(_weights(below.count, rng))
    widening = max(_widening(above.own_medians), _widening(below.own_medians))
    return _relative(first, second, draws, widening)


def arm_difference_interval(x: npt.ArrayLike, treated: npt.ArrayLike, rng: np.random.Generator) -> Quantity:
    """median(x[treated]) / median(x[not treated]) - 1 of arms interleaved at random within one series.

    Both arms of a block are drawn together, so what drifts slowly for both cancels. For the tool's own overhead: a
    random 1 in k of the requests is observed. ValueError below two values in an arm.
    """
    series, arm = to_series(x, least=4), np.asarray(treated, dtype=np.bool_)
    if arm.shape != series.shape:
        raise ValueError("an arm needs one flag a value")
    first, second = to_series(series[arm], least=2), to_series(series[~arm], least=2)
    edges = _edges(series.size, min(BATCHES, first.size, second.size))
    count = np.concatenate(([0], np.cumsum(arm)))[edges]
    above, below = _Blocks.of(first, count), _Blocks.of(second, edges - count)
    weights = _weights(edges.size - 1, rng)
    draws = above.medians(weights), below.medians(weights)
    both = ~np.isnan(above.own_medians) & ~np.isnan(below.own_medians)
    ratios = above.own_medians[both] / below.own_medians[both]
    return _relative(first, second, draws, _widening(ratios))


def drift(x: npt.ArrayLike) -> Quantity:
    """The relative change of the median from the first half of a series to the second; its interval holds 0 if steady.

    A bootstrap of blocks with a fixed seed, so that one series always gives one answer. A bootstrap takes a steady climb
    for slow noise: where a straight line through the medians of batches stands out, its slope gives the change instead.
    """
    series = to_series(x, least=4)
    middle = series.size // 2
    climb = _climb(series)
    moved = climb or median_difference_interval(series[middle:], series[:middle], np.random.default_rng(0))
    return Quantity(moved.value, moved.low, moved.high, series.size)


def _climb(series: Floats) -> Quantity | None:
    """The change between the halves on a straight line through the medians of batches; None where none stands out."""
    if series.size < MSER_BATCH * BATCHES:
        return None
    medians = [float(np.median(series[a:b])) for a, b in pairwise(_edges(series.size, BATCHES))]
    slope, start = line_interval(np.arange(BATCHES), medians)
    base = start.value + slope.value * (BATCHES / 2 - 1) / 2  # the middle of the first half
    if base <= 0 or abs(slope.value) < STANDS_OUT * (slope.high - slope.value):
        return None
    low, high = sorted(end * BATCHES / 2 / base for end in (slope.low, slope.high))
    return Quantity(slope.value * BATCHES / 2 / base, low, high, series.size)


def _relative(first: Floats, second: Floats, draws: tuple[Floats, Floats], widening: float) -> Quantity:
    """The relative difference of medians, its interval from paired bootstrap draws stretched by `widening`."""
    base = float(np.median(second))
    if base == 0:
        raise ValueError("no relative difference to a median of 0")
    value = float(np.median(first)) / base - 1
    kept = np.isfinite(draws[0]) & np.isfinite(draws[1]) & (draws[1] != 0)
    low, high = np.quantile(draws[0][kept] / draws[1][kept] - 1, [TAIL, 1 - TAIL]) if kept.any() else (value, value)
    return Quantity(
        value,
        value - max(0.0, value - float(low)) * widening,
        value + max(0.0, float(high) - value) * widening,
        first.size + second.size,
    )


def _widening(block_medians: Floats) -> float:
    """What a block bootstrap's interval is stretched by: few blocks (t for normal), and correlation between them."""
    blocks = block_medians[~np.isnan(block_medians)]
    effective = _effective(blocks)
    freedom = max(effective - 1, 1.0)  # one block, or blocks that all tell the same, still leave one degree at most
    return _t(freedom) / Z * math.sqrt(max(blocks.size, 1) / freedom)


def _weights(blocks: int, rng: np.random.Generator) -> Floats:
    """How often each block is drawn, one row a bootstrap replicate."""
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=REPLICATES).astype(np.float64)


class _Blocks:
    """A series in blocks, reduced to counts at up to GRID of its order statistics, for medians of resampled blocks.

    `counts` has a row a block and, for each point of the grid, the values below it and the values up to it.
    """

    __slots__ = ("count", "counts", "own_medians", "points")

    def __init__(self, points: Floats, counts: Floats, own_medians: Floats) -> None:
        self.points, self.counts, self.own_medians, self.count = points, counts, own_medians, len(counts)

    @classmethod
    def of(cls, series: Floats, edges: npt.NDArray[np.intp]) -> _Blocks:
        """Reduce `series`, cut at `edges`; an empty block counts nothing and has a NaN median."""
        parts = [np.sort(series[a:b]) for a, b in pairwise(edges)]
        ranks = np.unique(np.linspace(0, series.size - 1, min(GRID, series.size)).astype(np.intp))
        grid = np.unique(np.partition(series, ranks)[ranks])
        sides = [np.stack([np.searchsorted(p, grid, "left"), np.searchsorted(p, grid, "right")], axis=1) for p in parts]
        counts = np.array([side.ravel() for side in sides], dtype=np.float64)
        own = np.array([np.median(p) if p.size else np.nan for p in parts])
        return cls(np.repeat(grid, 2), counts, own)

    def medians(self, weights: Floats) -> Floats:
        """The median of each resample; NaN where a resample is empty."""
        cumulative = weights @ self.counts
        half = cumulative[:, -1] / 2
        ends = [self._crossing(cumulative, half, strict) for strict in (False, True)]
        return np.where(half > 0, (ends[0] + ends[1]) / 2, np.nan)

    def _crossing(self, cumulative: Floats, half: Floats, strict: bool) -> Floats:
        """Where each row of counts reaches (or, if `strict`, passes) `half`, linear between the points of the grid."""
        reached = cumulative > half[:, None] if strict else cumulative >= half[:, None]
        at = reached.argmax(axis=1)
        before, rows = np.maximum(at - 1, 0), np.arange(len(at))
        low, high = cumulative[rows, before], cumulative[rows, at]
        part = np.divide(half - low, high - low, out=np.ones_like(half), where=high > low)
        result: Floats = self.points[before] + np.clip(part, 0, 1) * (self.points[at] - self.points[before])
        return result


# --- warm-up -------------------------------------------------------------------------------------------------------
def warmup_end(latency_s: npt.ArrayLike) -> int:
    """The index of the first stationary request; 0 if the series is stationary from its start, at most half its length.

    The truncation of MSER-5 (White 1997, Simulation 69(6)), made robust and looked for at several scales: single slow
    first requests, batches of five, and fiftieths of the series for a slow decline. Medians of batches stand for
    means, and a cut counts only if the start differs significantly from what follows, in either direction. A series
    that is still moving in its second half is cut at half: ask `drift` about the rest.
    """
    series = to_series(latency_s, least=0)
    if series.size < 4:
        return 0
    cut = _spikes(series)
    sizes = {1} if series.size < SMALL else {MSER_BATCH, max(MSER_BATCH, series.size // COARSE)}
    for size in sorted(sizes):
        cut = max(cut, _settled(series, size))
    return min(cut, series.size // 2)


def _spikes(series: Floats) -> int:
    """The end of the first few requests that are far slower than the slowest of the second half."""
    later = series[series.size // 2 :]
    slowest = float(later.max())
    bound = slowest + FAR * (slowest - float(np.median(later)))
    slow = np.flatnonzero(series[: min(SPIKES, series.size // 4 + 1)] > bound)
    return int(slow[-1]) + 1 if slow.size else 0


def _settled(series: Floats, size: int) -> int:
    """Where batches of `size` requests settle by the MSER rule, in requests; 0 if the start does not stand out."""
    count = series.size // size
    blocks = np.median(series[: count * size].reshape(count, size), axis=1)
    later = blocks[count // 2 :]
    low, middle, high = np.quantile(later, [0.05, 0.5, 0.95])
    bounded = np.clip(blocks, middle - 3 * (middle - low), middle + 3 * (high - middle))
    cut = _mser(bounded)
    return cut * size if cut and _stands_out(bounded, cut) else 0


def _mser(y: Floats) -> int:
    """The d up to half the length that minimises var(y[d:]) / (n - d), the squared standard error of what is kept."""
    kept = np.arange(y.size, 0, -1)
    centred = y - y[y.size // 2 :].mean()
    sums, squares = centred[::-1].cumsum()[::-1], (centred**2)[::-1].cumsum()[::-1]
    error = (squares - sums**2 / kept) / kept**2
    return int(np.argmin(error[: y.size // 2 + 1]))


def _stands_out(y: Floats, cut: int) -> bool:
    """Whether y[:cut] differs from what follows by more than chance, given how correlated the stationary part is."""
    kept = y[cut:]
    gap = abs(float(np.mean(y[:cut]) - np.mean(kept)))
    place = np.arange(kept.size) - (kept.size - 1) / 2
    level = kept - float(place @ kept) / float(place @ place) * place  # a series still moving must not hide its start
    effective = _effective(level)
    noise = float(level.var(ddof=1)) * kept.size / effective
    significant = float(special.stdtrit(max(1.0, effective - 2), 1 - BY_CHANCE))
    return gap > significant * math.sqrt(noise * (1 / cut + 1 / kept.size))


# --- the common ground ---------------------------------------------------------------------------------------------
def to_series(x: npt.ArrayLike, *, least: int) -> Floats:
    """`x` as a one-dimensional array of finite floats with at least `least` values, or ValueError."""
    series = np.ascontiguousarray(x, dtype=np.float64)
    if series.ndim != 1 or series.size < least:
        raise ValueError(f"a series of at least {least} values is needed, not of shape {series.shape}")
    if not np.isfinite(series).all():
        raise ValueError("a series must be finite")
    return series


def _edges(size: int, count: int) -> npt.NDArray[np.intp]:
    """The ends of `count` consecutive batches of nearly equal length."""
    return np.linspace(0, size, min(count, size) + 1).astype(np.intp)


def _batch_means(series: Floats, batches: int) -> Floats:
    """Means of consecutive batches."""
    edges = _edges(series.size, max(2, batches))
    means: Floats = np.add.reduceat(series, edges[:-1]) / np.diff(edges)
    return means


def _effective(y: Floats) -> float:
    """How many independent values `y` counts for: n (1 - r) / (1 + r), r its lag-1 correlation (AR(1)), if positive.

    The estimate of r is too low by about 1/n (Kendall 1954), which is added back.
    """
    if y.size < 2:
        return float(y.size)
    deviation = y - y.mean()
    power = float(deviation @ deviation)
    if power <= 0:
        return float(y.size)
    r = float(deviation[1:] @ deviation[:-1]) / power + 1 / y.size
    r = min(max(r, 0.0), MOST_CORRELATION)
    return max(y.size * (1 - r) / (1 + r), float(min(y.size, LEAST_BATCHES)))


def _half_width(y: Floats, about: float | None = None) -> float:
    """Half the interval of the mean of batch values `y`; spread is taken about their mean, or about `about`."""
    effective = _effective(y)
    centre = float(y.mean()) if about is None else about
    variance = float(((y - centre) ** 2).sum()) / (y.size - 1)
    return _t(effective - 1) * math.sqrt(variance / effective)


def _t(freedom: float) -> float:
    """The two-sided quantile of Student's t."""
    return float(special.stdtrit(freedom, 1 - TAIL))


def independent_mean(x: npt.ArrayLike) -> Quantity:
    """The mean of independent repetitions with Student's interval; of a single one the value itself, with n = 1."""
    values = to_series(x, least=1)
    value = float(values.mean())
    if values.size == 1:
        return Quantity(value, value, value, 1)
    half = _t(values.size - 1) * float(values.std(ddof=1)) / math.sqrt(values.size)
    return Quantity(value, value - half, value + half, int(values.size))


def independent_difference(a: npt.ArrayLike, b: npt.ArrayLike) -> Quantity:
    """mean(a) - mean(b) of independent repetitions, by Welch's interval (Welch 1947); n is that of the fewer.

    With a single repetition on either side the difference has no width and n = 1: it was seen once.
    """
    first, second = to_series(a, least=1), to_series(b, least=1)
    value = float(first.mean() - second.mean())
    if min(first.size, second.size) == 1:
        return Quantity(value, value, value, 1)
    parts = [float(each.var(ddof=1)) / each.size for each in (first, second)]
    squares = sum(part**2 / (each.size - 1) for part, each in zip(parts, (first, second), strict=True))
    half = _t(sum(parts) ** 2 / squares) * math.sqrt(sum(parts)) if squares else 0.0
    return Quantity(value, value - half, value + half, int(min(first.size, second.size)))
