"""The report of `load` as one page of HTML without script, and the same as a part of a notebook."""

from __future__ import annotations

from importlib import resources

from pinchpoint.contracts import LoadReporter
from pinchpoint.domain.arrivals import CLOSED
from pinchpoint.domain.load_report import LevelReport, LoadReport
from pinchpoint.domain.picture import Moment
from pinchpoint.domain.traffic import CONFIRMED, MEASURED
from pinchpoint.reporters import charts, sections
from pinchpoint.reporters import load_words as words
from pinchpoint.reporters.html_page import page, part
from pinchpoint.reporters.layout import clean

BODY = "load.html.j2"
MOST_PICTURES = 6  # levels whose latencies are drawn


def render(report: LoadReport) -> str:
    """The page."""
    return page(clean(report.target.uri), _body(report, heading=1))


def render_part(report: LoadReport) -> str:
    """The report as an element of another document, with its styles."""
    return part(_body(report, heading=3))


LOAD_HTML, LOAD_NOTEBOOK = LoadReporter("html", render), LoadReporter("notebook", render_part)


def _body(report: LoadReport, heading: int) -> str:
    from jinja2 import Environment

    template = resources.files("pinchpoint.reporters").joinpath(BODY).read_text("utf-8")
    body = Environment(autoescape=True, trim_blocks=True).from_string(template)
    return body.render(level=heading, **_facts(report))


def _facts(report: LoadReport) -> dict[str, object]:
    """Everything that the template shows, in words."""
    unit, rows = words.table(report)
    failed = words.failures(report)
    drawn = [each for each in report.levels if each.purpose == MEASURED] or [
        each for each in report.levels if each.purpose == CONFIRMED
    ]
    return {
        "title": clean(report.target.uri),
        "heading": f"{words.sent(report)} {words.client(report)}",
        "valid": report.valid,
        "invalid": words.INVALID,
        "reasons": [clean(words.sentence(each.text)) for each in report.reasons],
        "answers": list(words.answers(report)),
        "unit": unit,
        "names": words.PERCENTILES,
        "rows": rows,
        "below": list(words.below_table(report)),
        "mlperf": list(words.early_stopping(report)),
        "failed": failed[:1],
        "kinds": failed[1:],
        "streams": list(words.streams(report)),
        "clocks": [*words.server(report), *words.clocks(report)],
        "notes": list(words.notes(report)),
        "throughput": charts.curve(*_throughput(report)),
        "latency": charts.curve(*_latency(report)),
        "pictures": [_picture(each) for each in drawn[-MOST_PICTURES:]],
        "environment": sections.machine(report.environment),
        "run": clean(report.run),
    }


def _closed(report: LoadReport) -> bool:
    return bool(report.workload.levels) and report.workload.levels[0].loop == CLOSED


def _steps(report: LoadReport) -> list[tuple[float, LevelReport]]:
    """The levels of one kind of load by their size, those that are looked at twice once."""
    closed = _closed(report)
    found = {
        float((each.concurrency if closed else each.rate_per_s) or 0.0): each
        for each in report.levels
        if (each.loop == CLOSED) == closed
    }
    return sorted(found.items())


def _axis(report: LoadReport) -> str:
    return charts.IN_FLIGHT if _closed(report) else "requests a second that were due"


def _throughput(report: LoadReport) -> tuple[list[dict[str, float]], str, str, str]:
    data = [charts.point(at, each.throughput_per_s) for at, each in _steps(report) if each.throughput_per_s]
    return data if len(data) > 1 else [], _axis(report), "answers a second", "Throughput against load"


def _latency(report: LoadReport) -> tuple[list[dict[str, float]], str, str, str]:
    data = [
        charts.point(at, each.latency_s.p50.scaled(charts.MILLI)) for at, each in _steps(report) if each.latency_s.p50
    ]
    return data if len(data) > 1 else [], _axis(report), "milliseconds", "Median latency against load"


def _picture(level: LevelReport) -> dict[str, str]:
    moments = [
        Moment(each.at_s, each.requests, each.median_s, each.slowest_s)
        for each in level.course
        if each.median_s is not None and each.slowest_s is not None
    ]
    return {
        "load": words.load(level),
        "distribution": charts.distribution(level.distribution, log=True),
        "course": charts.course(moments),
    }
