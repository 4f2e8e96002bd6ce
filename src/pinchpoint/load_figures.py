"""LoadRun -> LoadReport: percentiles with intervals, the knee, the promise, and whether the client was the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from pinchpoint import stats, steady
from pinchpoint.domain.arrivals import CLOSED
from pinchpoint.domain.demand import OF_MOST
from pinchpoint.domain.load_report import (
    ClientReport,
    EarlyStopping,
    Knee,
    LevelReport,
    LoadReport,
    Place,
    Reason,
    SloReport,
    Spread,
    Stretch,
)
from pinchpoint.domain.picture import Bin
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.traffic import CONFIRMED, MEASURED, Client, Level, LoadRun, Sends
from pinchpoint.limits import Limits
from pinchpoint.load import histogram, mlperf, records
from pinchpoint.load.search import BROKEN, KEPT
from pinchpoint.server_use import server_use
from pinchpoint.units import digits, duration, percent

SCHEMA = "pinchpoint/load/1"
QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))
BARS_AN_OCTAVE = 8
FEWEST = 2  # for a mean
FEWEST_OF_TREND = 40
STRETCHES = 60
MANY_STRETCHES, FAR = 20, 2.0  # a start beyond so many others comes by chance one time in twenty
OVER_SATURATED = "over-saturated"
GROWS = "latency grows for as long as more is sent than is answered"
WAKE_S = 10e-6  # for an answer, to wake up a worker whose CPU is free: 2 to 5 us as a rule
CLIENT_WAS_THE_LIMIT, LOST, ERRORS = "V101", "V103", "V105"

Floats = npt.NDArray[np.float64]


def load_report(run: LoadRun, limits: Limits) -> LoadReport:
    """The report of a run; pure, so that it can be made again from the folder alone."""
    levels = tuple(_level(run, number, limits) for number in range(len(run.levels)))
    slo = _slo(run, levels)
    counted = _counted(levels, slo)
    reasons = tuple(dict.fromkeys(reason for each in counted for reason in each.reasons))
    if run.ended != "complete":
        reasons += (Reason("ended", run.ended),)
    if not levels:
        reasons += (Reason("ended", "nothing was measured"),)
    if slo and not run.traffic.levels and slo.highest_rate_per_s is None and run.ended == "complete":
        reasons += (Reason("V104", slo.reason),)
    return LoadReport(
        SCHEMA, run.id, not reasons, reasons, Place(run.kind, run.uri, run.server), run.traffic, run.environment,
        _client(run.client, counted), levels, _knee(levels), slo, run.notes, run.ended, run.served,
    )  # fmt: skip


def _counted(levels: Sequence[LevelReport], slo: SloReport | None) -> list[LevelReport]:
    """The levels that the answer rests on: those that were asked for, or the ends of a search."""
    rate = slo.highest_rate_per_s if slo else None
    ends = (rate.value, rate.high) if rate else ()
    found = [
        each for each in levels if each.purpose == MEASURED or (each.purpose == CONFIRMED and each.rate_per_s in ends)
    ]
    return found or [each for each in levels if each.purpose == CONFIRMED]


def _client(client: Client, counted: Sequence[LevelReport]) -> ClientReport:
    used = [each.client_utilization for each in counted if each.client_utilization is not None]
    lags = [each.client_lag_share for each in counted if each.client_lag_share is not None]
    return ClientReport(
        client.workers, client.cpu_s_per_request, client.ceiling_per_s, max(used, default=None), max(lags, default=None),
        client.reason,
    )  # fmt: skip


# --- a level -------------------------------------------------------------------------------------------------------
def _level(run: LoadRun, number: int, limits: Limits) -> LevelReport:
    level = run.levels[number]
    rows = run.sends.of(run.sends.level == number)
    rows = rows.of(np.argsort(rows.due_ns, kind="stable"))
    warm_up = _warm_up(run, level, rows)
    counted = rows.of(np.arange(len(rows.due_ns)) >= warm_up)
    answered = counted.of(counted.outcome == records.OK)
    failed = sum(each.count for each in level.failures)
    throughput = _throughput(level, answered)
    closed = level.arrivals.loop == CLOSED
    spread = partial(_spread, closed=closed)
    ended = OVER_SATURATED if _falls_behind(level, answered) else level.ended
    latency, unpowered = spread(answered.latency_s, level.thinned) if ended != OVER_SATURATED else (Spread(), (GROWS,))
    if throughput is None:
        unpowered = (*unpowered, "throughput: answers came too unevenly, or too few of them")
    used, lag_share = _used(run.client, level, counted)
    return LevelReport(
        loop=level.arrivals.loop,
        concurrency=level.arrivals.concurrency if closed else None,
        rate_per_s=None if closed else level.arrivals.rate_per_s,
        purpose=level.purpose,
        seconds=level.seconds,
        sent=level.sent,
        done=level.done,
        failed=failed,
        errors=level.failures,
        warm_up=warm_up * level.thinned,
        throughput_per_s=throughput,
        latency_s=latency,
        service_s=spread(answered.service_s)[0],
        lag_s=spread(answered.lag_s)[0],
        first_byte_s=spread((answered.first_ns - answered.sent_ns) / 1e9)[0],
        server_s=spread(answered.server_ns[answered.server_ns > 0] / 1e9)[0] if np.any(answered.server_ns) else None,
        gap_s=spread(answered.gap_ns / 1e9)[0] if np.any(answered.events > 1) else None,
        events_per_s=_events(answered),
        unpowered=unpowered,
        client_utilization=used,
        client_lag_share=lag_share,
        reasons=tuple(_reasons(level, failed, used, lag_share, _mean(counted.latency_s), limits)),
        promise=level.promise,
        mlperf=_mlperf(counted) if run.traffic.mlperf else (),
        distribution=_distribution(run, number),
        course=_course(level, rows),
        ended=ended,
        server=server_use(run, level, rows, int(counted.due_ns[0]) if len(counted.due_ns) else level.begin_ns, limits),
    )


def _mean(seconds: Floats) -> float:
    return float(seconds.mean()) if len(seconds) else 0.0


def _falls_behind(level: Level, answered: Sends) -> bool:
    """Whether an open loop sends more than is answered, so that latency grows for as long as it lasts.

    Seen by the requests that were due in a level's last quarter: they waited longer than those of its second quarter by
    more than the little that both may differ, and at its end more were open than its longest answer at first would explain.
    """
    if level.ended != "complete":
        return level.ended == OVER_SATURATED
    if level.arrivals.loop == CLOSED or len(answered.due_ns) < FEWEST_OF_TREND:
        return False
    quarter = len(answered.due_ns) // 4
    early, late = answered.latency_s[quarter : 2 * quarter], answered.latency_s[-quarter:]
    lag_of_the_end = (int(answered.done_ns.max()) - int(answered.due_ns.max())) / 1e9
    return float(np.quantile(late, 0.1)) > float(np.quantile(early, 0.9)) and lag_of_the_end > float(early.max())


def _mlperf(counted: Sends) -> tuple[EarlyStopping, ...]:
    """MLPerf's rules for each percentile; a request that failed took for ever."""
    asked = counted.of(counted.outcome != records.CUT_OFF)
    latency_s = np.where(asked.outcome == records.OK, asked.latency_s, np.inf)
    return tuple(mlperf.early_stopping(latency_s, q) for _, q in QUANTILES[1:])


