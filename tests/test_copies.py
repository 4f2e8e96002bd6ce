"""What requests copy: cells of their own, whose it is, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pinchpoint import copies
from pinchpoint.domain.aside import Asides, Copying, Watched
from pinchpoint.domain.quantity import exact
from pinchpoint.domain.run import WRAPPED, Ceiling
from pinchpoint.inquire import inquire
from pinchpoint.ledger import latency_ledger
from pinchpoint.limits import shipped
from pinchpoint.plugins import builtin
from pinchpoint.reporters.copies import copied
from synthetic import Script, marked, run_of

MB = 1_000_000
PREPARE, MODEL = (("preprocess", 0),), (("model", 0),)
FAULT = Ceiling("fault_s", exact(1e-6, 9), "s", "kernel", 1)


def copying(seconds, *stages, function="numpy.array", line=1, size=20 * MB, faults=0):
    """One copy in the given stages."""
    return Copying(function, "/home/me/app.py", line, 1, size, seconds, faults, max(size, 0), stages)


def run_with(*entries, watched=4, faults=0, steps=None, **changes):
    """A run of 10 ms requests, 8 of preprocessing and 2 of a model, whose watched requests hold these entries."""
    steps = steps or [marked("preprocess", 8000, cpu=8000), marked("model", 2000, cpu=2000)]
    run = run_of(Script(steps, faults=faults, ceilings=(FAULT,)))
    return replace(run, aside=Asides(copies=(Watched(20 * MB, entries),) * watched), **changes)


def shares(run):
    """Shares by stage, state and site."""
    return {(r.stage, r.state, r.site): round(r.share, 3) for r in latency_ledger(run).rows if abs(r.share) > 0.001}


def finding(run):
    """The status of M106, and the verdict on latency."""
    found = inquire(run, builtin(), shipped())
    return {f.code: f.status for f in found.findings}["M106"], found.verdicts["latency"]


def test_copies_are_a_cell_of_their_stage():
    assert shares(run_with(copying(0.006, *PREPARE))) == {
        ("preprocess", "memory", "copy"): 0.6,
        ("preprocess", "cpu", ""): 0.2,
        ("model", "cpu", ""): 0.2,
    }


def test_page_faults_of_a_copy_are_the_copys():
    steps = [("", 0, 8000, 8000, 0, 0), marked("model", 2000, cpu=2000)]
    run = run_with(copying(0.006, faults=2000), steps=steps, faults=3000)
    run = replace(run, probes=replace(run.probes, system_ns=run.probes.cpu_ns))
    found, before = shares(run), shares(replace(run, aside=Asides()))
    assert found["framework", "memory", "copy"] == 0.6
    faulting = [sum(v for (_, _, site), v in each.items() if site == "fault") for each in (before, found)]
    assert faulting == pytest.approx([0.3, 0.1], abs=0.01)
    assert sum(found.values()) == pytest.approx(sum(before.values()), abs=0.01)


def test_page_faults_of_a_copy_are_its_own_whatever_they_are_taken_to_cost():
    steps = [("", 0, 8000, 8000, 0, 0), marked("model", 2000, cpu=2000)]
    run = run_with(copying(0.006, faults=7000), steps=steps, faults=7000)  # 7 ms of faults in copies of 6 ms
    found = shares(replace(run, probes=replace(run.probes, system_ns=run.probes.cpu_ns)))
    assert found["framework", "memory", "copy"] == 0.6
    assert ("framework", "memory", "fault") not in found
    assert found["framework", "cpu", ""] == pytest.approx(0.2, abs=0.01)


def test_there_is_no_more_copying_than_time_on_the_cpu():
    found = shares(run_with(copying(0.02, *PREPARE)))
    assert found["preprocess", "memory", "copy"] == 0.8
    assert ("preprocess", "cpu", "") not in found


@pytest.mark.parametrize("stages", [
    (*PREPARE, ("deserialize:json.loads", WRAPPED)),
    (("model:session 0", WRAPPED),),
    (("preprocess:PIL.Image.Image.resize", WRAPPED),),
])  # fmt: skip
def test_what_a_library_copies_inside_is_its_own(stages):
    run = run_with(copying(0.006, *stages))
    assert copies.by_owner(run) == {}
    assert copies.summary(run) is None
    assert finding(run)[0] == "absent"


@pytest.mark.parametrize(("order", "stage"), [
    (["copy", "model"], "preprocess"), (["model", "copy"], "postprocess"), (["copy"], "framework"),
])  # fmt: skip
def test_a_copy_outside_of_all_stages_is_placed_around_the_model(order, stage):
    entries = {"copy": copying(0.006), "model": copying(0.0, ("model:session 0", WRAPPED), function="")}
    steps = [("", 0, 5000, 5000, 0, 0), ("model:session 0", WRAPPED, 1000, 1000, 0, 0), ("", 0, 5000, 5000, 0, 0)]
    run = run_with(*(entries[name] for name in order), steps=steps)
    assert [owner.stage for owner in copies.by_owner(run)] == [stage]


@pytest.mark.parametrize(("seconds", "status", "cause"), [
    (0.006, "present", "M106"), (0.0005, "absent", "C102"), (0.0, "absent", "C102"),
])  # fmt: skip
def test_the_largest_cell_names_the_cause(seconds, status, cause):
    found, verdict = finding(run_with(copying(seconds, *PREPARE)))
    assert (found, verdict.cause, verdict.where) == (status, cause, "preprocess")
    assert verdict.bound == ("memory" if cause == "M106" else "cpu")


def test_without_copies_the_rest_remains():
    _, verdict = finding(run_with(copying(0.006, *PREPARE)))
    assert verdict.proof == "supported"
    assert verdict.gain.value == pytest.approx(2.5, rel=0.02)
    assert verdict.gain.kind == "bound"


def test_where_and_how_often():
    entries = [copying(0.002, *PREPARE, line=3), copying(0.004, *PREPARE, line=7, size=40 * MB)]
    found = copies.summary(run_with(*entries, copying(0.001, *PREPARE, function="bytes.join", size=-1)))
    assert [(site.line, site.stage, site.size_bytes) for site in found.sites] == [
        (7, "preprocess", 40 * MB), (3, "preprocess", 20 * MB), (1, "preprocess", None),
    ]  # fmt: skip
    assert found.seconds.value == pytest.approx(0.007)
    assert found.size_bytes.value == 60 * MB
    assert found.payloads.value == pytest.approx(1.5)


def test_the_lines_are_named_in_words():
    run = run_with(copying(0.006, *PREPARE, line=7), copying(0.001, *PREPARE, function="bytes.join", size=-1))
    found = inquire(run, builtin(), shipped())
    words = "Copied: 20.0 MB, 1.0 times the largest buffer: numpy.array at app.py:7 (20.0 MB, 6.00 ms), bytes.join at app.py:1 (1.00 ms)."
    assert copied(found, "M106") == words
    assert copied(found, "C102") == ""


def test_a_run_without_the_arm_says_so_and_has_no_such_cell():
    older = run_with(watched=0)
    assert finding(older)[0] == "unknown"
    assert finding(older)[1].cause == "C102"
    assert copies.missing(older) == "copies were not timed in this run"
    late = replace(older, aside=Asides(missing=(("copies", "too little time was left"),)))
    assert copies.missing(late) == "too little time was left"
    assert not any(site == "copy" for _, _, site in shares(older))


def test_a_model_file_has_no_code_that_copies():
    run = run_with(watched=0)
    assert finding(replace(run, target=replace(run.target, kind="onnx")))[0] == "absent"
