"""Figures of one steady run whose requests depend on each other, or None where the run is too short to tell them.

In a queue a slow request makes the next ones slow, so that thousands of requests may count for a few dozen. How many a
series counts for is read off its autocovariances, summed in pairs until a pair is no longer positive (initial monotone
sequence: Geyer 1992, Statistical Science 7(4), 3.3), of up to 500 consecutive batches, which leave the sum as it is.

That count is too high in a short run: autocovariances are taken about the run's own mean, and the rare long waits may not
have come yet. So intervals are widened by a correction that vanishes as the count grows. Its size was chosen by
simulation of independent series and of queues at 50 % and 80 % load, and tried on other queues: `python -m bench coverage`.

A closed loop keeps so many requests in flight and no more, so that no queue is to come which is longer than those that have
been: there the correction would only widen. What is uncertain is the spread itself, and the t quantile says so. Its degrees
of freedom are the excursions of the series from its mean, as many as their squares count for: few where slow phases are rare.

What no estimator can repair: a run short of one of the rare long queues looks like a run of a shorter queue. Where a
tenth of the runs of some queue are answered, these are the quiet ones, and their intervals are too low.

All functions are pure. The order of a series is its order in time; what is no series raises ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from pinchpoint.domain.quantity import Quantity
from pinchpoint.stats import TAIL, Floats, Z, samples_needed, to_series

MOST_BATCHES = 500  # that autocovariances are taken of
COARSE_BATCHES = 20  # whose spread bounds from below what requests that balance each other may narrow an interval to
MEAN_CORRECTION = 40.0  # effective requests at which the interval of a mean is twice as wide as in a long run
RANK_CORRECTION = 12.0  # the same of the rank of a percentile, from all requests, and
TAIL_CORRECTION = 7.0  # from those beyond it
EXCEEDANCES = 6.0  # independent requests beyond a percentile, as the middle of the series tells them
INDEPENDENT = 0.8  # of the requests: a series that counts for more is taken as independent, less
CHANCE = 2.0  # over the root of their number, by which few requests seem to depend on each other
FEW = 20.0  # requests beyond a percentile, whose order says little
OF_ENDS = -math.log(2 * TAIL) / Z  # times the spread of latency: two that are exponential differ by a Laplace variable
WIDEST = 8.0  # times the value, for the upper end of an interval that still says something
HEADROOM = 1.5  # on the length of a longer run: a short one shows too little dependence
DOUBLINGS, STEPS = 20, 8  # how far, and in how many steps each, a longer run is looked for


@dataclass(frozen=True, slots=True)
class _Weight:
    """A series' size, how many independent values its mean counts for, and the standard error of that mean.

    Of a closed loop also how many excursions from the mean that error rests on.
    """

    size: int
    effective: float
    error: float
    excursions: float | None = None

    @property
    def dependence(self) -> float:
        """0 where every value counts, 1 where next to none does."""
        return max(0.0, 1 - self.effective / self.size)

    def t(self, times: Floats) -> Floats:
        """The t quantile, were the run so many times as long; excursions of requests that are independent tell nothing."""
        degrees = self.effective * times - 1
        if self.excursions is not None:
            degrees = np.minimum(degrees, self.excursions * times / max(self.dependence, 1 / self.size))
        found: Floats = special.stdtrit(np.maximum(degrees, 1.0), 1 - TAIL)
        return found

    def unseen(self, correction: float, times: Floats) -> Floats:
        """By which share an interval is too narrow for want of the long queues of an open loop, were it so much longer."""
        return (self.excursions is None) * self.dependence * correction / (self.effective * times)


# --- means, ratios and rates ---------------------------------------------------------------------------------------
def steady_mean(x: npt.ArrayLike, *, closed: bool = False) -> Quantity | None:
    """The mean of a series, of a closed loop or of an open one, or None where its interval would reach beyond eight times it.

    The interval of a positive mean is symmetric in mean ** -1/2: in a busy queue the runs with a low mean are also those
    that show too little of the spread. ValueError below two values.
    """
    series = to_series(x, least=2)
    return _around(float(series.mean()), _weight(series, closed))


def steady_ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Quantity | None:
    """The ratio of two sums, paired request by request (ratio estimator: Law & Kelton, 9.5.2), or None as for a mean.

    ValueError unless both have one length of at least two and the denominator's sum is positive.
    """
    return _around(*_ratio(to_series(numerator, least=2), to_series(denominator, least=2)))


def _ratio(top: Floats, bottom: Floats) -> tuple[float, _Weight]:
    mean = float(bottom.mean())
    if top.size != bottom.size or mean <= 0:
        raise ValueError("a ratio needs pairs and a positive sum below the line")
    value = float(top.mean()) / mean
    return value, _weight((top - value * bottom) / mean)


def steady_rate(done_s: npt.ArrayLike, due_s: npt.ArrayLike | None = None) -> Quantity | None:
    """Completions a second from their times in seconds, or None as for a mean; gaps are counted, so the first is not.

    With the times when the same requests were due: what is done came in and did not stay. So the rate is as uncertain as the
    arrivals' and as what latency adds at both ends, while the latter is less than the former or than what the gaps of
    completions tell. It is more where latency grows, and there the gaps are right. In a queue they are not: a server that is
    behind evens them out, or tears them apart, over longer than the few lags that can be summed.

    ValueError unless there are at least three of both, as many.
    """
    done = to_series(done_s, least=3)
    gaps = np.diff(np.sort(done))
    value, weight = _ratio(np.ones(gaps.size), gaps)
    return _around(value, weight if due_s is None else _of_arrivals(done, to_series(due_s, least=3), value, weight))


def _of_arrivals(done: Floats, due: Floats, rate: float, of_gaps: _Weight) -> _Weight:
    """What a rate is worth by the arrivals, or by the gaps of its completions."""
    if due.size != done.size:
        raise ValueError("a rate needs as many times due as done")
    series = rate * (1 - rate * np.diff(np.sort(due)))
    of_arrivals = _weight(series)
    ends = OF_ENDS * rate**2 * float((done - due).std()) / series.size
    if ends > max(of_arrivals.error, of_gaps.error):
        return of_gaps
    by_a_clock = of_arrivals.error <= ends  # whose gaps depend on each other by their rounding, if at all
    effective = float(series.size) if by_a_clock else of_arrivals.effective
    return replace(of_arrivals, effective=effective, error=math.hypot(of_arrivals.error, ends))


def _around(value: float, weight: _Weight) -> Quantity | None:
    half = float(_half_width(weight, np.ones(1))[0])
    if value <= 0 or half == 0:
        return Quantity(value, value - half, value + half, weight.size)
    if half > _widest_half(value):
        return None
    step = half / value / 2
    return Quantity(value, value / (1 + step) ** 2, value / (1 - step) ** 2, weight.size)


def _half_width(weight: _Weight, times: Floats) -> Floats:
    """Half the interval of a mean, were the run so many times as long."""
    widened: Floats = weight.t(times) * weight.error / np.sqrt(times) * (1 + weight.unseen(MEAN_CORRECTION, times))
    return widened


def _widest_half(value: float) -> float:
    return 2 * value * (1 - 1 / math.sqrt(WIDEST))


# --- percentiles ---------------------------------------------------------------------------------------------------
def steady_quantile(x: npt.ArrayLike, q: float, *, closed: bool = False) -> Quantity | None:
    """The `q` quantile with an interval between two order statistics, or None where the run is too short for it.

    Ranks by Clopper & Pearson at the count of independent requests that the indicator "above the quantile" has
    (Conover 1999, 3.2; Woodruff 1952 for dependent samples), shrunk by the correction of an open loop, or as the t quantile
    of a closed one is wider than the normal one. None below `samples_needed(q)`,
    where the interval would end beyond the slowest request, or where requests depend on each other and fewer than six
    independent ones would lie beyond the quantile. That is judged by the middle of the series: the few groups of
    requests beyond a high percentile say too little of their own number.
    """
    return steady_quantiles(x, (q,), closed=closed)[0]


def steady_quantiles(x: npt.ArrayLike, qs: Sequence[float], *, closed: bool = False) -> tuple[Quantity | None, ...]:
    """`steady_quantile` of each of several shares, in less time."""
    series = to_series(x, least=1)
    ordered = np.sort(series)
    of_middle = _of_indicator(series > _at(ordered, 0.5), closed)
    told = [q for q in qs if series.size >= samples_needed(q)]
    found = {q: _quantile(series, ordered, of_middle, q) for q in told}
    return tuple(found.get(q) for q in qs)


def _quantile(series: Floats, ordered: Floats, of_middle: _Weight, q: float) -> Quantity | None:
    value = _at(ordered, q)
    weights = of_middle, of_middle if q == 0.5 else _of_indicator(series > value, of_middle.excursions is not None)
    if not _enough(weights, q, np.ones(1))[0]:
        return None
    lower, upper = _ranks(weights[1], q, np.ones(1))
    return Quantity(value, min(_at(ordered, lower[0]), value), max(_at(ordered, upper[0]), value), series.size)


def _at(ordered: Floats, share: float) -> float:
    """The quantile of a sorted series, linear between order statistics (as numpy.quantile, which takes longer)."""
    place = share * (ordered.size - 1)
    before = int(place)
    after = min(before + 1, ordered.size - 1)
    return float(ordered[before] + (place - before) * (ordered[after] - ordered[before]))


def _of_indicator(above: npt.NDArray[np.bool_], closed: bool) -> _Weight:
    """How many independent requests the share of those above a bound counts for."""
    weight = _weight(above.astype(np.float64), closed)
    return replace(weight, effective=min(weight.effective, float(above.size)))


def _ranks(weight: _Weight, q: float, times: Floats) -> tuple[Floats, Floats]:
    """The ranks, as shares from 0 to 1, between which the `q` quantile lies, were the run so many times as long."""
    widened = 1 + weight.unseen(RANK_CORRECTION + TAIL_CORRECTION / min(q, 1 - q), times)
    if weight.excursions is not None:
        widened = weight.t(times) / Z
    count = weight.effective * times / widened**2
    lower = special.betaincinv(q * count, (1 - q) * count + 1, TAIL)
    upper = special.betaincinv(q * count + 1, (1 - q) * count, 1 - TAIL)
    return lower, upper


def _enough(weights: tuple[_Weight, _Weight], q: float, times: Floats) -> npt.NDArray[np.bool_]:
    """Whether the `q` quantile can be told by its weight and that of the middle, were the run so many times as long."""
    of_middle, of_value = weights
    lower, upper = _ranks(of_value, q, times)
    edge = 0.5 / (of_value.size * times)
    inside: npt.NDArray[np.bool_] = (lower > edge) & (upper < 1 - edge)
    beyond = of_middle.effective * times * min(q, 1 - q)
    return (inside & (beyond >= EXCEEDANCES)) | _independent(weights, q)


def _independent(weights: tuple[_Weight, _Weight], q: float) -> bool:
    """Whether requests beyond the quantile lie anywhere; of only a few of them the middle of the series must say it."""
    of_middle, of_value = weights
    enough = of_value.size * (INDEPENDENT - CHANCE / math.sqrt(of_value.size))
    told_by = of_middle if of_value.size * min(q, 1 - q) < FEW else of_value
    return told_by.effective >= enough and of_value.effective >= enough / 2


# --- how long a run must be ----------------------------------------------------------------------------------------
def requests_needed(x: npt.ArrayLike, q: float | None = None, *, closed: bool = False) -> int:
    """About how many requests like these tell the mean, or the `q` quantile; at most their number where these do.

    Either `samples_needed(q)`, or an estimate rounded up to two digits; from a much too short run, hence too low.
    """
    series = to_series(x, least=2)
    times = 2.0 ** (np.arange(DOUBLINGS * STEPS + 1) / STEPS)
    if q is None:
        mean = float(series.mean())
        enough = (_half_width(_weight(series, closed), times) <= _widest_half(mean)) | (mean <= 0)
    else:
        ordered = np.sort(series)
        of_middle, of_value = (_of_indicator(series > _at(ordered, each), closed) for each in (0.5, q))
        of_value = replace(of_value, effective=min(of_middle.effective, of_value.effective))
        enough = _enough((of_middle, of_value), q, times)
    first = int(np.argmax(enough)) if enough.any() else times.size - 1
    count = _rounded(series.size * HEADROOM * float(times[first])) if first else series.size
    return count if q is None else max(count, samples_needed(q))


def _rounded(count: float) -> int:
    unit: int = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return math.ceil(count / unit) * unit


# --- the common ground ---------------------------------------------------------------------------------------------
def _weight(series: Floats, closed: bool = False) -> _Weight:
    """What the mean of a series is worth; a constant series counts in full."""
    spread = float(series.var(ddof=1))
    batches = _batches(series, -(-series.size // MOST_BATCHES))
    of_mean = _variance_of_mean(series, batches) if spread > 0 else 0.0
    effective = spread / of_mean if of_mean > 0 else float(series.size)
    return _Weight(series.size, effective, math.sqrt(of_mean), _excursions(batches) if closed else None)


def _excursions(batches: Floats) -> float:
    """How many excursions from the mean the spread rests on: all of them if they are of one size, one if it is the largest.

    An excursion is what lies between two crossings of the mean; the count is (sum a**2)**2 / sum a**4 of their sums, the
    degrees of freedom of a sum of squares but for a factor between 2 and 3 (Satterthwaite 1946, Biometrics Bulletin 2(6)).
    """
    deviation = batches - batches.mean()
    crossings = np.flatnonzero(np.diff(deviation > 0)) + 1
    squares = np.add.reduceat(deviation, np.concatenate(([0], crossings))) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum()) if squares.any() else float(batches.size)


def _variance_of_mean(series: Floats, batches: Floats) -> float:
    """The variance of the mean of a series, by the initial monotone sequence of its batches' autocovariances.

    The window of lags that were summed, as a share of the series, is what taking them about the run's own mean costs.
    """
    size = batches.size
    deviation = batches - batches.mean()
    transform = fft.rfft(deviation, fft.next_fast_len(2 * size, real=True))
    covariance = fft.irfft(np.abs(transform) ** 2, fft.next_fast_len(2 * size, real=True))[:size] / size
    pairs = covariance[0 : size // 2 * 2 : 2] + covariance[1 : size // 2 * 2 : 2]
    positive = pairs > 0
    count = int(positive.argmin()) if not positive.all() else pairs.size
    alone = float(covariance[0])
    total = 2 * float(np.minimum.accumulate(pairs[:count]).sum()) - alone if count else alone
    total /= 1 - min(2 * count / size, 0.7)
    if total < alone:
        coarse = _batches(series, max(1, series.size // COARSE_BATCHES))
        total = min(alone, max(total, float(coarse.var(ddof=1)) / coarse.size * size)) if coarse.size > 1 else alone
    return total / (size - 1)


def _batches(series: Floats, length: int) -> Floats:
    """Means of consecutive batches of one length; what is left over at the start belongs to none."""
    count = series.size // length
    means: Floats = series[series.size - count * length :].reshape(count, length).mean(axis=1)
    return means