def _course(level: Level, rows: Sends) -> tuple[Stretch, ...]:
    """The level in equal stretches of time, by when requests were due."""
    edges = np.linspace(level.begin_ns, level.end_ns, STRETCHES + 1)
    at = np.clip(np.searchsorted(edges, rows.due_ns, side="right") - 1, 0, STRETCHES - 1)
    found = []
    for number in np.unique(at):
        here = rows.of(at == number)
        latency_s = here.latency_s[here.outcome == records.OK]
        median, slowest = (float(np.median(latency_s)), float(latency_s.max())) if len(latency_s) else (None, None)
        failed = int(np.count_nonzero((here.outcome != records.OK) & (here.outcome != records.CUT_OFF)))
        begin_s = (float(edges[number]) - level.begin_ns) / 1e9
        found.append(Stretch(begin_s, len(here.due_ns) * level.thinned, failed * level.thinned, median, slowest))
    return tuple(found)


def _warm_up(run: LoadRun, level: Level, rows: Sends) -> int:
    """How many of the first rows do not count: those of the time that was asked for, else until latency is steady."""
    if run.traffic.warmup_s is not None:
        return int(np.searchsorted(rows.due_ns, level.begin_ns + int(run.traffic.warmup_s * 1e9)))
    steady = np.flatnonzero(rows.outcome == records.OK)
    latency_s = rows.latency_s[steady]
    cut = stats.warmup_end(latency_s) if len(steady) else 0
    return int(steady[cut]) if 0 < cut < len(steady) and _stands_out(latency_s, cut) else 0


