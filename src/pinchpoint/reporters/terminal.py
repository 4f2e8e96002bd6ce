"""The screen: what limits the target, why, and what to do, in 80 columns and words before codes.

Text from a target (names, errors) is cleaned on its way in; nothing here is computed that the diagnosis does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pinchpoint.contracts import Reporter
from pinchpoint.domain.demand import Rung
from pinchpoint.domain.finding import Evidence, Finding
from pinchpoint.domain.ledger import Row
from pinchpoint.domain.observed import Observed
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.verdict import Diagnosis, Measured, Verdict
from pinchpoint.domain.words import BOUND_HEADLINE, CAUSE_HEADLINE, CAUSE_NOUN, CAUSE_WHY, PROOF_WORDS, SIGNAL_WORDS
from pinchpoint.reporters.advice import in_words, to_do, will_not_help
from pinchpoint.reporters.bars import Part, bars, parts
from pinchpoint.reporters.beside import in_figures
from pinchpoint.reporters.copies import copied
from pinchpoint.reporters.counters import counted
from pinchpoint.reporters.figures import FLAG, figure, limit, seconds, share, value_and_interval
from pinchpoint.reporters.heading import heading
from pinchpoint.reporters.layout import (
    WIDTH,
    Line,
    clean,
    coloured_text,
    columns,
    line,
    listed,
    plain_text,
    shortened,
    wrapped,
)
from pinchpoint.reporters.observed import in_use
from pinchpoint.reporters.starts import only_of_a_start, started
from pinchpoint.reporters.streams import streamed
from pinchpoint.units import digits, duration, percent

_MARGIN = 2  # right of the level of proof
_TAG = 10  # columns of LATENCY, CAPACITY, TAIL, STARTUP
_MOST_REASONS = 6
_MOST_TESTS = 3
_MOST_EVIDENCE = 2
_LONGEST_REASON = 300
_HARDLY = 0.05  # of the time
_SHORTEST_PHASE_S = 0.01
_INVALID = "NOT VALID: this run cannot answer the question."
_INCONCLUSIVE = "INCONCLUSIVE: this run does not decide what limits the target."
_ROOFLINE = {
    "C101": "Arithmetic runs at {used} of the speed measured here.",
    "M101": "Reading weights runs at {used} of the memory speed measured here.",
    "M102": "Moving results runs at {used} of the memory speed measured here.",
}
_SLOW_OPERATOR = "C114"
_OTHER_QUESTIONS = ("capacity", "tail", "startup")


def render(diagnosis: Diagnosis) -> str:
    """The screen as plain text, no line over 80 columns, without a closing newline."""
    return plain_text(_screen(diagnosis))


def render_coloured(diagnosis: Diagnosis) -> str:
    """The same screen with terminal escapes for bold and colour."""
    return coloured_text(_screen(diagnosis))


TERMINAL = Reporter("terminal", render)
TERMINAL_COLOUR = Reporter("terminal-colour", render_coloured)


def _screen(diagnosis: Diagnosis) -> Iterator[Line]:
    """All lines, from the target to where to read more."""
    if diagnosis.observed is not None:
        yield from _watched(diagnosis, diagnosis.observed)
        return
    verdict = diagnosis.verdicts.get("latency") if diagnosis.valid else None
    causes = codes_found(diagnosis, verdict)
    shown = parts(_typical(diagnosis), causes, slow_operators(diagnosis))
    yield from heading(diagnosis.target, diagnosis.workload, diagnosis.environment, diagnosis.service)
    yield line("")
    first = leading(diagnosis)
    yield from _headline(diagnosis, first)
    yield line("")
    ahead = first is not verdict
    if ahead:
        yield from _other_answers(diagnosis, ("capacity",))
    yield from _latency(diagnosis.measured)
    yield from _lengths(diagnosis.measured)
    if stream := streamed(diagnosis.service):
        yield from map(line, wrapped(stream, "  ", 2))
    if told := counted(diagnosis.service):
        yield from map(line, wrapped(told, "  ", 2))
    typical = _typical_latency(diagnosis.measured)
    yield from bars(shown, typical.value if typical else 0.0)
    yield from _why(diagnosis, verdict, shown, behind=ahead)
    yield from _other_answers(diagnosis, _OTHER_QUESTIONS[1:] if ahead else _OTHER_QUESTIONS)
    yield from _startup(diagnosis)
    yield line("")
    if diagnosis.valid:
        yield from to_do(diagnosis.predictions, first, diagnosis.target.kind)
        yield from will_not_help(diagnosis.predictions, first)
        yield from _look_alikes(diagnosis, first)
    else:
        yield from in_words(next(iter(causes), ""))
    yield from _not_seen(diagnosis)
    yield from _footer(diagnosis, first)


def _watched(diagnosis: Diagnosis, found: Observed) -> Iterator[Line]:
    """All lines of a server that nothing was sent to."""
    first = leading(diagnosis)
    yield from heading(diagnosis.target, diagnosis.workload, diagnosis.environment, diagnosis.service)
    yield line("")
    yield from _headline(diagnosis, first)
    yield line("")
    yield from in_use(found)
    yield from _other_answers(diagnosis, ("latency", "tail", "startup"))
    yield line("")
    if first is not None:
        said = [CAUSE_WHY.get(first.cause or "", ""), _evidence(diagnosis, first)]
        yield from map(line, wrapped(" ".join(filter(None, said)), "", 2) if any(said) else ())
        yield from to_do(diagnosis.predictions, first, diagnosis.target.kind)
        yield from _look_alikes(diagnosis, first)
    yield from _not_seen(diagnosis)
    yield from _footer(diagnosis, first)


def leading(diagnosis: Diagnosis) -> Verdict | None:
    """The verdict that is said first: of a server that on capacity, where it names a cause or nothing was sent, else that on
    latency; None where the run does not count.
    """
    if not diagnosis.valid:
        return None
    capacity = diagnosis.verdicts.get("capacity")
    if diagnosis.observed is not None:
        return capacity
    if diagnosis.service is not None and capacity is not None and capacity.cause:
        return capacity
    return diagnosis.verdicts.get("latency")


def codes_found(diagnosis: Diagnosis, verdict: Verdict | None) -> tuple[str, ...]:
    """The causes that were found, the verdict's own first."""
    present = [finding.code for finding in diagnosis.findings if finding.status == "present"]
    return tuple(dict.fromkeys([*([verdict.cause] if verdict and verdict.cause else []), *present]))


