"""The report as Markdown, as one pastes it into a pull request or an issue: sentences and what to do first, then the tables.

Text from a target can neither break the layout nor run: control and format characters go, and whatever has a meaning in
GitHub's Markdown, in CommonMark or in HTML is escaped, links and mentions included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pinchpoint.contracts import Reporter
from pinchpoint.domain.observed import Observed
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.reporters import observed, sections
from pinchpoint.reporters.counters import counted
from pinchpoint.reporters.heading import facts
from pinchpoint.reporters.layout import clean
from pinchpoint.reporters.sections import Judged, Words
from pinchpoint.reporters.streams import streamed

# What Markdown or HTML would read as a sign. Entities hold where backslashes do not: in tables, in HTML, and in renderers
# that know fewer escapes than CommonMark.
_ENTITIES = {"&": "&amp;", "<": "&lt;", "|": "&#124;", "$": "&#36;", "@": "@&#8203;", "#": "&#35;&#8203;"}
_SIGNS = re.compile(
    r"[&<|$@]|(?<!\w)#(?=\d)|[\\`*{}\[\]~]|(?<![^\W_])_+|_+(?![^\W_])|(?<=\w):(?=//)|(?<=www)\.", re.IGNORECASE
)
_AT_BEGIN = re.compile(r">|#|[-+](?=[\s-]|$)|\d+[.)](?=\s|$)")  # a quote, a heading, lists, a rule


def render(diagnosis: Diagnosis) -> str:
    """The report, each block apart from the next by an empty line, without a closing newline."""
    return "\n\n".join(filter(None, _blocks(diagnosis)))


MARKDOWN = Reporter("markdown", render)


def escaped(text: str) -> str:
    """`text` as Markdown that shows it as it is, on one line."""
    plain = _SIGNS.sub(lambda found: _sign(found[0]), clean(text))
    at_begin = _AT_BEGIN.match(plain)
    if at_begin is None:
        return plain
    last = at_begin.end() - 1
    return f"{plain[:last]}&#{ord(plain[last])};{plain[last + 1 :]}"


def _sign(sign: str) -> str:
    if sign in _ENTITIES:
        return _ENTITIES[sign]
    return f"&#{ord(sign)};" if sign in ":." else "".join(f"\\{each}" for each in sign)


def _blocks(diagnosis: Diagnosis) -> Iterator[str]:
    """All of the report, from the target to the environment."""
    title, size, machine, asked = facts(diagnosis.target, diagnosis.workload, diagnosis.environment, diagnosis.service)
    yield f"## pinchpoint: {escaped(title)}"
    told = streamed(diagnosis.service), counted(diagnosis.service)
    yield escaped(" ".join(filter(None, [f"{size}.", machine, asked, *told])))
    yield from _answer(diagnosis)
    yield from _to_do(diagnosis)
    if diagnosis.observed is not None:
        yield from _watched(diagnosis.observed)
    yield from _section("Where the time goes", _table(("part", "time", "share", "n"), sections.ledger(diagnosis),
                                                      ("name", "seconds", "share", "n")))  # fmt: skip
    yield from _section("What slow requests spend beyond typical ones", _table(
        ("part", "more", "share", "n"), sections.tail(diagnosis), ("name", "seconds", "share", "n")))  # fmt: skip
    yield from _section("Demand on each resource", _table(
        ("resource", "in flight", "busy a request", "ceiling", "used"), sections.demands(diagnosis),
        ("resource", "load", "each", "ceiling", "used")))  # fmt: skip
    yield from _section("Throughput against requests in flight", _table(
        ("in flight", "throughput", "mean latency", "p99", "n"), sections.rungs(diagnosis),
        ("load", "throughput", "latency", "p99", "n")))  # fmt: skip
    yield from _findings(diagnosis)
    yield from _section("What could not be seen", _list(sections.unseen(diagnosis)) or "Nothing.")
    yield from _section(
        "Environment", _list(f"{name}: {value}" for name, value in sections.machine(diagnosis.environment))
    )
    yield f"pinchpoint, run {escaped(diagnosis.run)}. In brackets are 95 % intervals; n counts observations."


def _answer(diagnosis: Diagnosis) -> Iterator[str]:
    """The sentences."""
    found = sections.answer(diagnosis)
    yield f"**{escaped(found.sentence)}**{f' ({found.proof.lower()})' if found.proof else ''}"
    yield _list(sections.reasons(diagnosis))
    yield escaped(found.why)
    yield _list(f"Test: {words}" for words in sections.tests(diagnosis))
    yield "\n".join(f"- **{tag}**: {escaped(words)}" for tag, words in sections.questions(diagnosis))


def _to_do(diagnosis: Diagnosis) -> Iterator[str]:
    """The changes with what they should give, or advice in words."""
    changes = sections.changes(diagnosis)
    table = _table(("change", "now -> expected", "gain", "of", "basis", "for"), changes,
                   ("words", "expected", "gain", "statistic", "basis", "finding"))  # fmt: skip
    yield from _section("What to do", table or escaped(sections.advice(diagnosis)))
    if changes:
        yield "A gain is before over after; above 1 is better. A bound: no change of this kind can gain more."
    yield _list(f"To try {each['words']}: {each['how']}" for each in changes if each["how"])


def _watched(found: Observed) -> Iterator[str]:
    """What was in use, of a server that nothing was sent to."""
    yield from _section("What was in use", _table(("resource", "there are", "in use", "n"), observed.uses(found),
                                                  ("name", "of", "share", "n")))  # fmt: skip
    for title, rows in (("Where CPU time goes", found.cpu_time), ("Where Python threads wait", found.waits)):
        yield from _section(title, _table(("part", "share", "n"), observed.parts(rows), ("name", "share", "n")))
    yield observed.UNITS


def _findings(diagnosis: Diagnosis) -> Iterator[str]:
    """What was found and what is open with all of its evidence; what was ruled out by what, one line each."""
    for name, status in sections.GROUPS:
        judged = sections.judged(diagnosis, status)
        rows = list(_ruled_out(judged) if status == "absent" else _evidence(judged))
        yield from _section(name, _table(("cause", "signal", "measured", "asked", "answer"), rows,
                                         ("cause", "signal", "figure", "limit", "status")))  # fmt: skip


def _evidence(findings: Iterable[Judged]) -> Iterator[Words]:
    """A row for each test and for each signal that is missing."""
    for each in findings:
        cause = f"{each.code} {each.noun}".strip()
        rows: list[Words] = [*each.evidence, *({"signal": name, "figure": "not measured"} for name in each.missing)]
        yield from ({"cause": cause, **row} for row in rows or [{}])


def _ruled_out(findings: Iterable[Judged]) -> Iterator[Words]:
    """A row for each cause, with the test that ruled it out."""
    for each in findings:
        decisive = next((row for row in each.evidence if row["status"] == sections.ANSWERS["absent"]), {})
        yield {"cause": f"{each.code} {each.noun}".strip(), **decisive}


def _section(title: str, body: str) -> Iterator[str]:
    """A heading and what is below it; nothing where that is empty."""
    if body:
        yield f"### {title}"
        yield body


def _table(heads: Sequence[str], rows: Sequence[Words], keys: Sequence[str]) -> str:
    """A table of GitHub's Markdown, the first column of words on the left; "" without rows."""
    if not rows:
        return ""
    lines = [" | ".join(heads), " | ".join(["---"] * len(heads))]
    lines += [" | ".join(escaped(row.get(key, "")) for key in keys) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(each)}" for each in items)
