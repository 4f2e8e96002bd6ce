"""Startup + Findings + Predictions -> the Verdict on startup: what the time until the first answer is spent on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pinchpoint.contracts import Tables
from pinchpoint.domain.change import Prediction
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.startup import PhaseTime, Startup
from pinchpoint.domain.verdict import Gain, Verdict
from pinchpoint.domain.words import STARTUP_WORDS
from pinchpoint.limits import Limits
from pinchpoint.units import amount, duration
from pinchpoint.verdict import about_latency

READING, OPTIMISING, SESSION, OWN_CODE, LIBRARIES = "reading", "optimising", "session", "own code", "libraries"
INTERPRETER, FIRST_REQUEST = "interpreter", "first request"
PHASES = {OWN_CODE: (OWN_CODE,), LIBRARIES: (LIBRARIES, "import"), INTERPRETER: (INTERPRETER,), SESSION: (SESSION,)}
CAUSES = {READING: "I102", OPTIMISING: "C112"}
STATISTIC = "startup"
MOST = 0.5  # of a part's time at one line, or on CPU


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a start; all parts together, and one typical request, are the start."""

    name: str
    seconds: Quantity


def besides_startup(findings: Sequence[Finding]) -> list[Finding]:
    """The findings for which something else than a start speaks."""
    return [
        f for f in findings if about_latency(f) or not all(e.signal.name.startswith("startup.") for e in f.evidence)
    ]


def startup_verdict(
    tables: Tables, findings: Sequence[Finding], predictions: Sequence[Prediction], limits: Limits
) -> Verdict | None:
    """What most of a start is; `none` where it is hardly noticed, None where no start was recorded."""
    found, origin = tables.startup, tables.typical.stages_from
    if found is None:
        return None
    whole = found.whole
    if whole.value < limits.noticeable_start.value:
        words = f"{duration(whole.value)} to the first answer: nothing to explain."
        return Verdict("none", None, None, None, None, None, None, (), origin, words, None)
    first, *others = _parts(found, tables.typical.latency.value)
    statuses = {f.code: f.status for f in findings}
    cause = CAUSES.get(first.name)
    if cause is not None and statuses.get(cause) == "absent":
        cause = None
    clear = min(whole.n, first.seconds.n) > 1 and (not others or first.seconds.low > others[0].seconds.high)
    decided = cause is None or statuses.get(cause) == "present"
    also = [code for name, code in CAUSES.items() if name != first.name and statuses.get(code) == "present"]
    return Verdict(
        bound=_bound(first.name, found),
        where=_where(first.name, found),
        cause=cause,
        kind="defect" if cause else None,
        proof="supported" if clear and decided else "hypothesis",
        share=min(first.seconds.value / whole.value, 1.0),
        headroom=None,
        also=tuple(also),
        stages_from=origin,
        sentence=f"{duration(whole.value)} to the first answer, of which {duration(first.seconds.value)} is "
        f"{STARTUP_WORDS[first.name].format(detail=_detail(first.name, found))}.",
        gain=_gain(predictions, cause),
    )


def _parts(found: Startup, typical_s: float) -> list[Part]:
    """The parts of a start, the largest first."""
    seconds = {name: found.seconds(*phases) for name, phases in PHASES.items()}
    seconds[READING], seconds[OPTIMISING] = found.reading, found.optimising
    opening, optimising = seconds[SESSION], seconds[OPTIMISING]
    if opening is not None and optimising is not None:
        seconds[OPTIMISING] = optimising.clipped(0.0, opening.value)
        seconds[SESSION] = _less(opening, max(optimising.value, 0.0))
    first = found.seconds(FIRST_REQUEST)
    seconds[FIRST_REQUEST] = None if first is None else _less(first, typical_s)
    parts = [Part(name, each) for name, each in seconds.items() if each is not None]
    return sorted(parts, key=lambda part: -part.seconds.value)


def _less(seconds: Quantity, by: float) -> Quantity:
    value, low, high = (max(end - by, 0.0) for end in (seconds.value, seconds.low, seconds.high))
    return Quantity(value, low, high, seconds.n)


def _bound(name: str, found: Startup) -> str:
    """Reading is io; any other part is cpu where the CPU was busy for most of it, else waiting."""
    if name == READING:
        return "io"
    mine = [
        phase for phase in found.phases if phase.name in PHASES.get(name, (SESSION if name == OPTIMISING else name,))
    ]
    known = [phase.cpu_s for phase in mine if phase.cpu_s is not None]
    if not mine or len(known) < len(mine):
        return "unknown"
    return "cpu" if sum(known) > MOST * sum(phase.seconds.value for phase in mine) else "wait"


def _where(name: str, found: Startup) -> str:
    """The phase in which the part lies; for reading the one that gains most from files in the page cache."""
    if name == OPTIMISING:
        return SESSION
    if name != READING:
        return name
    return max(found.phases, key=_slower).name


def _slower(phase: PhaseTime) -> float:
    return phase.cold_seconds.value - phase.seconds.value if phase.cold_seconds else 0.0


def _detail(name: str, found: Startup) -> str:
    """What a part is about: bytes and their rate, a line, a package."""
    if name == READING:
        if not found.read_bytes or found.reading is None or found.reading.value <= 0:
            return "its files"
        return f"{amount(found.read_bytes, 'B')} ({amount(found.read_bytes / found.reading.value, 'B')}/s)"
    if name == OWN_CODE:
        state = {"wait": ", waiting", "cpu": ", computing"}.get(_bound(name, found), "")
        return f" ({_place(name, found)}{state})"
    if name == LIBRARIES:
        largest = next((phase.detail for phase in found.phases if phase.name == LIBRARIES), "")
        return f", the longest {largest}" if largest else ""
    return ""


def _place(name: str, found: Startup) -> str:
    """The line of the target's own code at which most of the part was spent, else its file."""
    mine = [line for line in found.busy_lines if line.phase == name]
    if mine and mine[0].seconds > MOST * sum(line.seconds for line in mine):
        return f"{os.path.basename(mine[0].file)}:{mine[0].line}"
    return os.path.basename(next((phase.detail for phase in found.phases if phase.name == name), ""))


def _gain(predictions: Sequence[Prediction], cause: str | None) -> Gain | None:
    """The largest gain for the cause; what a remedy should give goes before a mere bound."""
    mine = [p for p in predictions if p.change.finding == cause and p.change.statistic == STATISTIC]
    estimates = [p for p in mine if p.change.kind == "estimate"]
    best = max(estimates or mine, key=lambda p: p.gain.value, default=None)
    if best is None:
        return None
    gain, change = best.gain, best.change
    return Gain(gain.value, gain.low, gain.high, change.words, change.kind, change.statistic, best.load)
