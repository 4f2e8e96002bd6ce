"""The rulings where two causes could hold: from signals or synthetic runs, through all detectors, to the verdicts.

Each ruling of the list of causes has its test here, in the list's order; what a ruling says of a single detector is in that
detector's truth table.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from healthy import signals_with
from test_situations import MATMULS, ONE_THREAD

from pinchpoint import limits
from pinchpoint.contracts import Tables
from pinchpoint.detectors import BUILTIN
from pinchpoint.diagnose import diagnose
from pinchpoint.domain.run import NETWORK
from pinchpoint.domain.words import CAUSE_HEADLINE
from pinchpoint.inquire import inquire
from pinchpoint.plugins import builtin
from pinchpoint.verdict import latency_verdict
from synthetic import Script, marked, run_of
from test_demands import CASES, closed, recorded, visits
from test_verdict import gain, ledger, row

LIMITS = limits.shipped()


def ruled(account, changes, gains=()):
    """The verdict on a latency from signals; `gains` are what the first remedy of a cause is predicted to give."""
    signals = signals_with(**changes)
    findings = diagnose(signals, account, BUILTIN, LIMITS)
    remedies = {f.code: f.remedies[0] for f in findings}
    predictions = [
        replace(p, change=replace(p.change, remedy=remedies[p.change.finding]))
        for p in (gain(code, value) for code, value in dict(gains).items())
    ]
    return latency_verdict(Tables(None, {"latency": account}), findings, predictions, signals, LIMITS)


def under_load(steps, ladder):
    """The verdicts on a run of these steps and this ladder."""
    run = replace(run_of(Script(steps)), ladder=ladder, ladder_ended="complete")
    return inquire(run, builtin(), LIMITS).verdicts


def test_c102_or_w101():
    """Latency names the work; capacity the interpreter's lock when it fills before the cores, with the work in `also`."""
    found = inquire(recorded(CASES["GIL"][0]), builtin(), LIMITS).verdicts
    assert found["latency"].cause == "C102"
    assert (found["capacity"].cause, found["capacity"].also) == ("W101", ("C102",))


ARITHMETIC = ledger(row("model", "cpu", 0.97))
STREAMING = ledger(row("model", "memory", 0.70), row("model", "cpu", 0.25))


@pytest.mark.parametrize(
    ("account", "changes", "gains", "cause", "also"),
    [
        (ARITHMETIC, ONE_THREAD | {"scaling_thread_gain": 1.9}, {"C107": 1.9, "C101": 3.5}, "C107", "C101"),
        (STREAMING, MATMULS | ONE_THREAD | {"scaling_thread_gain": 1.6}, {"C107": 1.6, "M101": 3.5}, "C107", "M101"),
        (ARITHMETIC, {"scaling_thread_gain": 1.0}, {"C101": 3.5}, "C101", None),  # no CPU is idle
        (STREAMING, MATMULS, {"M101": 3.5}, "M101", None),
    ],
    ids=["C107 and C101", "C107 and M101", "C101 alone", "M101 alone"],
)
def test_c107_leads_and_the_limit_goes_into_also(account, changes, gains, cause, also):
    found = ruled(account, changes, gains)
    assert found.cause == cause
    assert found.also == (() if also is None else (also,))


@pytest.mark.parametrize(
    ("case", "cause"),
    [
        ("GIL", "W101"),
        ("a pool", "W102"),
        ("event loop", "W105"),
        ("Python in the loop", "W101"),  # a thread beside the loop would wait for the interpreter: only a process helps
    ],
)
def test_w101_or_w102_or_w105(case, cause):
    """What would gain something tells them apart: a process, a worker, a thread beside the loop."""
    found = inquire(recorded(CASES[case][0]), builtin(), LIMITS).verdicts
    assert found["capacity"].cause == cause


def test_a_loop_that_others_need_not_wait_for_is_not_blocked():
    """GIVEN a loop that computes a fifth of the time, and is waited with for the rest THEN it is not what is full."""
    ladder = visits(closed(0.01), cpu=0.002, held=0.002, soft=("loop", "", 1.0))
    assert under_load([marked("preprocess", 10_000, cpu=2000, site=NETWORK)], ladder)["capacity"].cause is None


CALLING = [marked("preprocess", 10_000, cpu=100, site=NETWORK)]


