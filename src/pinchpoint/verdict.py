"""Findings + Predictions -> Verdicts, by the rules of docs/design.md section 2."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pinchpoint.contracts import Tables
from pinchpoint.domain.change import Prediction
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.ledger import TOLD, Ledger, Row
from pinchpoint.domain.service import INSIDE_UNSEEN
from pinchpoint.domain.signal import Signals
from pinchpoint.domain.verdict import Gain, Verdict
from pinchpoint.domain.words import CAUSE_HEADLINE, CAUSE_NOUN, SIGNAL_WORDS, STAGE_WORDS
from pinchpoint.limits import Limits
from pinchpoint.service_ledger import INSIDE
from pinchpoint.units import percent

STATE_BOUND = {
    "cpu": "cpu",
    "memory": "memory",
    "gpu": "gpu",
    "disk": "io",
    "network": "io",
    "starved": "cpu",
    "wait": "wait",
}
HEADROOM_SIGNALS = {
    "C101": "model.arithmetic_efficiency",
    "M101": "model.bandwidth_efficiency",
    "M102": "model.bandwidth_efficiency",
}
FROM_OUTSIDE = ("seen", "server", "unseen")  # of a server
MEASUREMENT, TYPICAL = "measurement", "typical latency"
ELSEWHERE = ("capacity.", "tail.", "startup.")  # signals of other questions, which say nothing of a typical request
MOST = 0.5  # of a cell must lie at the site that a cause names; of the time in a stage that is named without a cause
# Where two hold for the same cells, the first leads (docs/causes, the rulings): a quota decides over threads.
# Planning for a shape that takes most of a request is why its stage is heavy.
# A window that requests share is a timer of nobody's own.
# What opens a model in each request is no work of the model's.
# An operator that is slow on denormals, or in int8, is on a slow path because of them.
RULINGS = (
    ("C108", "C106"),
    ("C111", "C114"),
    ("C116", "C114"),
    ("W103", "W110"),
    *(("C118", run) for run in ("C101", "C105", "C107", "C112", "C114", "C116", "M101")),
    *(("W108", stage) for stage in ("C101", "C102", "C103", "C104", "C105")),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A (stage, state) cell: the sum of its rows with the ends of its interval, and where its seconds lie by site."""

    stage: str
    state: str
    value: float
    low: float
    high: float
    sites: Mapping[str, float]


def cells(ledger: Ledger) -> list[Cell]:
    """The ledger by stage and state, largest first, without what is unexplained. What operators share (the overlap of
    arithmetic and memory) is uncertain in the same direction for all, so the ends of rows add up linearly.
    """
    grouped: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in ledger.rows:
        if row.state != "unexplained":
            grouped[(row.stage, row.state)].append(row)
    return sorted((_cell(stage, state, rows) for (stage, state), rows in grouped.items()), key=lambda cell: -cell.value)


def _cell(stage: str, state: str, rows: Sequence[Row]) -> Cell:
    sites: dict[str, float] = defaultdict(float)
    for row in rows:
        sites[row.site] += row.seconds.value
    parts = [row.seconds for row in rows]
    return Cell(
        stage, state, sum(p.value for p in parts), sum(p.low for p in parts), sum(p.high for p in parts), dict(sites)
    )


def unexplained_share(ledger: Ledger) -> float:
    """The signed share of the latency that no cell accounts for."""
    return ledger.seconds(state="unexplained") / ledger.latency.value


def latency_verdict(
    tables: Tables, findings: Sequence[Finding], predictions: Sequence[Prediction], signals: Signals, limits: Limits
) -> Verdict:
    """What makes one request slow."""
    ledger = tables.typical
    findings = [f for f in findings if about_latency(f)]
    ordered, told = cells(ledger), _only_told(ledger)
    if not ordered or abs(unexplained_share(ledger)) > limits.unexplained_too_large.value:
        return told or _unknown(ledger, _too_much_unexplained(ledger))
    largest = ordered[0]
    if told is not None and (told.share or 0.0) * ledger.latency.value > largest.high:
        return told
    contenders = [cell for cell in ordered if cell is largest or cell.high > largest.low]
    present = [f for f in findings if f.status == "present" and f.bound != MEASUREMENT]
    candidates = [f for f in present if any(explains(f, cell) for cell in contenders)]
    second_best = not candidates
    if second_best:  # what else holds much of the same stage is the better guess, and no more than one
        contenders = [c for c in ordered if c.stage == largest.stage and _share(c, ledger) > limits.leading_share.value]
        candidates = [f for f in present if any(explains(f, cell) for cell in contenders)]
    if not candidates:
        return _without_cause(ledger, largest, findings, present)
    codes = {f.code for f in candidates}
    overruled = {loser for winner, loser in RULINGS if winner in codes}
    chosen = min((f for f in candidates if f.code not in overruled), key=lambda f: rank(f, predictions, limits))
    cell = next(c for c in ordered if c in contenders and explains(chosen, c))
    others = sorted((f for f in present if f is not chosen), key=lambda f: rank(f, predictions, limits))
    return Verdict(
        bound=chosen.bound,
        where=cell.stage,
        cause=chosen.code,
        kind=chosen.kind,
        proof="hypothesis" if second_best else _proof(chosen, findings, ledger, limits),
        share=_share(cell, ledger),
        headroom=_headroom(chosen, signals),
        also=tuple(f.code for f in others),
        stages_from=ledger.stages_from,
        sentence=CAUSE_HEADLINE.get(chosen.code, chosen.code),
        gain=gain_of(chosen, predictions),
    )


