"""What to do: changes with what they are predicted to give, and those that will not help."""

from __future__ import annotations

from collections.abc import Iterable

from pinchpoint.domain.change import Change, Prediction
from pinchpoint.domain.verdict import Verdict
from pinchpoint.domain.words import BASIS_WORDS, CAUSE_ADVICE
from pinchpoint.reporters.figures import between
from pinchpoint.reporters.layout import WIDTH, Line, clean, columns, line, listed, padded, shortened, wrapped
from pinchpoint.units import decimals, duration_unit, percent

LEAST_GAIN = 1.02  # below it a change is not worth anyone's time
THROUGHPUT = "throughput"  # the statistic of changes to what is reached with several requests in flight
_MOST_CHANGES = 4
_CHANGE_WIDTH = 44
_BASIS_WIDTH = max(map(len, BASIS_WORDS.values()))
_BOUND_NOTE = "bound: no change of this kind can gain more; one that can be made gains less."


def to_do(predictions: Iterable[Prediction], verdict: Verdict | None, target: str) -> list[Line]:
    """The table of changes to a kind of target, those for the verdict's own cause first; advice where none could be forecast."""
    worthwhile = ranked((p for p in predictions if p.gain.value >= LEAST_GAIN), verdict)[:_MOST_CHANGES]
    if not worthwhile:
        return in_words(verdict.cause or "") if verdict else []
    expected = [now_and_expected(prediction) for prediction in worthwhile]
    wide = max([*map(columns, expected), len("now -> expected")])
    name_width = min(WIDTH - 3 - wide - 2 * 2 - _BASIS_WIDTH, _CHANGE_WIDTH)
    lines = [line(f"{'WHAT TO DO':<{name_width + 3}}  {'now -> expected':<{wide}}  basis", "bold", "WHAT TO DO")]
    for number, (prediction, figures) in enumerate(zip(worthwhile, expected, strict=True), start=1):
        basis = BASIS_WORDS.get(prediction.change.kind, clean(prediction.change.kind))
        name = padded(clean(prediction.change.words), name_width)
        lines.append(line(f" {number} {name}  {figures:<{wide}}  {shortened(basis, _BASIS_WIDTH)}"))
    if any(prediction.change.kind == "bound" for prediction in worthwhile):
        lines += map(line, wrapped(_BOUND_NOTE, " ", 1))
    return [*lines, *_try(worthwhile, target)]


def in_words(cause: str) -> list[Line]:
    """What to do about a cause where no change was forecast; nothing for a cause without advice."""
    advice = CAUSE_ADVICE.get(cause)
    return [line(text, "bold", "WHAT TO DO") for text in wrapped(f"{advice}.", "WHAT TO DO  ", 12)] if advice else []


def will_not_help(predictions: Iterable[Prediction], verdict: Verdict | None) -> list[Line]:
    """Changes that one might think of and that would gain next to nothing."""
    everything = list(predictions)
    helped = {p.change.finding for p in everything if p.gain.value >= LEAST_GAIN}
    pointless = ranked((p for p in everything if p.gain.value < LEAST_GAIN and p.change.finding not in helped), verdict)
    words = [f"{clean(p.change.words)} ({_at_most(p.gain.high)})" for p in pointless]
    return [line(text) for text in listed(words, "Will not help: ", most_lines=2)]


def ranked(predictions: Iterable[Prediction], verdict: Verdict | None) -> list[Prediction]:
    """Predictions for the verdict's cause first, then those for what else was found.

    In each, what can be done comes before what merely bounds it, and the larger gain first.
    Of changes that are called the same, the first is kept.
    """
    leading = [verdict.cause, *verdict.also] if verdict else []

    def rank(prediction: Prediction) -> tuple[int, bool, float, str]:
        found = prediction.change.finding
        place = leading.index(found) if found in leading else len(leading)
        return place, prediction.change.kind == "bound", -prediction.gain.value, prediction.change.words

    return list({clean(each.change.words): each for each in sorted(predictions, key=rank, reverse=True)}.values())[::-1]


def now_and_expected(prediction: Prediction) -> str:
    """Before and after in one unit, such as `13.3 -> 5.7-6.6 ms`; a bound is said to be one."""
    before, after = prediction.before, prediction.after
    scale, unit = (1.0, "/s") if prediction.change.statistic == THROUGHPUT else duration_unit(before.value)
    now = before.value / scale
    places = decimals(now)
    low, high = after.low / scale, after.high / scale
    while low > 0 and f"{low:.{places}f}" == f"{0:.{places}f}" and places < decimals(low, 2):
        places += 1
    now_text = f"{now:,.{decimals(now)}f}"
    after_text = between(low, high, places) if low < high else f"{low:,.{places}f}"
    each = f" for all {prediction.change.per_request:g}" if prediction.change.per_request > 1 else ""
    space = "" if unit == "/s" else " "
    return f"{now_text} -> {after_text}{space}{unit}{each}"


def _at_most(gain: float) -> str:
    """The best that a pointless change could do."""
    best = percent(max(gain - 1, 0))
    return best if best.startswith("<") else f"{best} at most"


def _try(shown: list[Prediction], target: str) -> list[Line]:
    """How to try the first change that is a matter of settings."""
    for number, prediction in enumerate(shown, start=1):
        if words := how(prediction.change, target):
            return [line(text) for text in wrapped(words, f"Try {number}: ", 7)]
    return []


def how(change: Change, target: str) -> str:
    """How to try a change of settings with a kind of target; "" for any other change."""
    pairs = [f"{clean(key)}={clean(value)}" for key, value in change.setting]
    if not pairs:
        return ""
    if target == "python":  # its sessions are its own
        return f"set {' and '.join(pairs)} where your code opens the session, and run the same command"
    return f"run the same command with {' '.join(f'--set {pair}' for pair in pairs)}"