def slow_operators(diagnosis: Diagnosis) -> frozenset[str]:
    """The operators that take longer than their work needs, where that was found."""
    changes = (each.change for each in diagnosis.predictions if each.change.finding == _SLOW_OPERATOR)
    return frozenset(edit.operator for change in changes for edit in change.edits if edit.operator)


def _typical(diagnosis: Diagnosis) -> tuple[Row, ...]:
    """The cells of typical requests."""
    return tuple(row for row in diagnosis.ledger if row.question == "latency" and row.requests == "typical")


# --- the verdict ---------------------------------------------------------------------------------------------------
def _headline(diagnosis: Diagnosis, verdict: Verdict | None) -> Iterator[Line]:
    """The answer with its level of proof; reasons first where there is none."""
    if not diagnosis.valid:
        yield from _without_answer(_INVALID, diagnosis)
    elif verdict is None or _undecided(verdict):
        yield from _without_answer(_undecided_sentence(verdict), diagnosis)
    else:
        yield from _proven(headline(diagnosis, verdict), verdict.proof)
        yield from _reasons(diagnosis, "  Note: ")


def _undecided(verdict: Verdict) -> bool:
    """Whether the verdict names nothing that limits the target."""
    return verdict.bound == "unknown" or (verdict.bound != "none" and verdict.cause is None and not verdict.sentence)


def _undecided_sentence(verdict: Verdict | None) -> str:
    """That nothing was decided, with the verdict's own words for it."""
    said = clean(verdict.sentence) if verdict else ""
    if not said:
        return _INCONCLUSIVE
    return said if said.split()[0].rstrip(":").isupper() else f"INCONCLUSIVE: {said}"


def headline(diagnosis: Diagnosis, verdict: Verdict) -> str:
    """The sentence that is said first: on capacity that of the cause, since its own tells of the resource."""
    if verdict is diagnosis.verdicts.get("capacity") and verdict.cause in CAUSE_HEADLINE:
        return CAUSE_HEADLINE[verdict.cause]
    return _sentence(verdict)