def _stands_out(latency_s: Floats, cut: int) -> bool:
    """Whether the start is slower than anything of its length that comes later.

    Where requests queue, busy stretches come at any time: one that happens to come first is no warm-up, and to cut it would
    make the rest look better than it is. Few stretches must differ less from each other than the start does from them.
    """
    count = (len(latency_s) - cut) // cut
    if count < 1:
        return False
    later = latency_s[cut : cut + count * cut].reshape(count, cut).mean(axis=1)
    apart = 0.0 if count >= MANY_STRETCHES else FAR * float(later.max() - later.min())
    return count > 1 and float(latency_s[:cut].mean()) > float(later.max()) + apart


def _throughput(level: Level, answered: Sends) -> Quantity | None:
    """Answers a second; None where they came too unevenly to tell. Of thinned rows each stands for several."""
    if len(answered.done_ns) < 3 or answered.done_ns.min() == answered.done_ns.max():
        return None
    found = steady.steady_rate(answered.done_ns / 1e9, answered.due_ns / 1e9)
    return found and replace(_positive(found).scaled(level.thinned), n=found.n * level.thinned)


def _spread(seconds: Floats, thinned: int = 1, *, closed: bool = False) -> tuple[Spread, tuple[str, ...]]:
    """Mean and percentiles of a series in the order of arrival, and what was not seen often enough.

    Of thinned rows each stands for several requests.
    """
    if len(seconds) < FEWEST:
        return Spread(), ("at least 2 answers are needed",)
    found: dict[str, Quantity] = {}
    missing = []
    shares = [q for _, q in QUANTILES]
    quantities = steady.steady_mean(seconds, closed=closed), *steady.steady_quantiles(seconds, shares, closed=closed)
    for (name, q), quantity in zip((("mean", None), *QUANTILES), quantities, strict=True):
        if quantity is None:
            missing.append(f"{name}: {_needed(seconds, q, thinned, closed)}")
        else:
            found[name] = _positive(quantity)
    return Spread(**found), tuple(missing)


def _needed(seconds: Floats, q: float | None, thinned: int, closed: bool) -> str:
    """How many requests there are, and how many would be enough."""
    count, needed = len(seconds) * thinned, steady.requests_needed(seconds, q, closed=closed) * thinned
    if q is not None and needed == stats.samples_needed(q) * thinned:
        return f"{count:,} requests, {needed:,} are needed"
    return f"{count:,} requests that depend on each other, about {needed:,} are needed"


def _positive(found: Quantity) -> Quantity:
    return Quantity(found.value, min(max(found.low, 0.0), found.value), found.high, found.n)


def _events(answered: Sends) -> Quantity | None:
    """Events a second of a stream, from its first to its end."""
    several = answered.events > 1
    if np.count_nonzero(several) < FEWEST:
        return None
    seconds = ((answered.done_ns - answered.first_ns) / 1e9)[several]
    return stats.ratio_interval(answered.events[several] - 1.0, seconds) if seconds.sum() > 0 else None


def _distribution(run: LoadRun, number: int) -> tuple[Bin, ...]:
    """All answered latencies in a few bars an octave."""
    chosen = run.buckets.level == number
    wide = (1 << histogram.FRACTION_BITS) // BARS_AN_OCTAVE
    bars, counts = run.buckets.bucket[chosen] // wide, run.buckets.count[chosen]
    lows, _ = histogram.edges(np.unique(bars) * wide)
    highs, _ = histogram.edges((np.unique(bars) + 1) * wide)
    totals = [int(counts[bars == each].sum()) for each in np.unique(bars)]
    return tuple(Bin(float(a), float(b), n) for a, b, n in zip(lows, highs, totals, strict=True))


# --- the client's own part -----------------------------------------------------------------------------------------
def _used(client: Client, level: Level, counted: Sends) -> tuple[float | None, float | None]:
    """The share of the client's ceiling that was used, and the share of latency that the client itself caused.

    That share is what requests left later than due, and what its workers waited for a CPU; in a closed loop a busy worker
    also lets answers lie, which the use of its ceiling stands for. A worker without a CPU lets all wait that is in flight,
    but for what it takes to be woken up, which one answer waits for. A worker's own CPU counts in a closed loop only: that of
    an open one holds its short spins, which take nothing from anybody.
    """
    used = level.done / level.seconds / client.ceiling_per_s.value if client.ceiling_per_s else None
    if level.arrivals.loop == CLOSED:
        busy = level.cpu_s / level.seconds / client.workers
        used = busy if used is None else max(used, busy)
    ended = counted.of((counted.outcome != records.CUT_OFF) & (counted.sent_ns > 0))
    total = float(ended.latency_s.sum()) * level.thinned
    if total <= 0:
        return used, None
    woken = min(level.delay_s, level.done * WAKE_S)
    in_flight = max(total / level.seconds / client.workers, 1.0)
    late = float(ended.lag_s.sum()) * level.thinned + woken + (level.delay_s - woken) * in_flight
    return used, min(late / total, 1.0)