@pytest.mark.parametrize(("soft", "cause"), [(("lock", "app.py:3", 1.0), "W104"), (("pool", "app.py:4", 1.0), "W102")])
def test_a_call_under_a_lock_or_by_one_worker(soft, cause):
    """Latency names the call (I105); capacity the lock, or the worker, that stands still meanwhile."""
    found = under_load(CALLING, visits(closed(0.01), cpu=0.0001, held=0.01, soft=soft))
    assert (found["latency"].cause, found["latency"].bound) == ("I105", "io")
    assert (found["capacity"].cause, found["capacity"].bound) == (cause, "wait")


UNOPTIMISED = {"model_optimization_off": 1.0, "model_removable_share": 0.4, "model_arithmetic_efficiency": 0.5}
SLOW = {"model_excess_share": 0.7, "model_excess_ratio": 9.0, "model_arithmetic_efficiency": 0.12}


@pytest.mark.parametrize(
    ("changes", "gains", "cause"),
    [
        (UNOPTIMISED, {"C112": 1.7, "C101": 3.5}, "C112"),
        (UNOPTIMISED | SLOW, {"C112": 1.7, "C114": 2.5}, "C112"),  # the excess may go with optimisation
        (UNOPTIMISED | {"model_removable_share": 0.001}, {"C101": 3.5}, "C101"),  # off, and nothing would gain
        (SLOW, {"C114": 2.5}, "C114"),
        ({}, {"C101": 3.5}, "C101"),
    ],
    ids=[
        "optimisation gains",
        "optimisation before the operator",
        "optimisation is no gain",
        "one operator",
        "neither",
    ],
)
def test_c101_or_c112_or_c114(changes, gains, cause):
    assert ruled(ARITHMETIC, changes, gains).cause == cause


def test_c102_or_c104():
    """A codec called while preprocessing is a stage of its own, and wins where it holds more."""
    steps = [marked("preprocess", 1000, cpu=1000), marked("json.loads", 3000, cpu=3000)]
    found = inquire(run_of(Script(steps)), builtin(), LIMITS).verdicts["latency"]
    assert (found.cause, found.where) == ("C104", "deserialize")


THROTTLED = {"request_starved_share": 0.6, "request_throttled_share": 0.6, "cgroup_throttled_periods_share": 0.98}
CROWDED = {"threads_runnable_per_cpu": 4.0, "threads_pool_per_cpu": 4.0, "threads_starved_cores": 3.0}


@pytest.mark.parametrize(
    ("changes", "cause", "also"),
    [
        (THROTTLED | CROWDED, "C108", "C106"),
        (THROTTLED | {"threads_runnable_per_cpu": 1.0, "threads_pool_per_cpu": 1.0}, "C108", None),
        (CROWDED | {"request_starved_share": 0.6}, "C106", None),  # no quota, no throttled period
    ],
    ids=["threads exceed the quota", "a quota", "threads"],
)
def test_c106_or_c108(changes, cause, also):
    account = ledger(row("model", "starved", 0.60), row("model", "cpu", 0.38))
    found = ruled(account, changes, {"C106": 6.0, "C108": 2.5})
    assert found.cause == cause
    assert ("C106" in found.also) == (also == "C106")


def test_fitting_threads_is_the_first_remedy_under_a_quota():
    (quota,) = [each for each in BUILTIN if each.code == "C108"]
    assert quota.remedies[0] == "fit-threads-to-quota"


def test_healthy_is_not_a_code():
    """A model at its ceiling has a limit as its answer, with little headroom."""
    found = ruled(ARITHMETIC, {"model_arithmetic_efficiency": 0.97})
    assert (found.cause, found.kind) == ("C101", "limit")
    assert found.headroom == pytest.approx(0.03)
    assert all(code[1:].isdigit() for code in CAUSE_HEADLINE)


GROWING = {"memory_growth_bytes": 20e3, "memory_growth_persistence": 1.0, "memory_hours_to_limit": 0.5}
SPINNING = {"idle_cpu_share": 0.9, "idle_spinning_pools": 1.0}


@pytest.mark.parametrize(
    ("changes", "code"),
    [(GROWING, "M105"), (SPINNING, "C110"), ({"cpu_slowdown_share": 0.3}, "C117")],
    ids=["M105", "C110", "C117"],
)
def test_findings_beside_a_request_do_not_lead(changes, code):
    """Found and named beside the answer, which is what holds the largest cell."""
    found = ruled(ARITHMETIC, changes)
    assert found.cause == "C101"
    assert code in found.also


def test_i102_answers_startup_and_nothing_else():
    changes = {"startup_seconds": 0.41, "startup_reading_s": 0.33, "startup_reading_share": 0.8}
    found = ruled(ARITHMETIC, changes)
    assert found.cause == "C101"
    assert "I102" not in found.also
