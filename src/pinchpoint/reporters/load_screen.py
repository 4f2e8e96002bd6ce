"""The screen of `load`: what was sent, what came of it, and whether the client was the limit, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pinchpoint.domain.arrivals import CLOSED
from pinchpoint.domain.load_report import EarlyStopping, LevelReport, LoadReport, Spread
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.traffic import MEASURED
from pinchpoint.reporters.figures import seconds, value_and_interval
from pinchpoint.reporters.layout import WIDTH, Line, clean, coloured_text, line, padded, plain_text, shortened, wrapped
from pinchpoint.units import amount, digits, duration, duration_unit, percent

LOAD_COLUMN, RATE_COLUMN, TIME_COLUMN = 13, 17, 16
SHOWN = (("p50", "p50"), ("p90", "p90"), ("p99", "p99"))
WORDS = {
    "status": "answered with another status", "unexpected": "answered something else than expected",
    "timeout": "not answered in time", "refused": "connection refused", "reset": "connection reset",
    "closed": "closed without an answer", "short": "answer cut short", "malformed": "answer that is not HTTP/1.1",
    "too_large": "answer too large", "tls": "TLS failed", "no_descriptor": "no file descriptor left",
    "unreachable": "host not reached",
}  # fmt: skip
INVALID = "NOT VALID: this run cannot answer the question."
MOST_LEVELS, MOST_REASONS = 24, 3


def render_load(report: LoadReport) -> str:
    """The screen as plain text, no line over 80 columns, without a closing newline."""
    return plain_text(_screen(report))


def render_load_coloured(report: LoadReport) -> str:
    """The same with terminal escapes."""
    return coloured_text(_screen(report))


def _screen(report: LoadReport) -> Iterator[Line]:
    yield line(shortened(clean(report.target.uri), WIDTH), "bold")
    for text in wrapped(_sent(report)):
        yield line(text)
    for text in wrapped(_client(report)):
        yield line(text)
    yield line("")
    if not report.valid:
        yield line(f"  {INVALID}", "alarm")
        for reason in report.reasons[:MOST_REASONS]:
            for text in wrapped(clean(_sentence(reason.text)), "  ", 4):
                yield line(text)
        if len(report.reasons) > MOST_REASONS:
            yield line(f"  And {len(report.reasons) - MOST_REASONS} more reasons, in --json.")
        yield line("")
    yield from _answer(report)
    yield from _table(report)
    yield from _early(report.levels)
    yield from _errors(report.levels)
    yield from _streams(report.levels)
    yield from _foot(report)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _sent(report: LoadReport) -> str:
    traffic = report.workload
    what = traffic.method if report.target.kind == "http" else "gRPC"
    if traffic.payloads:
        what += f" {clean(traffic.payloads[0])}" if len(traffic.payloads) == 1 else f" {len(traffic.payloads)} payloads"
    times = f"{traffic.count:,} requests" if traffic.count else duration(traffic.seconds)
    each = " each" if len(traffic.levels) > 1 else ""
    served = f" Served by {clean(report.target.server)}." if report.target.server else ""
    return f"{what}; {times}{each}, seed {traffic.seed}.{served}"


def _client(report: LoadReport) -> str:
    client = report.client
    who = f"Client: {client.workers} worker{'s' if client.workers > 1 else ''}"
    if client.ceiling_per_s is None:
        return f"{who}; its own ceiling is not known: {clean(client.reason)}."
    used = f"used {percent(client.utilization)} of" if client.utilization is not None else "has"
    lag = f"; {percent(client.lag_share)} of latency is its own" if client.lag_share is not None else ""
    return f"{who}, {used} a ceiling of {digits(client.ceiling_per_s.value)}/s{lag}."


def _answer(report: LoadReport) -> Iterator[Line]:
    slo, knee = report.slo, report.knee
    if slo is not None:
        promise = f"p{slo.quantile * 100:g} within {duration(slo.bound_s)}"
        if report.workload.levels:
            said = f"{promise}: {'; '.join(f'{each.promise} at {_load(each)}' for each in report.levels)}."
        elif slo.highest_rate_per_s is None:
            said = f"No rate keeps {promise}: {slo.reason}."
        else:
            rate = slo.highest_rate_per_s
            end = f"broken at {digits(rate.high)}/s" if rate.high > rate.value else "the most that was permitted"
            said = (
                f"UP TO {digits(rate.value)}/s keeps {promise} (n={rate.n:,}); {end if slo.confirmed else slo.reason}."
            )
        for text in wrapped(said, "  ", 4):
            yield line(text, "bold")
        yield line("")
    if knee is not None:
        grown = "throughput grows no further" if knee.reached else "and throughput still grows"
        said = f"KNEE at {knee.concurrency} in flight: {_rate(knee.throughput_per_s)}/s; {grown} "
        said += f"(highest {_rate(knee.highest_per_s)}/s)."
        for text in wrapped(said, "  ", 4):
            yield line(text, "bold")
        yield line("")


def _rate(quantity: Quantity) -> str:
    value, inside = value_and_interval(quantity)
    return value + (f" ({inside})" if inside else "")


def _table(report: LoadReport) -> Iterator[Line]:
    """One row a level; latencies in one unit."""
    if not report.levels:
        return
    top = max((each.latency_s.p50.value for each in report.levels if each.latency_s.p50), default=1e-3)
    scale, unit = duration_unit(top)
    heads = [padded("LOAD", LOAD_COLUMN), padded("answers/s", RATE_COLUMN)]
    yield line("".join(heads) + "".join(padded(f"{name} {unit}", TIME_COLUMN) for _, name in SHOWN).rstrip(), "bold")
    shown = report.levels[-MOST_LEVELS:]
    for each in shown:
        cells = [padded(_load(each), LOAD_COLUMN), padded(_maybe(each.throughput_per_s, 1.0), RATE_COLUMN)]
        cells += [padded(_maybe(getattr(each.latency_s, name), scale), TIME_COLUMN) for name, _ in SHOWN]
        yield line("".join(cells).rstrip())
    if len(shown) < len(report.levels):
        yield line(f"  {len(report.levels) - len(shown)} earlier levels are in --json.", "dim")
    answered = sum(each.done - each.failed for each in report.levels)
    text = f"Latency from due to done, with 95 % intervals, n={answered:,} answered."
    for row in wrapped(text + _unpowered(report.levels)):
        yield line(row, "dim")


def _unpowered(levels: Sequence[LevelReport]) -> str:
    for level in reversed(levels):
        missing = [each for each in level.unpowered if each.startswith("p") and not each.startswith("p999")]
        if level.purpose == MEASURED and missing:
            return f" Too few for {'; '.join(missing)} at {_load(level)}: use a longer --duration."
    return ""


def _load(level: LevelReport) -> str:
    if level.loop == CLOSED:
        return f"{level.concurrency} in flight"
    return f"{digits(level.rate_per_s or 0.0)}/s" + ("" if level.loop == "poisson" else f" {level.loop}")


def _maybe(quantity: Quantity | None, scale: float) -> str:
    if quantity is None:
        return "-"
    value, inside = value_and_interval(quantity, scale)
    return f"{value} ({inside})" if inside and len(value) + len(inside) + 4 <= TIME_COLUMN else f"{value}"


def _early(levels: Sequence[LevelReport]) -> Iterator[Line]:
    """What MLPerf's rule of early stopping says, where it was asked for."""
    for level in levels:
        if level.purpose == MEASURED and level.mlperf:
            said = [_bound(each) for each in level.mlperf]
            for text in wrapped(f"MLPERF    {_load(level)}, at 99 % confidence: {'; '.join(said)}.", "", 10):
                yield line(text)