def _sentence(verdict: Verdict) -> str:
    """The verdict's own sentence, or that of its cause or bound."""
    return (
        clean(verdict.sentence)
        or CAUSE_HEADLINE.get(verdict.cause or "")
        or BOUND_HEADLINE.get(verdict.bound, _INCONCLUSIVE)
    )


def _proven(sentence: str, proof: str | None) -> Iterator[Line]:
    """The sentence in as many lines as it takes, the level of proof at the right end of the first."""
    level = PROOF_WORDS.get(proof or "", clean(proof or "").upper())
    lines = wrapped(sentence, "  ", 2, WIDTH - _MARGIN - (len(level) + 2 if level else 0))
    gap = WIDTH - _MARGIN - columns(lines[0]) - len(level)
    yield line(f"{lines[0]}{' ' * gap}{level}".rstrip(), "bold")
    for text in lines[1:]:
        yield line(text, "bold")


def _without_answer(sentence: str, diagnosis: Diagnosis) -> Iterator[Line]:
    """What is missing, and why."""
    for text in wrapped(sentence, "  ", 2):
        yield line(text, "alarm")
    yield from _reasons(diagnosis, "  - ")


def _reasons(diagnosis: Diagnosis, lead: str) -> Iterator[Line]:
    """The reasons, each on lines of its own."""
    for reason in diagnosis.reasons[:_MOST_REASONS]:
        for text in wrapped(shortened(clean(reason), _LONGEST_REASON), lead, len(lead)):
            yield line(text)
    if len(diagnosis.reasons) > _MOST_REASONS:
        yield line(f"{lead}and {len(diagnosis.reasons) - _MOST_REASONS} more (see --json)")


# --- the measurement -----------------------------------------------------------------------------------------------
def _latency(measured: Measured) -> Iterator[Line]:
    """Typical latency and p99 with intervals and counts; what could not be measured, and why."""
    tag = f"{'LATENCY':<{_TAG}}"
    typical, p99 = _typical_latency(measured), measured.latency_s.get("p99")
    if typical is None:
        reason = measured.reasons.get("p50") or f"{measured.requests:,} requests, {measured.failed:,} of them failed"
        text = f"not measured: {clean(reason)}"
    else:
        value, inside, unit = seconds(typical)
        around = ", ".join(filter(None, [inside, f"n={typical.n:,}"]))
        text = f"{value} {unit} typical ({around}), {_ninety_ninth(p99, unit, measured)}"
    if measured.failed and measured.requests:
        text += f" {measured.failed:,} of {measured.requests:,} requests failed; the figures are of the others."
    for each in wrapped(text, tag, _TAG):
        yield line(each, "bold", "LATENCY" if each.startswith("LATENCY") else text)


def _typical_latency(measured: Measured) -> Quantity | None:
    """The mean of typical requests, to which the ledger adds up; the median where that is not given."""
    return measured.latency_s.get("typical") or measured.latency_s.get("p50")


def _ninety_ninth(p99: Quantity | None, typical_unit: str, measured: Measured) -> str:
    """The 99th percentile, or why it is not known."""
    if p99 is None:
        reason = clean(measured.reasons.get("p99", "not measured")).rstrip(".")
        return f"no p99: {reason}{'' if '--budget' in reason else ' (a larger --budget)'}."
    value, inside, unit = seconds(p99)
    return f"p99 {value}{'' if unit == typical_unit else ' ' + unit}{f' ({inside})' if inside else ''}"


def _lengths(measured: Measured) -> Iterator[Line]:
    """Typical latency by the size of a free length, where there are two."""
    if len(measured.by_length) > 1:
        each = (f"{duration(quantity.value)} at {length}" for length, quantity in measured.by_length.items())
        yield line(f"  By length (--length): {', '.join(each)}.")


def _startup(diagnosis: Diagnosis) -> Iterator[Line]:
    """The phases until the first answer; a single observation each."""
    phases = [phase for phase in diagnosis.startup if phase.seconds >= _SHORTEST_PHASE_S]
    if "startup" in diagnosis.verdicts or not phases:
        return
    named = ", ".join(f"{clean(phase.name)} {duration(phase.seconds)}" for phase in phases)
    whole = sum(phase.seconds for phase in diagnosis.startup)
    for text in wrapped(f"{duration(whole)} to the first answer, seen once: {named}.", f"{'STARTUP':<{_TAG}}", _TAG):
        yield line(text, "bold", "STARTUP")


