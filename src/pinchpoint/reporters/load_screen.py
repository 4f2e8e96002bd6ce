"""The screen of `load`: what was sent, what came of it, and whether the client was the limit, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pinchpoint.contracts import LoadReporter
from pinchpoint.domain.load_report import LoadReport
from pinchpoint.reporters import load_words as words
from pinchpoint.reporters.layout import WIDTH, Line, clean, coloured_text, line, padded, plain_text, shortened, wrapped

LOAD_COLUMN, RATE_COLUMN, TIME_COLUMN = 13, 17, 16
MOST_REASONS = 3
TAG = 10


def render(report: LoadReport) -> str:
    """The screen as plain text, no line over 80 columns, without a closing newline."""
    return plain_text(_screen(report))


def render_coloured(report: LoadReport) -> str:
    """The same with terminal escapes."""
    return coloured_text(_screen(report))


LOAD_TERMINAL, LOAD_TERMINAL_COLOUR = LoadReporter("terminal", render), LoadReporter("terminal-colour", render_coloured)


def _screen(report: LoadReport) -> Iterator[Line]:
    yield line(shortened(clean(report.target.uri), WIDTH), "bold")
    for text in (words.sent(report), words.client(report)):
        yield from _plain(text)
    yield line("")
    yield from _reasons(report)
    for text in words.answers(report):
        for each in wrapped(text, "  ", 4):
            yield line(each, "bold")
        yield line("")
    yield from _table(report)
    yield from _tagged("MLPERF", words.early_stopping(report))
    yield from _failures(report)
    yield from _tagged("STREAM", words.streams(report))
    yield from _tagged("SERVER", (*words.server(report), *words.clocks(report)))
    for text in words.notes(report):
        yield from _plain(text)


def _plain(text: str, style: str = "") -> Iterator[Line]:
    yield from (line(each, style) for each in wrapped(text, "", 2))


def _reasons(report: LoadReport) -> Iterator[Line]:
    if report.valid:
        return
    yield line(f"  {words.INVALID}", "alarm")
    for reason in report.reasons[:MOST_REASONS]:
        for text in wrapped(clean(words.sentence(reason.text)), "  ", 4):
            yield line(text)
    if len(report.reasons) > MOST_REASONS:
        yield line(f"  And {len(report.reasons) - MOST_REASONS} more reasons, in --json.")
    yield line("")


def _table(report: LoadReport) -> Iterator[Line]:
    """One row a level; latencies in one unit."""
    if not report.levels:
        return
    unit, rows = words.table(report)
    heads = [padded("LOAD", LOAD_COLUMN), padded("answers/s", RATE_COLUMN)]
    heads += [padded(f"{name} {unit}", TIME_COLUMN) for name in words.PERCENTILES]
    yield line("".join(heads).rstrip(), "bold")
    for row in rows:
        cells = [padded(row.load, LOAD_COLUMN), padded(_fitting(row.rate, RATE_COLUMN), RATE_COLUMN)]
        cells += [padded(_fitting(each, TIME_COLUMN), TIME_COLUMN) for each in row.latency]
        yield line("".join(cells).rstrip())
    for text in words.below_table(report):
        yield from _plain(text, "dim")


def _fitting(cell: words.Cell, width: int) -> str:
    """A figure with its interval, or alone where that is too long."""
    return str(cell) if len(str(cell)) < width else cell.value


def _failures(report: LoadReport) -> Iterator[Line]:
    found = words.failures(report)
    if found:
        yield line("")
        yield line(f"{'FAILED':{TAG}}{found[0]}", "alarm", "FAILED")
        for each in found[1:]:
            for text in wrapped(each, "  ", 4):
                yield line(text)


def _tagged(tag: str, texts: Iterable[str]) -> Iterator[Line]:
    """Sentences behind a word in capitals, apart from what is above."""
    for number, text in enumerate(texts):
        if not number:
            yield line("")
        for each in wrapped(text, f"{'' if number else tag:{TAG}}", TAG):
            yield line(each)
