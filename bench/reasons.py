"""Right for the right reason: known limits get their verdict, on both sides of the measured crossover, however the graph is
written; and each remedy's predicted gain stands beside the gain of doing it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from functools import partial

from bench import cases, gains
from bench.cases import Case
from bench.gains import Gain
from bench.noise import Status, Tried, tried
from bench.report import Claim, Json, Report, Table, milliseconds
from bench.settings import Settings
from bench.tool import ToolFailed, diagnose
from bench.truth import noise_text
from pinchpoint.domain.verdict import Diagnosis, Verdict

SLOW_BUDGET = 1.5  # of the budget at batch 512: a request takes some 0.4 s, and 30 are needed
NEUTRAL: Status = "shown"


def run(settings: Settings) -> Report:
    """Measure the crossover, diagnose every case, then do the remedies."""
    began = time.monotonic()
    settings.progress("reasons: crossover")
    times = gains.measured_crossover(settings.retries)
    crossover = gains.crossover(times.value)
    wanted = [
        c
        for c in (*cases.around_crossover(crossover), *cases.same_work(crossover), *cases.others())
        if settings.wants(c.name)
    ]
    found, failed = {}, []
    for case in wanted:
        settings.progress(f"reasons: {case.name}")
        try:
            found[case.name] = tried(partial(diagnosed, case, settings), partial(judged, case=case), settings.retries)
        except ToolFailed as error:
            failed.append(Claim(case.name, "a diagnosis", str(error), "violated"))
    wanted = [case for case in wanted if case.name in found]
    settings.progress("reasons: doing it")
    done = gains.gains(found, settings.retries)
    one, large = (milliseconds(each) for each in times.value)
    note = (
        f"Crossover of MatMul 4096, plain ONNX Runtime: {one} ms at batch 1, {large} ms at {cases.LARGE}: "
        f"batch {crossover:.1f} (noise {noise_text(times.noise)}). M101 is due up to half of it, C101 from twice."
    )
    claims = (*failed, *(_claim(case, found[case.name]) for case in wanted))
    figures = _figures(times.value, found, done)
    tables = (_verdict_table(wanted, found), *([_gain_table(done)] if done else []))
    title = "RIGHT FOR THE RIGHT REASON: known limits, and predicted gains beside measured ones"
    return Report("reasons", title, tables, claims, figures, time.monotonic() - began, (note, *_summary(done)))


def diagnosed(case: Case, settings: Settings) -> Diagnosis:
    """The diagnosis of a case."""
    budget_s = settings.budget_s * (SLOW_BUDGET if case.batch == cases.LARGE else 1.0)
    return diagnose(str(cases.file_of(case.model)), budget_s, settings=case.settings, batch=case.batch)


def judged(diagnosis: Diagnosis, case: Case) -> Status:
    """Whether the verdict is the one that is due; where nothing is due and nothing rejected, it is only shown."""
    verdict = diagnosis.verdicts["latency"]
    present = {f.code for f in diagnosis.findings if f.status == "present"}
    if verdict.cause in case.rejected or present & set(case.rejected):
        return "violated"
    if case.cause is None:
        return "holds" if case.rejected else NEUTRAL
    return "holds" if verdict.cause == case.cause else "violated"


def said(verdict: Verdict) -> str:
    """A verdict in a word or two."""
    return verdict.cause or (
        f"({verdict.bound})" if not verdict.also else f"({verdict.bound}: {'/'.join(verdict.also)})"
    )


def _due(case: Case) -> str:
    return case.cause or (f"not {'/'.join(case.rejected)}" if case.rejected else "any")


def _claim(case: Case, found: Tried[Diagnosis]) -> Claim:
    return Claim(case.name, _due(case), said(found.value.verdicts["latency"]), found.status)


def _verdict_table(wanted: list[Case], found: Mapping[str, Tried[Diagnosis]]) -> Table:
    rows = []
    for case in wanted:
        each = found[case.name]
        verdict, typical = each.value.verdicts["latency"], each.value.measured.latency_s.get("typical")
        rows.append((
            case.name, milliseconds(typical.value) if typical else "-", _due(case), said(verdict), verdict.proof or "-",
            noise_text(each.noise), each.status,
        ))  # fmt: skip
    return Table(("case", "ms", "due", "verdict", "proof", "noise", "status"), tuple(rows))


def _gain_table(done: list[Gain]) -> Table:
    rows = []
    for each in done:
        start = (each.doing.case, each.doing.how)
        if each.predicted is None or each.error is None:
            rows.append((*start, "none", f"{each.measured:.2f}", "-", "-"))
            continue
        inside = ("yes" if each.inside else "no") + (" (noise)" if each.disturbed else "")
        gain, kind = each.predicted.gain, each.predicted.change.kind
        said = f"{'<= ' if kind == 'bound' else ''}{gain.value:.2f} ({gain.low:.2f}-{gain.high:.2f})"
        rows.append((*start, said, f"{each.measured:.2f}", f"{each.error:.2f}", inside))
    return Table(("case", "done", "predicted gain", "measured", "|ln|", "inside"), tuple(rows))


def _summary(done: list[Gain]) -> tuple[str, ...]:
    quiet = [each for each in done if not each.disturbed]
    errors = [each.error for each in quiet if each.error is not None]
    if not errors:
        return ()
    inside = sum(bool(each.inside) for each in quiet)
    return (
        f"{inside} of {len(errors)} undisturbed gains lie in the predicted interval (a bound: below its end); median |ln| "
        f"{statistics.median(errors):.2f}, largest {max(errors):.2f}.",
    )


def _figures(times: tuple[float, float], found: Mapping[str, Tried[Diagnosis]], done: list[Gain]) -> Json:
    return {
        "crossover": {"seconds_at_1": times[0], "seconds_at_512": times[1], "batch": gains.crossover(times)},
        "verdicts": {name: _verdict_figures(each) for name, each in found.items()},
        "gains": [_gain_figures(each) for each in done],
    }


def _verdict_figures(found: Tried[Diagnosis]) -> Json:
    verdict = found.value.verdicts["latency"]
    typical = found.value.measured.latency_s.get("typical")
    return {
        "status": found.status, "trials": found.trials, "foreign_cpu": found.noise.foreign, "steal": found.noise.steal,
        "cause": verdict.cause, "bound": verdict.bound, "proof": verdict.proof, "share": verdict.share,
        "also": list(verdict.also), "sentence": verdict.sentence, "typical_s": typical.value if typical else None,
        "present": [f.code for f in found.value.findings if f.status == "present"],
    }  # fmt: skip


def _gain_figures(gain: Gain) -> Json:
    prediction = gain.predicted
    return {
        "case": gain.doing.case, "remedy": gain.doing.remedy, "how": gain.doing.how, "measured": gain.measured,
        "predicted": None if prediction is None else [prediction.gain.value, prediction.gain.low, prediction.gain.high],
        "kind": None if prediction is None else prediction.change.kind, "ln_error": gain.error, "inside": gain.inside,
        "disturbed": gain.disturbed,
    }  # fmt: skip
