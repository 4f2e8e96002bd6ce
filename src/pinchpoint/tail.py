"""Tail + Findings -> the Verdict on the tail: what makes slow requests slower than typical ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pinchpoint import stats
from pinchpoint.contracts import Tables
from pinchpoint.domain.change import Prediction
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.ledger import TOLD
from pinchpoint.domain.tail import Recurring, Tail
from pinchpoint.domain.verdict import Gain, Verdict
from pinchpoint.domain.words import RECURRING_HEADLINE, STAGE_WORDS, TAIL_HEADLINE, TAIL_STATE_WORDS
from pinchpoint.limits import Limits
from pinchpoint.stage_names import UNPLACED
from pinchpoint.units import percent
from pinchpoint.verdict import STATE_BOUND, TYPICAL

# The cause that a cell of a state and site has where slow requests have more of it; computing longer is no cause by itself.
CAUSES = {
    ("starved", ""): "C109",
    ("memory", "fault"): "M104",
    ("disk", "disk"): "I101",
    ("disk", "fault"): "I101",
    ("disk", "sync"): "I106",
    ("network", "network"): "I105",
    ("wait", "futex"): "W104",
    ("wait", "timer"): "W110",
}
SHAPES = "W108"
OF_ALL = ("seen", "unseen")  # stages that are known of all requests together
COLLECTIONS, AHEAD, QUOTA, OTHERS, FULL = "W109", "W107", "C108", "C109", "M103"


def tail_verdict(
    tables: Tables, findings: Sequence[Finding], predictions: Sequence[Prediction], limits: Limits
) -> Verdict:
    """What makes slow requests slower; `none` where they are hardly slower, `unknown` where they are too few."""
    found, origin = tables.tail, tables.typical.stages_from
    ahead = next((f for f in findings if f.code == AHEAD and f.status == "present"), None)
    if ahead is not None and tables.knee is not None:
        return _blocked(tables, ahead, tables.knee.load, predictions)
    if found is None:
        count, needed = len(tables.run.requests.index), stats.samples_needed(0.99)
        words = f"NOT KNOWN: {count} requests, {needed} are needed for a p99; use a larger --budget."
        return Verdict("unknown", None, None, None, None, None, None, (), origin, words, None)
    slower = f"{found.percentile} is {found.bound.value / tables.typical.latency.value:.2f} x typical"
    least = tables.typical.latency.value * limits.tail_ratio.value
    present = {f.code for f in findings if f.status == "present"}
    again = found.recurring if COLLECTIONS in present else None
    if again is not None and again.share.low <= limits.recurring_share.value:
        again = None
    if found.bound.value < least:
        return _comes_back(again, origin) or _nothing(origin, slower)
    collected = found.collection_share
    if COLLECTIONS in present and collected is not None and collected.low > limits.tail_share.value:
        share = collected.value
        sentence = f"{slower}: {TAIL_HEADLINE[COLLECTIONS]}"
        gain = _gain(predictions, COLLECTIONS)
        return Verdict("wait", None, COLLECTIONS, "defect", "supported", share, None, (), origin, sentence, gain)
    if SHAPES in present and found.shape_share and found.shape_share.value > limits.tail_share.value:
        sentence = f"{slower}: {TAIL_HEADLINE[SHAPES]}"
        share, gain = min(found.shape_share.value, 1.0), _gain(predictions, SHAPES)
        return Verdict("wait", None, SHAPES, "defect", "supported", share, None, (), origin, sentence, gain)
    verdict = _by_cell(found, present, slower, origin, limits, certain=found.bound.low >= least)
    return verdict if verdict.cause is not None else _comes_back(again, origin) or verdict


def _nothing(origin: str, slower: str) -> Verdict:
    return Verdict("none", None, None, None, None, None, None, (), origin, f"{slower}: nothing to explain.", None)


def _comes_back(again: Recurring | None, origin: str) -> Verdict | None:
    """The verdict on slow requests that come back; None where they do not."""
    if again is None:
        return None
    every = f"{again.every:.0f} requests" if again.unit == "requests" else f"{again.every:.2g} s"
    words = RECURRING_HEADLINE.format(every=every, ratio=again.ratio)
    return Verdict("wait", None, COLLECTIONS, "defect", "supported", None, None, (), origin, words, None)


def _blocked(tables: Tables, ahead: Finding, load: int, predictions: Sequence[Prediction]) -> Verdict:
    """Small requests behind large ones: with one in flight nobody waits, so this is told of several."""
    ratio, share = (evidence.signal.quantity for evidence in ahead.evidence)
    assert ratio is not None
    assert share is not None
    longer = f"the slowest twentieth of small requests take {ratio.value:.2g} x as long as typical ones"
    words = f"with {load} in flight, {longer}: {TAIL_HEADLINE[AHEAD]}"
    gain, origin = _gain(predictions, AHEAD), tables.typical.stages_from
    return Verdict("wait", "queue", AHEAD, "defect", "supported", share.value, None, (), origin, words, gain)


def _by_cell(found: Tail, present: set[str], slower: str, origin: str, limits: Limits, *, certain: bool) -> Verdict:
    """The verdict on the largest cell of what slow requests spend beyond typical ones."""
    if found.ledger is None or found.ledger.latency.value <= 0:
        words = f"{slower}; too few slow requests were observed to say why."
        return Verdict("unknown", None, None, None, None, None, None, (), origin, words, None)
    cells: dict[tuple[str, str, str], float] = defaultdict(float)
    for row in found.ledger.rows:
        cells[(row.stage, row.state, row.site)] += row.seconds.value
    excess = found.ledger.latency.value
    left = abs(sum(value for (_, state, _), value in cells.items() if state == "unexplained")) / excess
    (stage, state, site), seconds = max(cells.items(), key=lambda item: item[1])
    share, called = seconds / excess, STAGE_WORDS.get(stage, stage)
    whole = found.ledger.stages_from in OF_ALL and stage == UNPLACED
    if site == TOLD:
        words = f"{slower}: slow requests take longer in {called} ({percent(share)}), as the server tells."
        return Verdict("unknown", stage, None, None, None, min(share, 1.0), None, (), origin, words, None)
    if state == "unexplained" or left > limits.unexplained_too_large.value:
        words = f"{slower}; too much of the difference is unexplained to say why."
        return Verdict("unknown", stage, None, None, None, None, None, (), origin, words, None)
    cause = _cause(state, site, present)
    proven = certain and share > limits.tail_share.value and left <= limits.tail_unexplained.value
    if cause is None:
        how, place = TAIL_STATE_WORDS.get(state, "spend longer"), "the server" if whole else called
        apart = "; its stages are not told apart" if whole else ""
        sentence = f"{slower}: slow requests {how} in {place} ({share:.0%}){apart}."
    else:
        sentence = f"{slower}: {TAIL_HEADLINE[cause]}"
    proof = "supported" if proven else "hypothesis"
    kind = "defect" if cause else None
    bound = STATE_BOUND[state] if cause not in ("W104", "W110") else "wait"
    where = None if whole else stage
    return Verdict(bound, where, cause, kind, proof, min(share, 1.0), None, (), origin, sentence, None)


def _cause(state: str, site: str, present: set[str]) -> str | None:
    cause = CAUSES.get((state, site))
    if cause == OTHERS and QUOTA in present:
        return QUOTA
    if (state, site) in (("memory", "fault"), ("disk", "fault")) and FULL in present:
        return FULL
    return cause


def _gain(predictions: Sequence[Prediction], cause: str) -> Gain | None:
    mine = [p for p in predictions if p.change.finding == cause and p.change.without and p.change.statistic != TYPICAL]
    best = max(mine, key=lambda p: p.gain.value, default=None)
    if best is None:
        return None
    gain, change = best.gain, best.change
    return Gain(gain.value, gain.low, gain.high, change.words, change.kind, change.statistic, best.load)