def _share(cell: Cell, ledger: Ledger) -> float:
    return cell.value / ledger.latency.value


def explains(finding: Finding, cell: Cell) -> bool:
    """Whether a finding's cause is one of this cell's time."""
    for stage, state, *sites in finding.cells:
        here = stage in ("*", cell.stage) and state == cell.state
        if here and (not sites or sum(cell.sites.get(site, 0.0) for site in sites) >= cell.value * MOST):
            return True
    return False


def about_latency(finding: Finding) -> bool:
    """Whether anything speaks for a finding in a typical request, alone in flight."""
    return not finding.evidence or any(not e.signal.name.startswith(ELSEWHERE) for e in finding.evidence)


def rank(
    finding: Finding, predictions: Sequence[Prediction], limits: Limits, statistic: str = TYPICAL
) -> tuple[int, float, str]:
    """Defects that are worth removing first, then by gain; a limit never beats such a defect."""
    best = best_prediction(finding, predictions, statistic)
    worthwhile = finding.kind == "defect" and best is not None and best.gain.low > limits.worthwhile_gain.value
    return (0 if worthwhile else 1, -(best.gain.value if best else 1.0), finding.code)


def best_prediction(finding: Finding, predictions: Sequence[Prediction], statistic: str = TYPICAL) -> Prediction | None:
    """The largest gain predicted for a finding's remedies; what a remedy should give goes before a mere bound."""
    mine = [
        p
        for p in predictions
        if p.change.remedy in finding.remedies and p.change.finding == finding.code and p.change.statistic == statistic
    ]
    estimates = [p for p in mine if p.change.kind == "estimate"]
    return max(estimates or mine, key=lambda p: p.gain.value, default=None)


def gain_of(finding: Finding, predictions: Sequence[Prediction]) -> Gain | None:
    """The best prediction for a finding in its public form."""
    best = best_prediction(finding, predictions)
    if best is None:
        return None
    change = best.change
    return Gain(best.gain.value, best.gain.low, best.gain.high, change.words, change.kind, change.statistic, best.load)


def _proof(finding: Finding, findings: Sequence[Finding], ledger: Ledger, limits: Limits) -> str:
    """Supported where the ledger accounts for the time and every look-alike was looked for and not found."""
    accounted = abs(unexplained_share(ledger)) <= limits.unexplained_accounted.value
    statuses = {f.code: f.status for f in findings}
    excluded = all(statuses.get(code, "absent") == "absent" for code in finding.lookalikes)
    return "supported" if accounted and excluded else "hypothesis"


def _headroom(finding: Finding, signals: Signals) -> float | None:
    """Distance of a limit from its ceiling, as a share."""
    name = HEADROOM_SIGNALS.get(finding.code)
    signal = signals.get(name) if name else None
    if finding.kind != "limit" or signal is None or signal.quantity is None:
        return None
    return max(0.0, 1.0 - signal.quantity.value)


def _without_cause(ledger: Ledger, largest: Cell, findings: Sequence[Finding], present: Sequence[Finding]) -> Verdict:
    """No cause explains the largest cell: its state is still a fact; undecided causes are named."""
    if INSIDE_UNSEEN in largest.sites:
        return _unknown(ledger, "THE SERVER takes most of the time, and not the way to it; it cannot be looked into.")
    undecided = [f for f in findings if f.status == "unknown" and f.bound != MEASUREMENT and explains(f, largest)]
    share = largest.value / ledger.latency.value
    if undecided:
        asked = [SIGNAL_WORDS.get(name, name) for name in sorted({name for f in undecided for name in f.missing})]
        why = (
            f"not measured: {_some(asked, 2, 'and')}"
            if asked
            else "the intervals straddle the limits; a longer run decides"
        )
        if ledger.stages_from in FROM_OUTSIDE and asked:
            return _opaque(ledger, largest)
        names = [CAUSE_NOUN.get(f.code, f.code) for f in undecided]
        sentence = f"UNDECIDED: {_some(names, 3, 'or')}? ({why})"
        return Verdict("unknown", largest.stage, None, None, None, share, None, tuple(f.code for f in undecided),
                       ledger.stages_from, sentence, None)  # fmt: skip
    return Verdict(
        bound=STATE_BOUND[largest.state],
        where=largest.stage,
        cause=None,
        kind=None,
        proof="hypothesis",
        share=share,
        headroom=None,
        also=tuple(f.code for f in present),
        stages_from=ledger.stages_from,
        sentence=_no_cause(ledger, largest),
        gain=None,
    )