def _bound(found: EarlyStopping) -> str:
    name = f"p{found.quantile * 100:g}"
    if found.bound_s is None:
        return f"{name} needs {found.queries_least:,} queries"
    return f"{name} at most {duration(found.bound_s)} ({found.over:,} of {found.queries:,} above)"


def _errors(levels: Sequence[LevelReport]) -> Iterator[Line]:
    failed = sum(each.failed for each in levels)
    if not failed:
        return
    done = sum(each.done for each in levels)
    totals: dict[str, int] = {}
    examples: dict[str, str] = {}
    for level in levels:
        for each in level.errors:
            totals[each.kind] = totals.get(each.kind, 0) + each.count
            examples.setdefault(each.kind, each.example)
    yield line("")
    yield line(f"FAILED    {failed:,} of {done:,} ({percent(failed / done)}), in no latency above", "alarm", "FAILED")
    for kind, count in sorted(totals.items(), key=lambda pair: -pair[1]):
        example = f": {clean(examples[kind])}" if examples[kind] else ""
        for text in wrapped(f"{count:,} {WORDS.get(kind, kind)}{example}", "  ", 4):
            yield line(text)


def _streams(levels: Sequence[LevelReport]) -> Iterator[Line]:
    for level in levels:
        if level.events_per_s is None or level.purpose != MEASURED:
            continue
        yield line("")
        text = f"STREAM    {_load(level)}: {_rate(level.events_per_s)} events/s a request after the first"
        for name, spread in (("first event", level.first_byte_s), ("longest gap", level.gap_s or Spread())):
            if spread.p50 is not None:
                value, inside, unit = seconds(spread.p50)
                text += f"; {name} p50 {value} {unit}" + (f" ({inside})" if inside else "")
        for each in wrapped(text + ".", "", 10):
            yield line(each)


def _foot(report: LoadReport) -> Iterator[Line]:
    if report.notes:
        yield line("")
    for note in report.notes:
        for text in wrapped(_sentence(clean(note)), "", 2):
            yield line(text)
    for each in report.levels:
        if each.purpose == MEASURED and each.ended == "over-saturated" and each.throughput_per_s:
            said = f"{_load(each)} is more than it serves: {_rate(each.throughput_per_s)}/s were answered, and latency grew."
            for text in wrapped(said, "", 2):
                yield line(text)
    stopped = [each for each in report.levels if each.ended not in ("complete", "over-saturated")]
    for each in stopped:
        for text in wrapped(f"{_load(each)} ended early: {clean(each.ended)}."):
            yield line(text)
    if report.levels:
        sizes = sum(each.sent for each in report.levels)
        yield line(f"Sent {sizes:,} in all ({amount(sum(each.seconds for each in report.levels), 's')}).", "dim")
