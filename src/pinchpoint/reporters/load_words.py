"""What every form of a report of `load` says, in words: sentences without layout, and rows of figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pinchpoint.domain.arrivals import CLOSED, POISSON
from pinchpoint.domain.load_report import EarlyStopping, LevelReport, LoadReport, Spread
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.served import Served
from pinchpoint.domain.traffic import MEASURED, SOUGHT
from pinchpoint.reporters.figures import seconds, value_and_interval
from pinchpoint.reporters.layout import clean
from pinchpoint.units import digits, duration, duration_unit, percent

FAILURES = {
    "status": "answered with another status", "unexpected": "answered something else than expected",
    "timeout": "not answered in time", "refused": "connection refused", "reset": "connection reset",
    "closed": "closed without an answer", "short": "answer cut short", "malformed": "answer that is not HTTP/1.1",
    "too_large": "answer too large", "tls": "TLS failed", "no_descriptor": "no file descriptor left",
    "unreachable": "host not reached", "unsent": "not sent: too many waited for a connection",
}  # fmt: skip
INVALID = "NOT VALID: this run cannot answer the question."
OVER_SATURATED = "over-saturated"
PERCENTILES = ("p50", "p90", "p99")
MOST_LEVELS = 24
OF_SPENT = 0.05  # of the CPU time of a request, what it waited for a CPU is worth a word


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure and its interval, both empty where it was not measured."""

    value: str = ""
    inside: str = ""

    def __str__(self) -> str:
        return (f"{self.value} ({self.inside})" if self.inside else self.value) or "-"


@dataclass(frozen=True, slots=True)
class Row:
    """A level: its load, answers a second, and percentiles in the table's unit."""

    load: str
    rate: Cell
    latency: tuple[Cell, ...]


