"""The report as one page of HTML: sentences first, then what to do, then figures. It has no script and loads nothing.

Text from a target (names, errors) is cleaned and escaped; charts are drawn here, before the page exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import resources

from pinchpoint.contracts import Reporter
from pinchpoint.domain.change import Prediction
from pinchpoint.domain.demand import Demand
from pinchpoint.domain.finding import Evidence, Finding
from pinchpoint.domain.ledger import Row
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Ceiling
from pinchpoint.domain.verdict import Diagnosis, Verdict
from pinchpoint.domain.words import (
    BASIS_WORDS,
    CAUSE_NOUN,
    CAUSE_WHY,
    CEILING_WORDS,
    PROOF_WORDS,
    SIGNAL_WORDS,
)
from pinchpoint.reporters import charts
from pinchpoint.reporters.advice import LEAST_GAIN, ranked
from pinchpoint.reporters.bars import Part, parts
from pinchpoint.reporters.cell_names import cell_name, setting
from pinchpoint.reporters.figures import figure, limit, seconds, share, value_and_interval
from pinchpoint.reporters.heading import facts
from pinchpoint.reporters.layout import clean, shortened
from pinchpoint.reporters.starts import phase_rows, started
from pinchpoint.reporters.terminal import reached
from pinchpoint.units import amount, duration

TEMPLATE = "page.html.j2"
MOST_ROWS, MOST_CHANGES, MOST_CEILINGS, LONGEST = 60, 12, 80, 300
GROUPS = (("Found", "present"), ("Not decided", "unknown"), ("Ruled out", "absent"))
QUESTIONS = ("latency", "capacity", "tail", "startup")


def render(diagnosis: Diagnosis) -> str:
    """The page."""
    from jinja2 import Environment

    template = resources.files("pinchpoint.reporters").joinpath(TEMPLATE).read_text("utf-8")
    page = Environment(autoescape=True, trim_blocks=True).from_string(template)
    return page.render(**_facts(diagnosis))


HTML = Reporter("html", render)


def _facts(diagnosis: Diagnosis) -> dict[str, object]:
    """Everything that the template shows, in words."""
    typical = tuple(row for row in diagnosis.ledger if row.question == "latency")
    slow = tuple(row for row in diagnosis.ledger if row.question == "tail")
    present = tuple(f.code for f in diagnosis.findings if f.status == "present")
    title, size, machine, asked = facts(diagnosis.target, diagnosis.workload, diagnosis.environment)
    environment = diagnosis.environment
    return {
        "title": title,
        "heading": [f"{size}.", machine, asked],
        "reasons": [shortened(clean(reason), LONGEST) for reason in diagnosis.reasons],
        "answer": _answer(diagnosis.verdicts["latency"]),
        "lines": list(_lines(diagnosis)),
        "changes": [_change(each) for each in _worthwhile(diagnosis)],
        "ledger": [_part(part) for part in parts(typical, present)],
        "tail": [_difference(row, slow, present) for row in slow[:MOST_ROWS]],
        "demands": [_demand(each) for each in diagnosis.demands],
        "starts": phase_rows(diagnosis.starts),
        "groups": [(name, list(_findings(diagnosis.findings, status))) for name, status in GROUPS],
        "unseen": [shortened(clean(each), LONGEST) for each in diagnosis.unobservable],
        "environment": [
            ("CPU", clean(environment.cpu_model)),
            ("CPUs usable", f"{environment.effective_cpus:g} of {environment.cpus}"),
            (
                "Memory limit",
                "none" if environment.memory_limit_bytes is None else amount(environment.memory_limit_bytes, "B"),
            ),
            ("Kernel", clean(environment.kernel)),
        ],
        "ceilings": [_ceiling(each) for each in environment.ceilings[:MOST_CEILINGS]],
        "run": clean(diagnosis.run),
        "charts": {
            "ledger": charts.ledger(typical),
            "throughput": charts.throughput(diagnosis.rungs),
            "latency": charts.latency(diagnosis.rungs),
            "roofline": charts.roofline(diagnosis.pictures),
            "distribution": charts.distribution(diagnosis.pictures),
            "course": charts.course(diagnosis.pictures),
        },
    }


def _answer(verdict: Verdict) -> dict[str, str]:
    return {
        "sentence": clean(verdict.sentence),
        "proof": PROOF_WORDS.get(verdict.proof or "", ""),
        "why": CAUSE_WHY.get(verdict.cause or "", ""),
    }


def _lines(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    """The four questions, a sentence each."""
    typical, p99 = (diagnosis.measured.latency_s.get(name) for name in ("typical", "p99"))
    if typical is not None:
        slow = f", p99 {_seconds(p99)}" if p99 is not None else ""
        yield "Latency", f"{_seconds(typical)} typical, n = {typical.n:,}{slow}"
    for question in QUESTIONS[1:]:
        verdict = diagnosis.verdicts.get(question)
        if verdict is None:
            continue
        words = [reached(diagnosis) if question == "capacity" else "", clean(verdict.sentence), verdict.cause or "",
                 PROOF_WORDS.get(verdict.proof or "", "").lower()]  # fmt: skip
        if question == "startup":
            words[-1:] = [f"{words[-1]}." if words[-1] else "", started(diagnosis)]
        yield question.capitalize(), " ".join(filter(None, words))
    if diagnosis.startup and "startup" not in diagnosis.verdicts:
        named = ", ".join(f"{clean(phase.name)} {duration(phase.seconds)}" for phase in diagnosis.startup)
        whole = sum(phase.seconds for phase in diagnosis.startup)
        yield "Startup", f"{duration(whole)} to the first answer, seen once: {named}."
    if diagnosis.measured.overhead is not None:
        yield "Watching", f"changed the latency by {share(diagnosis.measured.overhead, places=1)}"


def _worthwhile(diagnosis: Diagnosis) -> list[Prediction]:
    useful = (p for p in diagnosis.predictions if p.gain.value >= LEAST_GAIN)
    return ranked(useful, diagnosis.verdicts["latency"])[:MOST_CHANGES]


def _change(prediction: Prediction) -> dict[str, str]:
    change = prediction.change
    value, inside = value_and_interval(prediction.gain)
    return {
        "words": clean(change.words),
        "gain": f"{value}{f' ({inside})' if inside else ''}",
        "statistic": clean(change.statistic),
        "basis": BASIS_WORDS.get(change.kind, clean(change.kind)),
        "finding": clean(change.finding),
    }


def _part(part: Part) -> dict[str, str]:
    shown = Quantity(part.share, part.share, part.share, part.seconds.n)
    return {"name": part.name, "seconds": _seconds(part.seconds), "share": share(shown)}


def _difference(row: Row, rows: tuple[Row, ...], present: Iterable[str]) -> dict[str, str]:
    return {
        "name": cell_name(row, setting(rows, present, ())),
        "seconds": _seconds(row.seconds),
        "share": share(Quantity(row.share, row.share, row.share, row.seconds.n)),
    }


def _demand(demand: Demand) -> dict[str, str]:
    each, ceiling, used = demand.seconds_per_request, demand.ceiling_per_s, demand.utilization
    return {
        "resource": clean(demand.resource),
        "load": str(demand.load),
        "each": _seconds(each) if each is not None else "not seen",
        "ceiling": f"{value_and_interval(ceiling)[0]}/s" if ceiling is not None else "-",
        "used": share(used) if used is not None else "-",
    }


def _findings(findings: Iterable[Finding], status: str) -> Iterator[dict[str, object]]:
    for finding in findings:
        if finding.status == status:
            evidence = [_evidence(each) for each in finding.evidence]
            yield {"code": finding.code, "noun": CAUSE_NOUN.get(finding.code, ""), "evidence": evidence}


def _evidence(evidence: Evidence) -> dict[str, str]:
    signal = evidence.signal
    seen = (
        figure(signal.quantity, signal.unit) if signal.quantity is not None else f"not measured: {clean(signal.reason)}"
    )
    relation = "over" if evidence.relation == "above" else "under"
    return {
        "signal": SIGNAL_WORDS.get(signal.name) or clean(signal.name),
        "figure": shortened(seen, LONGEST),
        "limit": f"{relation} {limit(evidence.limit.value, signal.unit)}?",
        "status": {"present": "yes", "absent": "no"}.get(evidence.status(), "not decided"),
    }


def _ceiling(ceiling: Ceiling) -> dict[str, str]:
    size = amount(ceiling.footprint_bytes, "B") if ceiling.footprint_bytes else ""
    narrowed = ", ".join(filter(None, [clean(ceiling.dtype), size]))
    what = CEILING_WORDS.get(ceiling.name) or clean(ceiling.name)
    return {
        "what": f"{what} ({narrowed})" if narrowed else what,
        "threads": f"{ceiling.threads} thread{'' if ceiling.threads == 1 else 's'}",
        "value": figure(ceiling.value, ceiling.unit),
    }


def _seconds(quantity: Quantity) -> str:
    value, inside, unit = seconds(quantity)
    return f"{value} {unit}{f' ({inside})' if inside else ''}"
