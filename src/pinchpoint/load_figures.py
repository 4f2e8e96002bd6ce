"""LoadRun -> LoadReport: percentiles with intervals, the knee, the promise, and whether the client was the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pinchpoint import stats, steady
from pinchpoint.domain.arrivals import CLOSED
from pinchpoint.domain.load_report import (
    Bar,
    ClientReport,
    Knee,
    LevelReport,
    LoadReport,
    Place,
    Reason,
    SloReport,
    Spread,
)
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.traffic import CONFIRMED, MEASURED, Client, Level, LoadRun, Sends
from pinchpoint.limits import Limits
from pinchpoint.load import histogram, records
from pinchpoint.units import digits, duration, percent

SCHEMA = "pinchpoint/load/1"
QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))
OF_MOST = 0.9  # of the highest throughput, at the knee
BARS_AN_OCTAVE = 8
FEWEST = 2  # for a mean
CLIENT_WAS_THE_LIMIT, LOST, ERRORS = "V101", "V103", "V105"

Floats = npt.NDArray[np.float64]


def load_report(run: LoadRun, limits: Limits) -> LoadReport:
    """The report of a run; pure, so that it can be made again from the folder alone."""
    levels = tuple(_level(run, number, limits) for number in range(len(run.levels)))
    counted = [each for each in levels if each.purpose == MEASURED or each.purpose == CONFIRMED] or list(levels)
    reasons = tuple(dict.fromkeys(reason for each in counted for reason in each.reasons))
    if run.ended != "complete":
        reasons += (Reason("ended", run.ended),)
    if not levels:
        reasons += (Reason("ended", "nothing was measured"),)
    slo = _slo(run, levels)
    if slo and slo.highest_rate_per_s is None and run.ended == "complete":
        reasons += (Reason("V104", slo.reason),)
    return LoadReport(
        SCHEMA, run.id, not reasons, reasons, Place(run.kind, run.uri, run.server), run.traffic, run.environment,
        _client(run.client, counted), levels, _knee(levels), slo, run.notes, run.ended,
    )  # fmt: skip


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
    answered = rows.of((rows.outcome == records.OK) & (np.arange(len(rows.due_ns)) >= warm_up))
    failed = sum(each.count for each in level.failures)
    throughput = _throughput(level, answered)
    latency, unpowered = _spread(answered.latency_s, level.thinned)
    used, lag_share = _used(run.client, level, answered)
    closed = level.arrivals.loop == CLOSED
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
        service_s=_spread(answered.service_s)[0],
        lag_s=_spread(answered.lag_s)[0],
        first_byte_s=_spread((answered.first_ns - answered.sent_ns) / 1e9)[0],
        gap_s=_spread(answered.gap_ns / 1e9)[0] if np.any(answered.events > 1) else None,
        events_per_s=_events(answered),
        unpowered=unpowered,
        client_utilization=used,
        client_lag_share=lag_share,
        reasons=tuple(_reasons(level, failed, used, lag_share, limits)),
        distribution=_distribution(run, number),
        ended=level.ended,
    )


def _warm_up(run: LoadRun, level: Level, rows: Sends) -> int:
    """How many of the first rows do not count: those of the time that was asked for, else until latency is steady."""
    if run.traffic.warmup_s is not None:
        return int(np.searchsorted(rows.due_ns, level.begin_ns + int(run.traffic.warmup_s * 1e9)))
    steady = np.flatnonzero(rows.outcome == records.OK)
    cut = stats.warmup_end(rows.latency_s[steady]) if len(steady) else 0
    return int(steady[cut]) if 0 < cut < len(steady) else 0


def _throughput(level: Level, answered: Sends) -> Quantity | None:
    """Answers a second; None where they came too unevenly to tell. Of thinned rows each stands for several."""
    if len(answered.done_ns) < 3 or answered.done_ns.min() == answered.done_ns.max():
        return None
    found = steady.steady_rate(answered.done_ns / 1e9)
    return found and replace(_positive(found).scaled(level.thinned), n=found.n * level.thinned)


def _spread(seconds: Floats, thinned: int = 1) -> tuple[Spread, tuple[str, ...]]:
    """Mean and percentiles of a series in the order of arrival, and what was not seen often enough.

    Of thinned rows each stands for several requests.
    """
    if len(seconds) < FEWEST:
        return Spread(), ("at least 2 answers are needed",)
    found: dict[str, Quantity] = {}
    missing = []
    quantities = steady.steady_mean(seconds), *steady.steady_quantiles(seconds, [q for _, q in QUANTILES])
    for (name, q), quantity in zip((("mean", None), *QUANTILES), quantities, strict=True):
        if quantity is None:
            missing.append(f"{name}: {_needed(seconds, q, thinned)}")
        else:
            found[name] = _positive(quantity)
    return Spread(**found), tuple(missing)


def _needed(seconds: Floats, q: float | None, thinned: int) -> str:
    """How many requests there are, and how many would be enough."""
    count, needed = len(seconds) * thinned, steady.requests_needed(seconds, q) * thinned
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


def _distribution(run: LoadRun, number: int) -> tuple[Bar, ...]:
    """All answered latencies in a few bars an octave."""
    chosen = run.buckets.level == number
    wide = (1 << histogram.FRACTION_BITS) // BARS_AN_OCTAVE
    bars, counts = run.buckets.bucket[chosen] // wide, run.buckets.count[chosen]
    lows, _ = histogram.edges(np.unique(bars) * wide)
    highs, _ = histogram.edges((np.unique(bars) + 1) * wide)
    totals = [int(counts[bars == each].sum()) for each in np.unique(bars)]
    return tuple(Bar(float(a), float(b), n) for a, b, n in zip(lows, highs, totals, strict=True))


# --- the client's own part -----------------------------------------------------------------------------------------
def _used(client: Client, level: Level, answered: Sends) -> tuple[float | None, float | None]:
    """The share of the client's ceiling that was used, and the share of latency that the client itself caused.

    That share is what requests left later than due, and what its workers waited for a CPU; in a closed loop a busy worker
    also lets answers lie, which the use of its ceiling stands for.
    """
    used = level.done / level.seconds / client.ceiling_per_s.value if client.ceiling_per_s else None
    if level.arrivals.loop == CLOSED:
        busy = level.cpu_s / level.seconds / client.workers
        used = busy if used is None else max(used, busy)
    total = float(answered.latency_s.sum()) * level.thinned
    if total <= 0:
        return used, None
    late = float(answered.lag_s.sum()) * level.thinned + level.delay_s
    return used, min(late / total, 1.0)


def _reasons(level: Level, failed: int, used: float | None, lag_share: float | None, limits: Limits) -> list[Reason]:
    found = []
    load = (
        f"{level.arrivals.concurrency} in flight"
        if level.arrivals.loop == CLOSED
        else f"{digits(level.arrivals.rate_per_s)}/s"
    )
    if used is not None and used > limits.client_used.value:
        text = f"the client was the limit at {load}: {percent(min(used, 1.0))} of its ceiling; use more --workers, or less load"
        found.append(Reason(CLIENT_WAS_THE_LIMIT, text))
    elif lag_share is not None and lag_share > limits.client_lag.value:
        text = f"the client was late at {load}: {percent(lag_share)} of latency is its own; give it a free CPU"
        found.append(Reason(CLIENT_WAS_THE_LIMIT, text))
    if level.lost:
        found.append(Reason(LOST, f"{level.lost:,} records were lost at {load}: the client had too little CPU"))
    if level.done and failed == level.done:
        worst = max(level.failures, key=lambda each: each.count)
        found.append(Reason(ERRORS, f"all {failed:,} requests failed at {load}: {worst.kind} {worst.example}".strip()))
    if not level.done and level.ended == "complete":
        found.append(Reason(ERRORS, f"no request ended at {load}"))
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
    tried = [
        (each.arrivals.rate_per_s, each.kept, each.purpose, each.done)
        for each in run.levels
        if each.arrivals.loop != CLOSED and each.purpose != MEASURED
    ]
    if not tried:
        alone = levels[0].latency_s.p50 if levels else None
        took = f"; alone a request takes {duration(alone.value)}" if alone else ""
        return said(None, False, f"no rate could be tried{took}")
    broken = [rate for rate, kept, _, _ in tried if not kept]
    held = [rate for rate, kept, _, _ in tried if kept and not any(worse <= rate for worse in broken)]
    if not held:
        lowest = min(rate for rate, *_ in tried)
        return said(None, False, f"it is broken at {digits(lowest)}/s already")
    best, n = max(held), sum(done for rate, _, _, done in tried if rate == max(held))
    above = min((rate for rate in broken if rate > best), default=best)
    again = {rate for rate, _, purpose, _ in tried if purpose == CONFIRMED}
    capped = bool(run.traffic.most_per_s) and best >= run.traffic.most_per_s
    sure = best in again and (above in again or capped)
    return said(Quantity(best, best, above, n), sure, "" if sure else "its ends were not seen twice")