def sentence(text: str) -> str:
    """`text` with a capital letter and a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def sent(report: LoadReport) -> str:
    """What was sent, for how long, and who served it."""
    traffic = report.workload
    what = traffic.method if report.target.kind == "http" else "gRPC"
    if traffic.payloads:
        what += f" {clean(traffic.payloads[0])}" if len(traffic.payloads) == 1 else f" {len(traffic.payloads)} payloads"
    times = f"{traffic.count:,} requests" if traffic.count else duration(traffic.seconds)
    each = " each" if len(traffic.levels) > 1 else ""
    served = f" Served by {clean(report.target.server)}." if report.target.server else ""
    kinds = sorted({level.loop for level in report.levels} - {CLOSED, POISSON})
    arrivals = f", {' and '.join(kinds)} arrivals" if kinds else ""
    return f"{what}; {times}{each}{arrivals}, seed {traffic.seed}.{served}"


def client(report: LoadReport) -> str:
    """How much of the client was used."""
    found = report.client
    who = f"Client: {found.workers} worker{'s' if found.workers > 1 else ''}"
    if found.ceiling_per_s is None:
        return f"{who}; its own ceiling is not known: {clean(found.reason)}."
    used = f"used {percent(found.utilization)} of" if found.utilization is not None else "has"
    lag = f"; {percent(found.lag_share)} of latency is its own" if found.lag_share is not None else ""
    return f"{who}, {used} a ceiling of {digits(found.ceiling_per_s.value)}/s{lag}."


def server(report: LoadReport) -> Iterator[str]:
    """Who serves, what a request costs there, and what is full; or why that cannot be seen."""
    served = report.served
    if served is None:
        return
    if served.tunnel:
        yield f"The port is held by {clean(served.tunnel)}, which passes on what it gets: the server behind it is not seen."
        return
    if not served.processes:
        yield f"What the server itself uses is not seen: {clean(served.reason)}."
        return
    counted = [each for each in report.levels if each.purpose != SOUGHT and each.server and each.throughput_per_s]
    if not counted:
        yield f"{clean(served.processes[0].name)} (pid {served.processes[0].pid}): what it uses was read too seldom to tell."
        return
    first = served.processes[0]
    count = max(each.server.processes for each in counted if each.server)
    yield f"{clean(first.name)} (pid {first.pid}), {count} process{'es' if count > 1 else ''}{_room(served)}."
    ends = [counted[0], max(counted, key=lambda each: each.throughput_per_s.value if each.throughput_per_s else 0.0)]
    for level in dict.fromkeys(map(counted.index, ends)):
        yield _used(counted[level])


def _room(served: Served) -> str:
    return f", may use {served.cpus:g} CPU{'' if served.cpus == 1 else 's'}" if served.cpus else ""


def _used(level: LevelReport) -> str:
    """What a level used, and whether that is all there is."""
    used = level.server
    assert used is not None
    text = f"{load(level)}: "
    parts = []
    if (spent := used.cpu_s_per_request) is not None:
        starved = used.starved_s_per_request
        late = f" and {_time(starved)} waiting for one" if starved and starved.value > OF_SPENT * spent.value else ""
        parts.append(f"{_time(spent)} CPU a request{late}")
    if used.cpus_busy:
        parts.append(f"{Cell(*value_and_interval(used.cpus_busy))} CPUs busy")
    if used.busiest_thread:
        parts.append(f"its busiest thread {percent(used.busiest_thread.value)}")
    if used.throttled_share:
        parts.append(f"stopped by its CPU quota in {percent(used.throttled_share)} of periods")
    return text + ", ".join(parts) + f". {FULL[used.full]}".rstrip()


FULL = {
    "": "",
    "cpus": "ITS CPUS ARE FULL.",
    "thread": "ONE THREAD IS FULL: what it does alone is the limit.",
}


def answers(report: LoadReport) -> Iterator[str]:
    """What the run was for: the highest rate within a promise, the promise at each level, the knee."""
    if report.slo is not None:
        promise = f"p{report.slo.quantile * 100:g} within {duration(report.slo.bound_s)}"
        if report.workload.levels:
            yield f"{promise}: {'; '.join(f'{each.promise} at {load(each)}' for each in report.levels)}."
        else:
            yield _highest(report, promise)
    knee = report.knee
    if knee is not None:
        grown = "throughput grows no further" if knee.reached else "and throughput still grows"
        said = f"KNEE at {knee.concurrency} in flight: {rate(knee.throughput_per_s)}; {grown}"
        yield f"{said} (highest {rate(knee.highest_per_s)})."


def _highest(report: LoadReport, promise: str) -> str:
    slo = report.slo
    assert slo is not None
    found = slo.highest_rate_per_s
    if found is None:
        return f"No rate keeps {promise}: {slo.reason}."
    end = f"broken at {digits(found.high)}/s" if found.high > found.value else "the most that was permitted"
    return f"UP TO {digits(found.value)}/s keeps {promise} (n={found.n:,}); {end if slo.confirmed else slo.reason}."


def rate(quantity: Quantity) -> str:
    """A rate a second with its interval."""
    return f"{Cell(*value_and_interval(quantity))}/s"


def load(level: LevelReport) -> str:
    """A level's load; how requests arrive is told once for all levels."""
    return f"{level.concurrency} in flight" if level.loop == CLOSED else f"{digits(level.rate_per_s or 0.0)}/s"


def table(report: LoadReport) -> tuple[str, tuple[Row, ...]]:
    """The unit of latencies, and a row for each of the last levels."""
    top = max((each.latency_s.p50.value for each in report.levels if each.latency_s.p50), default=1e-3)
    scale, unit = duration_unit(top)
    rows = []
    for each in _shown(report)[-MOST_LEVELS:]:
        percentiles = tuple(_cell(getattr(each.latency_s, name), scale) for name in PERCENTILES)
        rows.append(Row(load(each), _cell(each.throughput_per_s, 1.0), percentiles))
    return unit, tuple(rows)


def _shown(report: LoadReport) -> list[LevelReport]:
    """The levels as they were driven; of a search, the last trial of each rate, in the order of rates."""
    if report.workload.levels:
        return list(report.levels)
    last = {each.rate_per_s: each for each in report.levels}
    return sorted(last.values(), key=lambda each: each.rate_per_s or 0.0)


def _cell(quantity: Quantity | None, scale: float) -> Cell:
    return Cell() if quantity is None else Cell(*value_and_interval(quantity, scale))


