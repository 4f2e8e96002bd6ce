"""The screen: structure and numbers, not prose."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import factories as f
from pinchpoint.domain.quantity import exact
from pinchpoint.domain.words import CAUSE_ADVICE, CAUSE_HEADLINE, CAUSE_NOUN, CAUSE_WHY
from pinchpoint.reporters.layout import columns
from pinchpoint.reporters.machine import render_machine
from pinchpoint.reporters.terminal import render, render_coloured

ESCAPE = "\x1b[31m\x1b]0;owned\x07\x9b1m\u202e"


def lines_of(diagnosis):
    return render(diagnosis).split("\n")


def line_with(diagnosis, start):
    return next(each for each in lines_of(diagnosis) if each.startswith(start))


@pytest.mark.parametrize(("changes", "code"), [
    ({}, "M101"),
    ({"verdicts": {"latency": f.verdict(None, bound="cpu"), "capacity": f.verdict("W104")}}, "W104"),
    ({"verdicts": {"latency": f.verdict(None, bound="unknown")}, "predictions": (f.prediction("less", 2e-2, 1e-2, 1.1e-2),)}, "M101"),
    ({"verdicts": {"latency": f.verdict(None, bound="cpu")}, "predictions": ()}, None),  # found, and nowhere on the screen
])  # fmt: skip
def test_what_to_read_on_is_about_a_cause_that_the_screen_speaks_of(changes, code):
    read = [each for each in lines_of(f.memory_bound(**changes)) if each.startswith("Why?")]
    assert read == ([] if code is None else [f"Why?  pinchpoint explain {code}"])


def scaled(latency):
    """A diagnosis whose requests take `latency` seconds."""
    return f.memory_bound(
        measured=f.measured(latency, latency * 1.1),
        ledger=f.rows(latency, ("model", "", "cpu", 0.96, ""), ("model", "", "unexplained", 0.04, "")),
        predictions=(f.prediction("half the work", latency, latency * 0.45, latency * 0.55),),
    )


def hostile():
    """Every text that a target controls, as bad as it gets."""
    bad = ESCAPE + "名" * 50 + "x" * 400
    return f.preprocessing_heavy(
        target=f.target(uri=bad, input_text=bad, settings=((bad, bad),), interpreter=bad, kind="python", sessions=()),
        reasons=(bad,) * 9, valid=True,
        ledger=(f.row("cpu", 0.01, 0.5, stage="preprocess", label=bad), f.row("wait", 0.01, 0.5, label=bad, site=bad)),
        verdicts={"latency": f.verdict(None, bound="cpu", sentence=bad, also=(bad,))},
        findings=(f.finding(bad, "absent"), f.finding("C101", "unknown", missing=(bad,))),
        predictions=(f.prediction(bad, 0.02, 0.01, 0.011, setting=((bad, bad),)),),
        measured=f.measured(0.02, None, reasons={"p99": bad}), experiments=(bad,), unobservable=(bad,),
    )  # fmt: skip


DIAGNOSES = {
    "memory": f.memory_bound(),
    "pipeline": f.preprocessing_heavy(),
    "invalid": f.invalid(),
    "hostile": hostile(),
    "hostile and invalid": replace(hostile(), valid=False),
    "empty": f.memory_bound(ledger=(), predictions=(), findings=(), verdicts={}, unobservable=()),
    "nothing measured": f.memory_bound(
        measured=f.measured(None, None, n=0, reasons={"p50": "no answer came"}), ledger=(), verdicts={}, valid=False
    ),
    "microseconds": scaled(3e-6),
    "minutes": scaled(90.0),
    "nanoseconds": scaled(2e-9),
    "negative unexplained": f.memory_bound(
        ledger=f.rows(0.0133, ("model", "", "cpu", 1.3, ""), ("model", "", "unexplained", -0.3, ""))
    ),
    "unknown": f.memory_bound(verdicts={"latency": f.verdict(None, bound="unknown", proof=None, sentence="")}),
    "exact": f.memory_bound(
        measured=f.measured(plus_minus=0.0), ledger=(replace(f.row("cpu", 0.0133, 1.0), seconds=exact(0.0133)),)
    ),
    "no session": f.memory_bound(target=f.target(sessions=(), parameters=None, flops_per_request=None, operators=None)),
    **{code: f.memory_bound(verdicts={"latency": f.verdict(code)}, predictions=()) for code in CAUSE_HEADLINE},
}  # fmt: skip


@pytest.mark.parametrize("name", DIAGNOSES)
def test_every_line_fits_and_nothing_steers_the_terminal(name):
    for each in lines_of(DIAGNOSES[name]):
        assert columns(each) <= 80, each
        assert each.isprintable(), repr(each)
        assert each == each.rstrip()


@pytest.mark.parametrize("name", DIAGNOSES)
def test_colour_changes_no_text(name):
    coloured = render_coloured(DIAGNOSES[name])
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(DIAGNOSES[name])
    assert "\x1b[" in coloured


@pytest.mark.parametrize("code", CAUSE_HEADLINE)
def test_headlines_leave_room_for_the_level_of_proof(code):
    words = CAUSE_HEADLINE[code]
    assert words[0].isupper()
    assert len(words) + len("  ") + len("  HYPOTHESIS") <= 78
    assert code in CAUSE_NOUN
    assert code in CAUSE_WHY
    assert code in CAUSE_ADVICE
    assert code not in words


def test_the_first_screen_has_the_figures():
    screen = render(f.memory_bound())
    for figure in (
        "67.1 M parameters (268 MB)", "4 operators", "134 MFLOP", "1 thread", "onnxruntime 1.32",
        "13.3 ms typical (13.1-13.5, n=1,480)", "p99 14.2 (13.8-14.6)", "73 % (68-78)", "95 %", "13.3 -> 5.7-6.6 ms",
        "pinchpoint explain M101",
    ):  # fmt: skip
        assert figure in screen


def test_the_level_of_proof_ends_where_the_table_does():
    headline = line_with(f.memory_bound(), "  MEMORY")
    assert headline.endswith("  SUPPORTED")
    assert len(headline) == 78


def test_a_long_sentence_wraps_beside_the_level_of_proof():
    said = "A LONG SENTENCE that goes on for quite a while and then some more until it does not fit on one line."
    lines = lines_of(f.memory_bound(verdicts={"latency": f.verdict(sentence=said)}))
    start = next(i for i, each in enumerate(lines) if "A LONG" in each)
    assert lines[start].endswith("SUPPORTED")
    assert lines[start + 1].strip()
    assert "one line." in lines[start + 1]


def test_a_missing_percentile_says_why():
    assert "459 are" in render(f.preprocessing_heavy())
    assert "no p99" in render(f.preprocessing_heavy())


def test_latency_is_what_the_ledger_adds_up_to():
    both = f.measured(0.0133)
    latency = {**both.latency_s, "typical": f.quantity(0.0131, 0.01, 700)}
    assert "13.1 ms typical (13.0-13.2, n=700)" in render(f.memory_bound(measured=replace(both, latency_s=latency)))


def test_failed_requests_are_counted():
    diagnosis = f.memory_bound(measured=f.measured(n=1468, failed=12))
    assert "12 of 1,480 requests failed" in " ".join(render(diagnosis).split())


def test_an_invalid_run_gives_reasons_and_no_verdict():
    lines = lines_of(replace(f.memory_bound(), valid=False, reasons=("the first reason", "the second")))
    text = "\n".join(lines)
    first, second = (next(i for i, each in enumerate(lines) if reason in each) for reason in ("first", "second"))
    assert first < second < next(i for i, each in enumerate(lines) if each.startswith("LATENCY"))
    for absent in ("MEMORY SPEED", "SUPPORTED", "->", "Ruled out"):
        assert absent not in text


@pytest.mark.parametrize("sentence", ["", "too little was seen", "TOO MUCH IS UNEXPLAINED (+31% of the time)."])
def test_an_undecided_run_is_shown_as_such(sentence):
    undecided = f.verdict(None, bound="unknown", proof=None, kind=None, sentence=sentence, also=("C101", "M101"))
    screen = render(f.memory_bound(verdicts={"latency": undecided}, reasons=("why it is so",)))
    assert "INCONCLUSIVE" in screen or sentence in screen
    assert screen.index("why it is so") < screen.index("LATENCY")
    assert "Also found" not in screen


def test_the_table_leads_with_what_can_be_done_about_the_cause():
    lines = lines_of(f.preprocessing_heavy())
    table = [each for each in lines if re.match(r" \d ", each)]
    assert [each.split()[-1] for each in table] == ["forecast", "bound", "bound"]
    assert "faster resize" in table[0]
    assert "24.1 -> 12.8-16.3 ms" in table[0]
    assert "faster model" in table[2]


def test_pointless_changes_are_named_as_such():
    diagnosis = f.memory_bound()
    listed = line_with(diagnosis, "Will not help")
    assert "more arithmetic speed" in listed
    assert "fewer operators" in listed
    assert not any(each.startswith(" 3") for each in lines_of(diagnosis))


def test_a_batch_is_said_to_serve_all():
    diagnosis = f.memory_bound(predictions=(f.prediction("8 at once", 0.0133, 0.020, 0.024, per_request=8.0),))
    assert "13.3 -> 20.0-24.0 ms for all 8" not in render(diagnosis)  # its gain of 0.6 a request is below what helps
    better = replace(diagnosis.predictions[0], gain=f.quantity(4.8))
    assert "13.3 -> 20.0-24.0 ms for all 8" in render(replace(diagnosis, predictions=(better,)))


@pytest.mark.parametrize(("kind", "words"), [
    ("onnx", "run the same command with --set resize=fast"),
    ("python", "set resize=fast where your code opens the session"),  # --set is refused for code
])  # fmt: skip
def test_a_setting_is_offered_to_try(kind, words):
    found = f.preprocessing_heavy()
    assert words in line_with(replace(found, target=replace(found.target, kind=kind)), "Try 1")


@pytest.mark.parametrize(("count", "noted"), [(3, False), (500, True)])
def test_a_model_that_is_opened_in_each_request_is_noted(count, noted):
    found = f.memory_bound()
    text = render(replace(found, target=replace(found.target, sessions=found.target.sessions * count)))
    assert f"{count} sessions" in text
    assert ("Open one at the start and keep it" in " ".join(text.split())) == noted


def test_without_forecast_there_is_advice():
    assert CAUSE_ADVICE["M101"].split(",")[0] in line_with(f.memory_bound(predictions=()), "WHAT TO DO")


def test_look_alikes_are_ruled_out_by_figures_and_come_first():
    ruled_out = line_with(f.memory_bound(), "Ruled out")
    assert ruled_out.index(CAUSE_NOUN["C101"]) < ruled_out.index(CAUSE_NOUN["C105"])
    assert "(10 %)" in ruled_out
    assert CAUSE_NOUN["C109"] in line_with(f.memory_bound(), "Not ruled out")


def test_other_questions_appear_when_they_are_answered():
    assert "CAPACITY" not in render(f.memory_bound())
    both = {"latency": f.verdict(), "capacity": f.verdict("C101", sentence="150/s at 2 in flight.")}
    assert line_with(f.memory_bound(verdicts=both), "CAPACITY").startswith("CAPACITY  150/s")


def test_what_is_not_seen_is_said():
    assert "virtual machine without a PMU" in line_with(f.memory_bound(), "Could not see")
    assert "cpufreq" in " ".join(lines_of(f.memory_bound(unobservable=()))).replace("  ", " ")


def test_the_machine_fits_and_has_its_figures():
    text = render_machine(f.environment())
    assert "21.0 GB/s (20.6-21.4)" in text
    assert "41.0 GFLOP/s (40.6-41.4)" in text
    bad = f.environment(
        cpu_model=ESCAPE + "c" * 300, quota_cpus=0.25, memory_limit_bytes=None, ceilings=(), kernel=ESCAPE,
        unobservable=((ESCAPE + "w" * 200, "y" * 300),),
    )  # fmt: skip
    for each in [
        *text.split("\n"),
        *render_machine(bad).split("\n"),
        *render_machine(f.environment(unobservable=())).split("\n"),
    ]:
        assert columns(each) <= 80
        assert each.isprintable()
