"""The report of `load` as Markdown, to be pasted into a pull request or an issue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pinchpoint.contracts import LoadReporter
from pinchpoint.domain.load_report import LoadReport
from pinchpoint.reporters import load_words as words
from pinchpoint.reporters.layout import clean
from pinchpoint.reporters.markdown import escaped


def render(report: LoadReport) -> str:
    """The report, each block apart from the next by an empty line, without a closing newline."""
    return "\n\n".join(filter(None, _blocks(report)))


LOAD_MARKDOWN = LoadReporter("markdown", render)


def _blocks(report: LoadReport) -> Iterator[str]:
    yield f"## pinchpoint: {escaped(clean(report.target.uri))}"
    yield escaped(f"{words.sent(report)} {words.client(report)}")
    if not report.valid:
        yield f"**{escaped(words.INVALID)}**"
        yield _list(words.sentence(clean(each.text)) for each in report.reasons)
    yield from (f"**{escaped(each)}**" for each in words.answers(report))
    yield _table(report)
    yield from (escaped(each) for each in words.below_table(report))
    failed = words.failures(report)
    if failed:
        yield f"Failed: {escaped(failed[0])}."
        yield _list(failed[1:])
    told = (words.early_stopping, words.streams, words.server, words.clocks, words.notes)
    yield _list(each for part in told for each in part(report))
    yield f"pinchpoint, run {escaped(clean(report.run))}. In brackets are 95 % intervals."


def _table(report: LoadReport) -> str:
    unit, rows = words.table(report)
    heads = ["load", "answers/s", *(f"{name} {unit}" for name in words.PERCENTILES)]
    lines = [" | ".join(heads), " | ".join(["---"] * len(heads))]
    lines += [" | ".join(escaped(str(cell)) for cell in (row.load, row.rate, *row.latency)) for row in rows]
    return "\n".join(f"| {each} |" for each in lines) if rows else ""


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(each)}" for each in items)