def _why(diagnosis: Diagnosis, verdict: Verdict | None, shown: tuple[Part, ...], *, behind: bool) -> Iterator[Line]:
    """One or two sentences of why, the evidence in figures, and the experiments made; before them the answer itself, where
    another one was said first.
    """
    if not shown:
        yield line("  Where the time goes could not be measured.")
    if verdict is None:
        return
    said = [CAUSE_WHY.get(verdict.cause or "", ""), _distance(verdict), _evidence(diagnosis, verdict)]
    said.append(copied(diagnosis, verdict.cause))
    if behind:
        level = PROOF_WORDS.get(verdict.proof or "", "")
        for text in wrapped(" ".join(filter(None, [_sentence(verdict), clean(verdict.cause or ""), level])), "  ", 2):
            yield line(text, "bold")
    for text in wrapped(" ".join(filter(None, said)), "  ", 2) if any(said) else []:
        yield line(text)
    for test in diagnosis.experiments[:_MOST_TESTS]:
        for text in wrapped(clean(test), "  Test: ", 2):
            yield line(text)


def _distance(verdict: Verdict) -> str:
    """How near a limit is reached."""
    if verdict.kind != "limit" or verdict.headroom is None or verdict.cause not in _ROOFLINE:
        return ""
    return _ROOFLINE[verdict.cause].format(used=percent(1 - verdict.headroom))


def _evidence(diagnosis: Diagnosis, verdict: Verdict) -> str:
    """The signals that made the finding, each against its limit."""
    found = next((f for f in diagnosis.findings if f.code == verdict.cause and f.status == "present"), None)
    seen = [_against_limit(each) for each in found.evidence if each.signal.quantity] if found else []
    return f"Seen: {'; '.join(seen[:_MOST_EVIDENCE])}." if seen else ""


def _against_limit(evidence: Evidence) -> str:
    """A signal with its interval and the limit it was judged by, such as `queue share 60 % (58-62), over 30 %`."""
    signal, quantity = evidence.signal, evidence.signal.quantity
    assert quantity is not None
    if signal.unit == FLAG:
        return _signal_words(signal.name)
    relation = "over" if evidence.relation == "above" else "under"
    judged = f"{relation} {limit(evidence.limit.value, signal.unit)}"
    return f"{_signal_words(signal.name)} {figure(quantity, signal.unit)}, {judged}"


def _signal_words(name: str) -> str:
    """What a signal measures, in words."""
    return SIGNAL_WORDS.get(name) or clean(name).replace(".", " ").replace("_", " ")


def _other_answers(diagnosis: Diagnosis, questions: Sequence[str]) -> Iterator[Line]:
    """Capacity, tail and startup, as far as they were asked and answered."""
    for question in questions:
        verdict = diagnosis.verdicts.get(question)
        if verdict is None or not diagnosis.valid:
            continue
        level = PROOF_WORDS.get(verdict.proof or "", "")
        figures = figures_of(diagnosis, question)
        said = " ".join(filter(None, [figures, _sentence(verdict), clean(verdict.cause or "")]))
        sentence = f"{said}{'  ' + level if level else ''}"
        if question == "startup":
            sentence = f"{sentence}{'.' if level else ''} {started(diagnosis)}".rstrip()
        for text in wrapped(sentence, f"{question.upper():<{_TAG}}", _TAG):
            yield line(text, "bold", question.upper())


def figures_of(diagnosis: Diagnosis, question: str) -> str:
    """What was measured with several requests in flight, before the answer to a question."""
    figures = {"capacity": reached, "tail": crowded}.get(question)
    return figures(diagnosis) if figures else ""


def reached(diagnosis: Diagnosis) -> str:
    """The highest throughput with the load that reached it, and how many CPUs were busy then."""
    best = max(diagnosis.rungs, key=lambda rung: rung.throughput_per_s.value, default=None)
    if best is None:
        return ""
    value, inside = value_and_interval(best.throughput_per_s)
    words = f"{value}/s{f' ({inside})' if inside else ''} {_served(best)}"
    mine = (each for each in diagnosis.demands if each.resource == "cpu" and each.load == best.load)
    cpu = next((each for each in mine if each.utilization is not None), None)
    if cpu is None or cpu.utilization is None:
        return f"{words}."
    return f"{words}, {digits(cpu.utilization.value * cpu.capacity, 2)} of {cpu.capacity:g} CPUs busy."


