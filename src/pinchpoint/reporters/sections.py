"""What a report says, section by section and in words; pages and Markdown only lay it out. All text of a target is cleaned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pinchpoint.domain.change import Prediction
from pinchpoint.domain.demand import Demand, Rung
from pinchpoint.domain.finding import Evidence, Finding
from pinchpoint.domain.ledger import Row
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Ceiling, Environment
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.domain.words import (
    BASIS_WORDS,
    CAUSE_ADVICE,
    CAUSE_NOUN,
    CAUSE_WHY,
    CEILING_WORDS,
    PROOF_WORDS,
    SIGNAL_WORDS,
)
from pinchpoint.reporters.advice import LEAST_GAIN, how, now_and_expected, ranked
from pinchpoint.reporters.bars import parts
from pinchpoint.reporters.cell_names import cell_name, setting
from pinchpoint.reporters.copies import copied
from pinchpoint.reporters.figures import figure, limit, seconds, share, value_and_interval
from pinchpoint.reporters.layout import clean, shortened
from pinchpoint.reporters.observed import figures
from pinchpoint.reporters.starts import started
from pinchpoint.reporters.terminal import codes_found, figures_of, headline, leading, slow_operators
from pinchpoint.units import amount, duration

MOST_ROWS, MOST_CHANGES, MOST_CEILINGS, LONGEST = 60, 12, 80, 300
GROUPS = (("Found", "present"), ("Not decided", "unknown"), ("Ruled out", "absent"))
OTHER_QUESTIONS = ("capacity", "tail", "startup")
INVALID = "NOT VALID: this run cannot answer the question."
NOT_DECIDED = "INCONCLUSIVE: this run does not decide what limits the target."
CAPACITY = "capacity."  # signals of resources under load
ANSWERS = {"present": "yes", "absent": "no"}

Words = dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """The first thing that is said: a sentence with its level of proof, and why in a sentence or two."""

    sentence: str
    proof: str
    why: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding: its code, what it is called, and a row for each test that was made."""

    code: str
    noun: str
    evidence: tuple[Words, ...]
    missing: tuple[str, ...]


def answer(diagnosis: Diagnosis) -> Answer:
    """What limits the target, or that this run does not say."""
    verdict = leading(diagnosis)
    if verdict is None:
        return Answer(NOT_DECIDED if diagnosis.valid else INVALID, "", "")
    return Answer(
        headline(diagnosis, verdict),
        PROOF_WORDS.get(verdict.proof or "", ""),
        " ".join(filter(None, [CAUSE_WHY.get(verdict.cause or "", ""), copied(diagnosis, verdict.cause)])),
    )


def reasons(diagnosis: Diagnosis) -> list[str]:
    """Why a run does not count."""
    return [short(reason) for reason in diagnosis.reasons]