def below_table(report: LoadReport) -> Iterator[str]:
    """What has to be said of the table: earlier levels, what latency is, what was seen too seldom."""
    left_out = len(report.levels) - min(len(_shown(report)), MOST_LEVELS)
    if left_out > 0:
        yield f"{left_out} more {'level is' if left_out == 1 else 'levels are'} in --json."
    answered = sum(each.done - each.failed for each in report.levels)
    text = f"Latency from due to done, with 95 % intervals, n={answered:,} answered."
    for level in reversed(report.levels):
        missing = [each for each in level.unpowered if each.startswith("p") and not each.startswith("p999")]
        if level.purpose == MEASURED and missing:
            text += f" Too few for {'; '.join(missing)} at {load(level)}: use a longer --duration."
            break
    yield text


def early_stopping(report: LoadReport) -> Iterator[str]:
    """What MLPerf's rule says of each level, where it was asked for."""
    for level in report.levels:
        if level.purpose == MEASURED and level.mlperf:
            yield f"{load(level)}, at 99 % confidence: {'; '.join(_bound(each) for each in level.mlperf)}."


def _bound(found: EarlyStopping) -> str:
    name = f"p{found.quantile * 100:g}"
    if found.bound_s is None:
        return f"{name} needs {found.queries_least:,} queries"
    return f"{name} at most {duration(found.bound_s)} ({found.over:,} of {found.queries:,} above)"


def failures(report: LoadReport) -> tuple[str, ...]:
    """How many failed and how, the commonest first; nothing where all was well."""
    failed, done = sum(each.failed for each in report.levels), sum(each.done for each in report.levels)
    if not failed:
        return ()
    totals: dict[str, int] = {}
    examples: dict[str, str] = {}
    for each in (failure for level in report.levels for failure in level.errors):
        totals[each.kind] = totals.get(each.kind, 0) + each.count
        examples[each.kind] = examples.get(each.kind) or each.example
    found = [f"{failed:,} of {done:,} ({percent(failed / done)}), in no latency above"]
    for kind, count in sorted(totals.items(), key=lambda pair: -pair[1]):
        example = f": {clean(examples[kind])}" if examples[kind] else ""
        found.append(f"{count:,} {FAILURES.get(kind, kind)}{example}")
    return tuple(found)


def streams(report: LoadReport) -> Iterator[str]:
    """Of streams: how many events, or responses of gRPC, a second, the first one, and gaps."""
    part = "response" if report.target.kind == "grpc" else "event"
    for level in report.levels:
        if level.events_per_s is None or level.purpose != MEASURED:
            continue
        text = f"{load(level)}: {Cell(*value_and_interval(level.events_per_s))} {part}s/s a request after the first"
        for name, spread in ((f"first {part}", level.first_byte_s), ("longest gap", level.gap_s or Spread())):
            if spread.p50 is not None:
                text += f"; {name} p50 {_time(spread.p50)}"
        yield text + "."


def clocks(report: LoadReport) -> Iterator[str]:
    """What the server says that it took, where it says so, beside what was seen here."""
    for level in report.levels:
        inside, outside = level.server_s and level.server_s.mean, level.service_s.mean
        if level.purpose == MEASURED and inside and outside:
            text = f"{load(level)}: it says {_time(inside)} of the {_time(outside)} from sent to done, on average"
            yield f"{text}; {duration(max(outside.value - inside.value, 0.0))} lie between."


def _time(quantity: Quantity) -> str:
    value, inside, unit = seconds(quantity)
    return f"{value} {unit}" + (f" ({inside})" if inside else "")


def notes(report: LoadReport) -> Iterator[str]:
    """What else is worth knowing, and what was sent in all."""
    yield from (sentence(clean(each)) for each in report.notes)
    for each in report.levels:
        if each.ended == OVER_SATURATED:
            if each.purpose == MEASURED and each.throughput_per_s:
                yield f"{load(each)} is more than it serves: {rate(each.throughput_per_s)} were answered, and latency grew."
        elif each.ended != "complete":
            yield f"{load(each)} ended early: {clean(each.ended)}."
    took = sum(each.seconds for each in report.levels)
    yield f"Sent {sum(each.sent for each in report.levels):,} in all ({duration(took)})."