def _reasons(
    level: Level, failed: int, used: float | None, lag_share: float | None, mean_s: float, limits: Limits
) -> list[Reason]:
    found = []
    load = (
        f"{level.arrivals.concurrency} in flight"
        if level.arrivals.loop == CLOSED
        else f"{digits(level.arrivals.rate_per_s)}/s"
    )
    if level.purpose == MEASURED and level.done and failed > limits.error_share.value * level.done:
        worst = max(level.failures, key=lambda each: each.count)
        many = f"all {failed:,}" if failed == level.done else f"{failed:,} of {level.done:,}"
        which = "" if len(level.failures) == 1 else "most of them "
        said = f"{many} requests failed at {load}: {which}{worst.kind} {worst.example}"
        found.append(Reason(ERRORS, said.strip()))
    if not level.done and level.ended == "complete":
        found.append(Reason(ERRORS, f"no request ended at {load}"))
    if used is not None and used > limits.client_used.value:
        text = f"the client was the limit at {load}: {percent(min(used, 1.0))} of its ceiling; use more --workers, or less load"
        found.append(Reason(CLIENT_WAS_THE_LIMIT, text))
    elif (
        lag_share is not None and lag_share > limits.client_lag.value and lag_share * mean_s > limits.client_lag_s.value
    ):
        text = f"the client was late at {load}: {percent(lag_share)} of latency is its own; give it a free CPU"
        found.append(Reason(CLIENT_WAS_THE_LIMIT, text))
    if level.lost:
        found.append(Reason(LOST, f"{level.lost:,} records were lost at {load}: the client had too little CPU"))
    return found


# --- over levels ---------------------------------------------------------------------------------------------------
def _knee(levels: Sequence[LevelReport]) -> Knee | None:
    """The knee of a sweep over requests in flight; None without one of at least three levels that count."""
    swept = [each for each in levels if each.purpose == MEASURED and each.concurrency and not each.reasons]
    rates = [(each.concurrency or 0, each.throughput_per_s) for each in swept]
    known = sorted(((load, rate) for load, rate in rates if rate is not None), key=lambda pair: pair[0])
    if len(known) < 3:
        return None
    highest = max((rate for _, rate in known), key=lambda rate: rate.value)
    load, rate = next(pair for pair in known if pair[1].value >= OF_MOST * highest.value)
    return Knee(load, rate, highest, load < known[-1][0])


def _slo(run: LoadRun, levels: Sequence[LevelReport]) -> SloReport | None:
    slo = run.traffic.slo
    if slo is None:
        return None
    said: Callable[[Quantity | None, bool, str], SloReport] = lambda rate, sure, why: SloReport(  # noqa: E731
        slo.quantile, slo.bound_s, rate, sure, why
    )
    if run.traffic.levels:
        return said(None, False, "judged at the levels that were asked for")
    trials = [each for each in run.levels if each.arrivals.loop != CLOSED]
    if not trials:
        alone = levels[0].latency_s.p50 if levels else None
        took = f"; alone a request takes {duration(alone.value)}" if alone else ""
        return said(None, False, f"no rate could be tried{took}")
    looks = [each for each in trials if each.purpose == CONFIRMED]
    broken = [each.arrivals.rate_per_s for each in looks if each.promise == BROKEN]
    held = [each.arrivals.rate_per_s for each in looks if each.promise == KEPT]
    held = [rate for rate in held if not any(worse <= rate for worse in broken)]
    if not held:
        lowest = min(each.arrivals.rate_per_s for each in trials)
        return said(None, False, f"none down to {digits(lowest)}/s was shown to")
    best = max(held)
    n = sum(each.done for each in looks if each.arrivals.rate_per_s == best)
    above = min((rate for rate in broken if rate > best), default=None)
    capped = bool(run.traffic.most_per_s) and best >= run.traffic.most_per_s
    why = "" if above or capped else "where it breaks was not found"
    return said(Quantity(best, best, above or best, n), not why, why)
