"""What follows from what was in use, as a truth table; and whole diagnoses of runs in which nothing was sent."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import served_runs as s
from end_to_end import status, verdict
from pinchpoint import limits, plugins, store
from pinchpoint.domain.observed import Observed, Part, Use
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import PARKED, RUNNING
from pinchpoint.domain.served import Served, ServerProcess
from pinchpoint.inquire import inquire
from pinchpoint.observed_verdict import unobserved, verdicts
from pinchpoint.reporters.json_document import document
from pinchpoint.reporters.layout import columns
from pinchpoint.reporters.terminal import render
from pinchpoint.tracks import tracks

SHIPPED = limits.shipped()
MACHINE = s.a_run(None).environment
LIMITED = replace(MACHINE, quota_cpus=1.0)
RESIZING = (Part("preprocess", "app.py:20 thumbnail()", Quantity(0.7, 0.65, 0.75, 400)),)


def use(resource, value, plus_minus=0.02):
    return Use(resource, 1.0, Quantity(value, value - plus_minus, value + plus_minus, 30))


def concluded(*uses, environment=MACHINE, cpu_time=RESIZING):
    run = s.watched({}, run={"environment": environment})
    found = Observed(60.0, 30, tuple(use(*each) for each in uses), cpu_time=cpu_time)
    return verdicts(run, found, (), SHIPPED)["capacity"]


@pytest.mark.parametrize(("uses", "bound", "cause", "where"), [
    ([("cpu", 0.30), ("loop", 0.97)], "wait", "W105", "preprocess"),
    ([("cpu", 0.30), ("loop", 0.97), ("gil", 0.99)], "wait", "W105", "preprocess"),  # whoever computes in a loop has the lock
    ([("cpu", 0.30), ("loop", 0.20), ("gil", 0.99)], "wait", "W101", "preprocess"),
    ([("cpu", 0.30), ("lock of the server", 0.95), ("pool of the server", 1.0)], "wait", "W104", "preprocess"),
    ([("cpu", 0.30), ("pool of the server", 1.0)], "wait", "W102", "queue"),
    ([("cpu", 0.98), ("loop", 0.99), ("gil", 0.99), ("pool of the server", 1.0)], "cpu", None, "preprocess"),
    ([("cpu", 0.30), ("loop of process 1", 0.10), ("loop of process 2", 0.97)], "wait", "W105", "preprocess"),
    ([("cpu", 0.50), ("gil", 0.99), ("process 1", 0.10), ("process 2", 0.97)], "wait", "W106", "queue"),
    ([("cpu", 0.20), ("process 1", 0.10), ("process 2", 0.40)], "unknown", None, None),
    ([("cpu", 0.30), ("loop", 0.60), ("gil", 0.60), ("pool of the server", 0.80)], "unknown", None, None),
    ([("cpu", 0.30), ("loop", 0.86)], "unknown", None, None),  # straddles the limit
    ([("cpu", 0.0)], "unknown", None, None),
    ([("cpu", 0.30), ("cpu with others", 0.98), ("loop", 0.97)], "cpu", None, "preprocess"),
    ([], "unknown", None, None),
])  # fmt: skip
def test_the_innermost_of_what_is_full_is_named(uses, bound, cause, where):
    found = concluded(*uses)
    assert (found.bound, found.cause, found.where) == (bound, cause, where)
    assert found.proof == (None if bound == "unknown" else "hypothesis")  # no throughput was seen to stop growing


@pytest.mark.parametrize(("environment", "cause"), [
    (MACHINE, None), (LIMITED, "C108"), (replace(MACHINE, quota_cpus=2.0), None),
])  # fmt: skip
def test_full_cpus_are_the_quotas_where_it_grants_fewer_than_there_are(environment, cause):
    assert concluded(("cpu", 0.98), environment=environment).cause == cause


@pytest.mark.parametrize(("uses", "words"), [
    ([("cpu", 0.98), ("cpu with others", 0.99)], "THE CPUS ARE FULL: this server has 98 % of them, most of it for preprocess (70 %, app.py:20 thumbnail())."),
    ([("cpu", 0.30), ("cpu with others", 0.99)], "THE CPUS ARE FULL with other programs: this server has 30 % of them"),
    ([("cpu", 0.30), ("loop", 0.40)], "NOTHING IS FULL at the load that there was; busiest: event loop, 40 %"),
    ([("cpu", 0.30), ("loop", 0.86)], "TOO CLOSE TO CALL"),
    ([], "NOTHING COULD BE WATCHED"),
])  # fmt: skip
def test_it_is_said_in_words_with_figures(uses, words):
    assert words in concluded(*uses).sentence


def test_what_takes_the_cpus_is_left_open_where_nothing_was_seen_inside():
    found = concluded(("cpu", 0.98), cpu_time=())
    assert (found.where, found.stages_from) == (None, "unseen")
    assert found.sentence == "THE CPUS ARE FULL: this server has 98 % of them."


def test_no_request_is_judged():
    found = verdicts(s.watched({}), Observed(60.0, 30, (use("loop", 0.97),)), (), SHIPPED)
    assert {question: found[question].bound for question in ("latency", "tail", "startup")} == dict.fromkeys(
        ("latency", "tail", "startup"), "unknown"
    )


def test_what_such_a_run_never_shows_is_said():
    assert [what for what, _ in unobserved(Observed(60.0, 30))] == ["requests", "workers", "locks"]
    known = Observed(60.0, 30, (use("pool of the server", 0.5), use("lock of the server", 0.5)))
    assert [what for what, _ in unobserved(known)] == ["requests"]


# --- whole diagnoses -----------------------------------------------------------------------------------------------
BUSY = s.watched(
    *[{s.LOOP: RUNNING, s.WORKER: RUNNING}] * 5,
    cpu_s=[2.0] * 5,
    **s.seen_executing(active=[(s.RESIZING, 400)], holding=490),
)
QUIET = s.watched(*[{s.LOOP: PARKED}] * 5, cpu_s=[0.01] * 5, **s.seen_executing())


def diagnosed(run):
    return inquire(run, plugins.builtin(), SHIPPED)


def test_a_full_loop_is_a_finding_with_its_evidence():
    found = json.loads(document(diagnosed(BUSY)))
    assert verdict(found, "capacity") == ("W105", "preprocess")
    assert (status(found, "W105"), status(found, "W101")) == ("present", "present")
    assert status(found, "W102") == status(found, "W104") == "unknown"  # neither workers nor locks could be told
    assert found["valid"]
    assert found["verdicts"]["latency"]["bound"] == "unknown"


def test_uneven_processes_are_a_finding():
    served = Served(tuple(ServerProcess(pid, 1, "uvicorn") for pid in (10, 11)))
    loops = (s.THREADS[0], replace(s.THREADS[0], thread=11, process=11))
    found = json.loads(
        document(diagnosed(s.watched(*[{s.LOOP: RUNNING, 11: PARKED}] * 5, threads=loops, served=served)))
    )
    assert verdict(found, "capacity") == ("W106", "queue")
    assert status(found, "W106") == "present"
    assert found["verdicts"]["capacity"]["sentence"].startswith(
        "Process 10 is busy all the time while process 11 is idle 100% of it"
    )


def test_an_idle_server_has_nothing_full():
    found = json.loads(document(diagnosed(QUIET)))
    assert verdict(found, "capacity") == (None, None)
    assert found["verdicts"]["capacity"]["sentence"].startswith("NOTHING IS FULL")
    assert (status(found, "W105"), status(found, "W101")) == ("absent", "unknown")  # nobody wants the interpreter
    assert not [each for each in found["findings"] if each["status"] == "present"]


def test_a_loop_is_not_ruled_out_where_no_stack_told_of_one():
    threads = tuple(replace(each, parked="", python=None) for each in s.THREADS)
    found = json.loads(document(diagnosed(s.watched(*[{s.LOOP: RUNNING}] * 5, threads=threads))))
    assert status(found, "W105") == "unknown"


def test_nothing_of_a_request_is_claimed():
    found = json.loads(document(diagnosed(BUSY)))
    assert (found["ledger"], found["demands"], found["predictions"], found["rungs"]) == ([], [], [], [])
    assert found["measured"]["latency_s"] == dict.fromkeys(("p50", "p90", "p99"))
    assert found["measured"]["throughput_per_s"] is None
    assert (found["service"]["loads"], found["service"]["request_bytes"], found["service"]["answer_bytes"]) == (
        [],
        None,
        None,
    )
    asked = {each["signal"]["name"] for f in found["findings"] for each in f["evidence"] if each["signal"]["quantity"]}
    assert not [name for name in asked if name.startswith(("request.", "tail.", "model.", "client."))]


def test_a_server_that_ended_meanwhile_does_not_count():
    found = diagnosed(replace(BUSY, ended="the process ended while it was watched"))
    assert not found.valid
    assert found.reasons == ("ended early: the process ended while it was watched",)
    assert "NOT VALID" in render(found)


@pytest.mark.parametrize("run", [BUSY, QUIET, s.watched({})], ids=["busy", "quiet", "unseen"])
def test_every_form_shows_it(run, tmp_path):
    store.save(run, tmp_path / "run")
    again = diagnosed(store.load(tmp_path / "run"))
    assert document(again) == document(diagnosed(run))
    for reporter in plugins.builtin().reporters:
        assert "NOTHING IS FULL" in (text := reporter.render(again)) or run is BUSY
        assert "W105" in text or run is not BUSY
    assert all(columns(each) <= 80 for each in render(again).splitlines())
    assert plugins.builtin().trace_reporters[0].render(tracks(run))


def test_text_of_a_server_cannot_steer_the_screen_or_the_page():
    bad = "\x1b[31m<script>alert(1)</script>|" + "x" * 200
    hostile = ("own|" + bad.replace("|", "_") + "|1|" + bad.replace("|", "_"),)
    run = s.watched({s.LOOP: RUNNING}, **s.seen_executing(active=[(hostile, 400)], blocked=[(hostile, 800)]))
    found = diagnosed(replace(run, target=replace(run.target, uri=bad)))
    for reporter in plugins.builtin().reporters:
        text = reporter.render(found)
        assert "<script>" not in text or reporter.name in ("terminal", "terminal-colour", "json")
        assert "\x1b[31m" not in text
    assert all(columns(each) <= 80 for each in render(found).splitlines())
