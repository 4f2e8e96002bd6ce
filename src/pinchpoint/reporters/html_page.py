"""The report as one page of HTML, and the same as a part of a notebook: sentences first, then what to do, then figures.

It has no script and loads nothing. Text from a target (names, errors) is cleaned and escaped; charts are drawn here, before
the page exists. The styles hold only inside of the report, so that a notebook around it stays as it is.
"""

from __future__ import annotations

from importlib import resources

from pinchpoint.contracts import Reporter
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.reporters import charts, observed, sections
from pinchpoint.reporters.counters import counted
from pinchpoint.reporters.heading import facts
from pinchpoint.reporters.layout import clean
from pinchpoint.reporters.starts import phase_rows
from pinchpoint.reporters.streams import streamed

PAGE, BODY, STYLE = "page.html.j2", "report.html.j2", "report.css"


def render(diagnosis: Diagnosis) -> str:
    """The page."""
    return page(
        facts(diagnosis.target, diagnosis.workload, diagnosis.environment, diagnosis.service)[0],
        _body(diagnosis, heading=1),
    )


def render_part(diagnosis: Diagnosis) -> str:
    """The report as an element of another document, with its styles."""
    return part(_body(diagnosis, heading=3))


def page(title: str, body: str) -> str:
    """A document around a report's body, which is HTML already."""
    from jinja2 import Environment
    from markupsafe import Markup

    template = Environment(autoescape=True, trim_blocks=True).from_string(_file(PAGE))
    return template.render(title=title, style=Markup(_file(STYLE)), body=Markup(body))  # noqa: S704  # our own


def part(body: str) -> str:
    """An element around a report's body, with the styles that it needs."""
    return f'<style>\n{_file(STYLE)}</style>\n<div class="pinchpoint-report">\n{body}</div>'


HTML = Reporter("html", render)
NOTEBOOK = Reporter("notebook", render_part)


def _body(diagnosis: Diagnosis, heading: int) -> str:
    """What page and notebook share; `heading` is the level of its title."""
    from jinja2 import Environment

    body = Environment(autoescape=True, trim_blocks=True).from_string(_file(BODY))
    return body.render(level=heading, **_facts(diagnosis))


def _file(name: str) -> str:
    return resources.files("pinchpoint.reporters").joinpath(name).read_text("utf-8")


def _facts(diagnosis: Diagnosis) -> dict[str, object]:
    """Everything that the template shows, in words."""
    title, size, machine, asked = facts(diagnosis.target, diagnosis.workload, diagnosis.environment, diagnosis.service)
    return {
        "title": title,
        "heading": [f"{size}.", machine, asked, streamed(diagnosis.service), counted(diagnosis.service)],
        "reasons": sections.reasons(diagnosis),
        "answer": sections.answer(diagnosis),
        "lines": list(sections.questions(diagnosis)),
        "tests": sections.tests(diagnosis),
        "changes": sections.changes(diagnosis),
        "advice": sections.advice(diagnosis),
        "ledger": sections.ledger(diagnosis),
        "uses": observed.uses(diagnosis.observed),
        "cpu_time": observed.parts(diagnosis.observed.cpu_time if diagnosis.observed else ()),
        "waits": observed.parts(diagnosis.observed.waits if diagnosis.observed else ()),
        "of_what_was_watched": observed.UNITS,
        "tail": sections.tail(diagnosis),
        "demands": sections.demands(diagnosis),
        "rungs": sections.rungs(diagnosis),
        "starts": phase_rows(diagnosis.starts),
        "groups": [(name, sections.judged(diagnosis, status)) for name, status in sections.GROUPS],
        "unseen": sections.unseen(diagnosis),
        "environment": sections.machine(diagnosis.environment),
        "ceilings": sections.ceilings(diagnosis.environment),
        "run": clean(diagnosis.run),
        "charts": {
            "ledger": charts.ledger(sections.typical_rows(diagnosis)),
            "throughput": charts.throughput(diagnosis.rungs),
            "latency": charts.latency(diagnosis.rungs),
            "roofline": charts.roofline(diagnosis.pictures),
            "distribution": charts.distribution(diagnosis.pictures.distribution),
            "course": charts.course(diagnosis.pictures.course),
            "processors": charts.processors(diagnosis.pictures),
            "memory": charts.memory(diagnosis.pictures),
        },
    }