def crowded(diagnosis: Diagnosis) -> str:
    """How much longer a request to a server takes under load; nothing where it takes hardly longer, or that was not measured."""
    found = diagnosis.crowding
    if diagnosis.service is None or found is None or found.longer.low < _HARDLY:
        return ""
    value, inside, unit = seconds(found.latency_s)
    around = f" ({inside})" if inside else ""
    return f"With {found.load} in flight {value} {unit}{around} on average, {share(found.longer)} of it due to the others. Alone:"


def _served(rung: Rung) -> str:
    """With how many requests in flight, and by whom where it is not the usual."""
    if rung.crew == "threads":
        return f"with {rung.load} in flight"
    return f"by {rung.load} process{'es' if rung.load > 1 else ''}"


# --- what else there is to know ------------------------------------------------------------------------------------
def _look_alikes(diagnosis: Diagnosis, verdict: Verdict | None) -> Iterator[Line]:
    """What else was found, what was ruled out and by what, and what could not be."""
    if verdict is None:
        return
    own = next((finding for finding in diagnosis.findings if finding.code == verdict.cause), None)
    alike = own.lookalikes if own else ()
    running = (f for f in diagnosis.findings if f.code != verdict.cause and not only_of_a_start(f))
    others = sorted(running, key=lambda f: f.code not in alike)
    by_code = {finding.code: finding for finding in diagnosis.findings}
    named = map(clean, verdict.also) if verdict.bound != "unknown" else ()
    also = [f"{_noun(code)}{in_figures(by_code.get(code))} ({code})" for code in named]
    absent = [_noun(f.code) + _figure_of(f, "absent") for f in others if f.status == "absent"]
    asked = diagnosis.observed is None  # without requests most causes are unknown, which is said once
    unknown = [_noun(f.code) + _doubt(f) for f in others if f.status == "unknown" and asked]
    for items, lead, most in ((also, "Also found: ", 2), (absent, "Ruled out: ", 2), (unknown, "Not ruled out: ", 2)):
        for text in listed(items, lead, most):
            yield line(text)


def _noun(code: str) -> str:
    """What a cause is called in a list."""
    return CAUSE_NOUN.get(code, clean(code))


def _figure_of(finding: Finding, status: str) -> str:
    """The signal that decided a finding, in brackets; "" where there is none to show."""
    decisive = next((e for e in finding.evidence if e.status() == status and e.signal.quantity), None)
    if decisive is None or decisive.signal.quantity is None or decisive.signal.unit == FLAG:
        return ""
    signal, value = decisive.signal, decisive.signal.quantity.value
    what = "" if signal.unit == "share" else f"{_signal_words(signal.name)} "
    return f" ({what}{limit(value, signal.unit)})"


def _doubt(finding: Finding) -> str:
    """Why a finding is open: what is missing, or that its interval straddles a limit."""
    if finding.missing:
        return f" (not measured: {_signal_words(finding.missing[0])})"
    return " (too close to call)"


def _not_seen(diagnosis: Diagnosis) -> Iterator[Line]:
    """What could not be observed here, and what observing cost."""
    unseen = [each.partition(": ")[::2] for each in diagnosis.unobservable] or diagnosis.environment.unobservable
    items = [f"{clean(what)} ({clean(why).rstrip('.')})" if why else clean(what).rstrip(".") for what, why in unseen]
    for text in listed([shortened(each, _LONGEST_REASON) for each in items], "Could not see: "):
        yield line(text)
    overhead = diagnosis.measured.overhead
    if overhead is not None:
        yield line(f"Watching changed the latency by {share(overhead, places=1)}.")


def _footer(diagnosis: Diagnosis, verdict: Verdict | None) -> Iterator[Line]:
    """Where to read on: about a cause that this screen speaks of."""
    named = [answer.cause for answer in (verdict, *diagnosis.verdicts.values()) if answer is not None and answer.cause]
    offered = [each.change.finding for each in diagnosis.predictions]
    codes = [*named, *offered] if diagnosis.valid else codes_found(diagnosis, verdict)
    if codes:
        yield line("")
        yield line(f"Why?  pinchpoint explain {clean(codes[0])}", "dim")