def questions(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    """The four questions, a sentence each, and what watching cost."""
    if diagnosis.observed is not None:
        for question in ("capacity", "latency", "tail", "startup") if diagnosis.valid else ():
            yield question.capitalize(), clean(diagnosis.verdicts[question].sentence)
        yield from figures(diagnosis.observed)
        return
    latency = diagnosis.verdicts.get("latency")
    said = _latency(diagnosis)
    asked = list(OTHER_QUESTIONS)
    if (
        latency is not None and diagnosis.valid and leading(diagnosis) is not latency
    ):  # a server's capacity is said first
        words = [clean(latency.sentence), latency.cause or "", PROOF_WORDS.get(latency.proof or "", "").lower()]
        said = f"{said}. {' '.join(filter(None, words))}"
        yield from _others(diagnosis, asked[:1])
        asked = asked[1:]
    yield "Latency", said
    yield from _others(diagnosis, asked)
    if diagnosis.startup and "startup" not in diagnosis.verdicts:
        named = ", ".join(f"{clean(phase.name)} {duration(phase.seconds)}" for phase in diagnosis.startup)
        whole = sum(phase.seconds for phase in diagnosis.startup)
        yield "Startup", f"{duration(whole)} to the first answer, seen once: {named}."
    if diagnosis.measured.overhead is not None:
        yield "Watching", f"changed the latency by {share(diagnosis.measured.overhead, places=1)}"


def _others(diagnosis: Diagnosis, asked: Sequence[str]) -> Iterator[tuple[str, str]]:
    for question in asked:
        verdict = diagnosis.verdicts.get(question)
        if verdict is None or not diagnosis.valid:
            continue
        words = [figures_of(diagnosis, question), clean(verdict.sentence), verdict.cause or "",
                 PROOF_WORDS.get(verdict.proof or "", "").lower()]  # fmt: skip
        if question == "startup":
            words[-1:] = [f"{words[-1].capitalize()}." if words[-1] else "", started(diagnosis)]
        yield question.capitalize(), " ".join(filter(None, words))


def _latency(diagnosis: Diagnosis) -> str:
    """Typical latency and p99 with intervals and counts, or why there is none."""
    measured = diagnosis.measured
    typical = measured.latency_s.get("typical") or measured.latency_s.get("p50")
    p99 = measured.latency_s.get("p99")
    failed = f" {measured.failed:,} of {measured.requests:,} requests failed." if measured.failed else ""
    if typical is None:
        return f"not measured: {clean(measured.reasons.get('p50', 'no request was answered'))}.{failed}"
    slow = f", p99 {time(p99)}" if p99 is not None else ""
    return f"{time(typical)} typical, n = {typical.n:,}{slow}{'.' if failed else ''}{failed}"


def tests(diagnosis: Diagnosis) -> list[str]:
    """The experiments that were made."""
    return [short(each) for each in diagnosis.experiments[:MOST_CHANGES]]


# --- what to do ----------------------------------------------------------------------------------------------------
def changes(diagnosis: Diagnosis) -> list[Words]:
    """Changes that are worth making, those for the verdict's own cause first."""
    useful = (each for each in diagnosis.predictions if each.gain.value >= LEAST_GAIN)
    chosen = ranked(useful, leading(diagnosis))[:MOST_CHANGES] if diagnosis.valid else []
    return [_change(each, diagnosis.target.kind) for each in chosen]


def advice(diagnosis: Diagnosis) -> str:
    """What to do in words, where no change could be forecast; "" where there is nothing to say."""
    verdict = leading(diagnosis)
    cause = verdict.cause if verdict else next(iter(codes_found(diagnosis, None)), None)
    words = CAUSE_ADVICE.get(cause or "")
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _change(prediction: Prediction, target: str) -> Words:
    change = prediction.change
    value, inside = value_and_interval(prediction.gain)
    return {
        "words": clean(change.words),
        "expected": now_and_expected(prediction),
        "gain": f"{value}{f' ({inside})' if inside else ''}",
        "statistic": clean(change.statistic),
        "basis": BASIS_WORDS.get(change.kind, clean(change.kind)),
        "finding": clean(change.finding),
        "how": how(change, target),
    }


# --- the two tables ------------------------------------------------------------------------------------------------
def ledger(diagnosis: Diagnosis) -> list[Words]:
    """Where the time of a typical request goes."""
    causes = codes_found(diagnosis, leading(diagnosis))
    shown = parts(typical_rows(diagnosis), causes, slow_operators(diagnosis))
    return [_cell(part.name, part.seconds, part.share) for part in shown]


def typical_rows(diagnosis: Diagnosis) -> tuple[Row, ...]:
    """The cells of typical requests."""
    return tuple(row for row in diagnosis.ledger if row.question == "latency")


def tail(diagnosis: Diagnosis) -> list[Words]:
    """What slow requests spend beyond typical ones, cell by cell; what is unexplained is never left out."""
    rows = tuple(row for row in diagnosis.ledger if row.question == "tail")
    known = [row for row in rows if row.state != "unexplained"]
    shown = [*known[:MOST_ROWS], *(row for row in rows if row.state == "unexplained")]
    around = setting(rows, codes_found(diagnosis, leading(diagnosis)))
    return [_cell(cell_name(row, around), row.seconds, row.share) for row in shown]


def _cell(name: str, spent: Quantity, part: float) -> Words:
    return {"name": name, "seconds": time(spent), "share": share(exact(part)), "n": f"{spent.n:,}" if spent.n else "-"}


def demands(diagnosis: Diagnosis) -> list[Words]:
    """Busy seconds of each resource a request, at each load."""
    return [_demand(each) for each in diagnosis.demands[: 4 * MOST_ROWS]]


def _demand(demand: Demand) -> Words:
    each, ceiling, used = demand.seconds_per_request, demand.ceiling_per_s, demand.utilization
    return {
        "resource": clean(demand.resource),
        "load": str(demand.load),
        "each": time(each) if each is not None else "not seen",
        "ceiling": rate(ceiling) if ceiling is not None else "-",
        "used": share(used) if used is not None else "-",
    }


def rungs(diagnosis: Diagnosis) -> list[Words]:
    """What was reached with several requests in flight."""
    return [_rung(each) for each in diagnosis.rungs[:MOST_ROWS]]


def _rung(rung: Rung) -> Words:
    return {
        "load": str(rung.load),
        "throughput": rate(rung.throughput_per_s),
        "latency": time(rung.latency_s),
        "p99": duration(rung.p99_s) if rung.p99_s is not None else "-",
        "n": f"{rung.throughput_per_s.n:,}",
    }


# --- findings ------------------------------------------------------------------------------------------------------
def judged(diagnosis: Diagnosis, status: str) -> list[Judged]:
    """The findings of a status with their evidence. Where no request was observed, most are open for that reason alone, which is
    said once: those are told that are about capacity.
    """
    found = [each for each in diagnosis.findings if each.status == status]
    if diagnosis.observed is not None and status == "unknown":
        found = [each for each in found if any(test.signal.name.startswith(CAPACITY) for test in each.evidence)]
    return [_judged(each) for each in found]


def _judged(finding: Finding) -> Judged:
    tested = {each.signal.name for each in finding.evidence}
    missing = tuple(signal_words(name) for name in finding.missing if name not in tested)
    evidence = tuple(map(_evidence, finding.evidence))
    return Judged(clean(finding.code), CAUSE_NOUN.get(finding.code, ""), evidence, missing)


def _evidence(evidence: Evidence) -> Words:
    signal = evidence.signal
    seen = (
        figure(signal.quantity, signal.unit) if signal.quantity is not None else f"not measured: {clean(signal.reason)}"
    )
    relation = "over" if evidence.relation == "above" else "under"
    return {
        "signal": signal_words(signal.name),
        "figure": shortened(seen, LONGEST),
        "limit": f"{relation} {limit(evidence.limit.value, signal.unit)}?",
        "status": ANSWERS.get(evidence.status(), "not decided"),
    }


# --- the measurement -----------------------------------------------------------------------------------------------
def unseen(diagnosis: Diagnosis) -> list[str]:
    """What could not be observed, each with its reason."""
    return [short(each) for each in diagnosis.unobservable]


def machine(environment: Environment) -> list[tuple[str, str]]:
    """The machine as it limits the target."""
    memory = environment.memory_limit_bytes
    return [
        ("CPU", clean(environment.cpu_model)),
        ("CPUs usable", f"{environment.effective_cpus:g} of {environment.cpus}"),
        ("Memory limit", "none" if memory is None else amount(memory, "B")),
        ("Kernel", clean(environment.kernel)),
    ]


def ceilings(environment: Environment) -> list[Words]:
    """What this machine can do at most."""
    return [_ceiling(each) for each in environment.ceilings[:MOST_CEILINGS]]


def _ceiling(ceiling: Ceiling) -> Words:
    size = amount(ceiling.footprint_bytes, "B") if ceiling.footprint_bytes else ""
    narrowed = ", ".join(filter(None, [clean(ceiling.dtype), size]))
    what = CEILING_WORDS.get(ceiling.name) or clean(ceiling.name)
    return {
        "what": f"{what} ({narrowed})" if narrowed else what,
        "threads": f"{ceiling.threads} thread{'' if ceiling.threads == 1 else 's'}",
        "value": figure(ceiling.value, ceiling.unit),
    }


# --- words ---------------------------------------------------------------------------------------------------------
def time(quantity: Quantity) -> str:
    """Seconds in the unit that suits, with the interval."""
    value, inside, unit = seconds(quantity)
    return f"{value} {unit}{f' ({inside})' if inside else ''}"


def rate(quantity: Quantity) -> str:
    """Requests a second, with the interval."""
    value, inside = value_and_interval(quantity)
    return f"{value}/s{f' ({inside})' if inside else ''}"


def signal_words(name: str) -> str:
    """What a signal measures."""
    return SIGNAL_WORDS.get(name) or clean(name)


def short(text: str) -> str:
    """Text of a target on one line, and not longer than anyone reads."""
    return shortened(clean(text), LONGEST)