def _opaque(ledger: Ledger, largest: Cell) -> Verdict:
    """What a server computes in a stage is seen, and why that takes so long is not: the stage and its bound are facts."""
    where = "" if not (line := _line_of(ledger, largest)) else f" ({line})"
    subject = "THE MODEL" if largest.stage == "model" else STAGE_WORDS.get(largest.stage, largest.stage).upper()
    return Verdict(
        bound=STATE_BOUND[largest.state],
        where=largest.stage,
        cause=None,
        kind=None,
        proof="hypothesis",
        share=largest.value / ledger.latency.value,
        headroom=None,
        also=(),
        stages_from=ledger.stages_from,
        sentence=f"{subject} computes most of the time{where}; why cannot be seen from outside: diagnose it by itself.",
        gain=None,
    )


def _line_of(ledger: Ledger, cell: Cell) -> str:
    """The line of the user's code that most of a cell's time is spent at; empty where that is not known."""
    labels: dict[str, float] = defaultdict(float)
    for row in ledger.rows:
        if (row.stage, row.state) == (cell.stage, cell.state) and row.label:
            labels[row.label] += row.seconds.value
    label = max(labels, key=lambda name: labels[name], default="")
    return label if labels.get(label, 0.0) > MOST * cell.value else ""


def _some(names: Sequence[str], most: int, joint: str) -> str:
    """Names with a joint before the last, at most so many; one more is shown rather than counted."""
    shown = list(names) if len(names) <= most + 1 else [*names[:most], f"{len(names) - most} more"]
    return f"{', '.join(shown[:-1])} {joint} {shown[-1]}" if len(shown) > 1 else "".join(shown)


def _no_cause(ledger: Ledger, largest: Cell) -> str:
    line = _line_of(ledger, largest) if ledger.stages_from in FROM_OUTSIDE else ""
    if largest.state == "cpu" and (ledger.stages_from == "unseen" or line == INSIDE.label):
        return "THE SERVER computes most of the time; what, cannot be seen from outside."
    if line and largest.state == "cpu":
        return f"YOUR OWN CODE computes most of the time: {line}."
    if largest.state == "wait" and largest.sites.get("futex", 0.0) > MOST * largest.value:
        return "WAITING for other threads takes most of the time: a result, a queue or a lock of a library's."
    return NO_CAUSE.get(largest.state, "NO KNOWN CAUSE explains the largest part of the time.")


NO_CAUSE = {
    "cpu": "YOUR OWN CODE computes most of the time, in no stage that is known: mark its stages to see which.",
    "wait": "WAITING takes most of the time, on nothing that is recognised.",
}


def _busiest_stage(ledger: Ledger) -> str | None:
    """The stage that holds most of the time, explained or not; None where none holds half."""
    seconds: dict[str, float] = defaultdict(float)
    for row in ledger.rows:
        seconds[row.stage] += row.seconds.value
    stage = max(seconds, key=lambda name: seconds[name], default=None)
    return stage if stage is not None and seconds[stage] > ledger.latency.value * MOST else None


def _only_told(ledger: Ledger) -> Verdict | None:
    """The stage that takes most of what a server told of requests into which nobody could look; None where it told nothing."""
    told: dict[str, list[Row]] = defaultdict(list)
    for row in ledger.rows:
        if row.site == TOLD:
            told[row.stage].append(row)
    if not told:
        return None
    stage, rows = max(told.items(), key=lambda item: sum(row.share for row in item[1]))
    share, label = sum(row.share for row in rows), max(rows, key=lambda row: row.share).label
    name = label if label and len(rows) == 1 else STAGE_WORDS.get(stage, stage)
    sentence = (
        f"{name.upper()} takes {percent(share)} of a request, as the server tells; what for cannot be seen from here."
    )
    return Verdict("unknown", stage, None, None, None, share, None, (), ledger.stages_from, sentence, None)


def _too_much_unexplained(ledger: Ledger) -> str:
    return f"TOO MUCH IS UNEXPLAINED ({unexplained_share(ledger):+.0%} of the time) to name a cause."


def _unknown(ledger: Ledger, sentence: str) -> Verdict:
    where = _busiest_stage(ledger)
    return Verdict("unknown", where, None, None, None, None, None, (), ledger.stages_from, sentence, None)
