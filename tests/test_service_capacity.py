"""What stops a server from serving more, on ladders whose full resource is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinchpoint import api, limits, plugins
from pinchpoint.domain.run import FUTEX, RUNNING, Telemetry
from pinchpoint.domain.served import Served, ServerProcess
from pinchpoint.domain.service import HOLDING, SELECTOR, ServerThread, StackLook
from pinchpoint.inquire import inquire
from served_runs import LOOP, MOMENTS, PARKED, PID, SECOND, THIRD, THREADS, WORKER, Stack, alone, climbed

IN_PYTHON = ("own|app.py|6|spin",)


def asked(cpu_s, *visits, quota=None, stopped=0.0, held=0, done=None, at_rest=None, **changes):
    """The diagnosis of a ladder at which each visit of a second takes so much CPU time, and in each of which `done` are answered.
    `stopped` is the share of a quota's periods in which it ends early.
    """
    climbing = climbed((0, at_rest or {}), *visits, **changes)
    ladder = tuple(
        replace(each, cpu_s=cpu_s * min(each.load, 1), done=done if done and each.load else each.done)
        for each in climbing.ladder
    )
    best = max(each.load for each in ladder)
    looks = [StackLook(HOLDING, load, MOMENTS, 1) for load in (0, best)]
    stacks = (Stack(HOLDING, best, held, IN_PYTHON),) if held else ()
    run = alone([(RUNNING, 5.0)], cpu_s=5e-3 - 2e-3 * stopped, starved_s=2e-3 * stopped)
    periods = np.arange(len(run.telemetry.t_ns), dtype=float)
    throttling = [
        ("nr_periods", periods),
        ("nr_throttled", stopped * periods),
        ("throttled_s", 0.05 * stopped * periods),
    ]
    columns = (*run.telemetry.columns, *((f"cgroup.{name}", values) for name, values in throttling))
    run = replace(run, telemetry=Telemetry(run.telemetry.t_ns, columns))
    known = replace(climbing.service, looks=tuple(looks), stacks=stacks)
    run = replace(
        run, ladder=ladder, ladder_ended="complete", service=known, samples=climbing.samples,
        telemetry=run.telemetry if len(run.telemetry.t_ns) else Telemetry.nothing(),
        environment=replace(run.environment, quota_cpus=quota),
    )  # fmt: skip
    return inquire(run, plugins.builtin(), limits.shipped())


LOOPING = {LOOP: RUNNING}
THREE = dict.fromkeys((WORKER, SECOND, THIRD), RUNNING)
WAITING_FOR_THE_LOCK = {WORKER: RUNNING, SECOND: (FUTEX, 7), THIRD: (FUTEX, 7)}
WAITING_FOR_PYTHON = {LOOP: (FUTEX, -9), WORKER: RUNNING, SECOND: (FUTEX, -9), THIRD: (FUTEX, -9)}


@pytest.mark.parametrize(("cpu_s", "columns", "more", "cause", "bound"), [
    (1.0, LOOPING, {"held": MOMENTS}, "W105", "wait"),             # it computes in Python: the interpreter is as full
    (0.1, LOOPING, {}, "W105", "wait"),                            # it sleeps
    (1.0, WAITING_FOR_PYTHON, {"held": MOMENTS}, "W101", "wait"),  # threads that compute in Python, the loop waits as well
    (0.1, WAITING_FOR_THE_LOCK, {}, "W104", "wait"),
    (0.1, THREE, {}, "W102", "wait"),                              # three are busy, and never more
    (1.9, THREE, {}, None, "cpu"),
    (0.5, LOOPING, {"quota": 0.5}, "C108", "cpu"),                 # half a CPU is granted, of two
    (0.4, LOOPING, {"quota": 0.5, "stopped": 0.9}, "C108", "cpu"),  # by periods, which are not used up to the last
    (0.4, LOOPING, {"quota": 0.5}, "W105", "wait"),                # nobody is stopped
    (0.3, LOOPING, {"quota": 0.5, "stopped": 0.9}, "W105", "wait"),  # stopped now and then, and most of it is not used
    (0.5, {LOOP: PARKED}, {}, None, "unknown"),                    # nothing is full
])  # fmt: skip
def test_what_stops_a_server_from_serving_more(cpu_s, columns, more, cause, bound):
    found = asked(cpu_s, (1, columns), (8, columns), (8, columns), **more).verdicts["capacity"]
    assert (found.cause, found.bound) == (cause, bound), found.sentence


@pytest.mark.parametrize(("helper", "cause"), [(RUNNING, "W101"), (PARKED, None)])
def test_helpers_that_spin_fill_cpus_for_which_nobody_waits(helper, cause):
    """GIVEN CPUs that are full, and the interpreter, THEN it is the one if a runtime's helper runs while nothing is asked."""
    spins = {20: np.where(np.arange(100) < 5, helper, PARKED)}
    threads = (*THREADS, ServerThread(20, PID, "python", "work", python=False))
    visit = (8, {**WAITING_FOR_PYTHON, 20: RUNNING})
    found = asked(2.0, (1, {}), visit, visit, held=MOMENTS, at_rest=spins, threads=threads)
    assert found.verdicts["capacity"].cause == cause


def part(share):
    """A lock that is waited for in such a share of the moments."""
    waited = np.arange(100) < 100 * share
    return {WORKER: RUNNING, SECOND: np.where(waited, FUTEX, PARKED), THIRD: np.where(waited, FUTEX, PARKED)}


@pytest.mark.parametrize(("higher", "cause"), [(1.0, "W104"), (0.7, None)])
def test_what_is_full_with_more_in_line_is_full(higher, cause):
    """GIVEN two in flight, three times, with a lock that is not full, and eight, twice, where it is, that serve as many."""
    near, full = ({thread: (site, 7) for thread, site in part(share).items()} for share in (0.6, higher))
    visits = [(1, part(0.0)), *[(2, near)] * 3, *[(8, full)] * 2]
    verdict = asked(0.1, *visits, done=100).verdicts["capacity"]
    assert verdict.cause == cause, verdict.sentence


@pytest.mark.parametrize(("cpu_s", "status"), [(0.5, "unknown"), (1.99, "absent")])
def test_what_a_loop_lets_in_at_a_time_is_not_seen_from_outside(cpu_s, status):
    """GIVEN a loop with idle CPUs and nothing full THEN a semaphore of its own may be; not where the CPUs are busy."""
    found = asked(cpu_s, *((load, {LOOP: PARKED}) for load in (1, 8, 8)))
    assert {each.status for each in found.findings if each.code == "W102"} == {status}


TWO_LOOPS = (
    ServerThread(LOOP, PID, "", SELECTOR, python=True),
    ServerThread(SECOND, PID + 1, "", SELECTOR, python=True),
)
TWO_DOORS = Served(tuple(ServerProcess(each, 1, "uvicorn") for each in (PID, PID + 1)), cpus=2.0, doors=(PID, PID + 1))


@pytest.mark.parametrize(("cpu_s", "second", "cause", "gain"), [
    (0.1, np.arange(100) < 25, "W106", 2 / 1.25),  # a quarter of the time
    (0.1, np.zeros(100, dtype=bool), "W106", 2.0),
    (0.1, np.arange(100) < 90, "W105", None),
    (1.9, np.zeros(100, dtype=bool), None, None),  # there is no CPU for the other one
])  # fmt: skip
def test_one_process_full_and_another_idle(cpu_s, second, cause, gain):
    columns = {LOOP: RUNNING, SECOND: np.where(second, RUNNING, PARKED)}
    found = asked(cpu_s, (1, columns), (8, columns), (8, columns), threads=TWO_LOOPS, served=TWO_DOORS)
    verdict = found.verdicts["capacity"]
    assert verdict.cause == cause, verdict.sentence
    if gain is not None:
        assert verdict.where == "queue"
        assert verdict.gain.value == pytest.approx(gain, rel=0.01)
        assert f"process {PID}" in verdict.sentence.lower()


@pytest.mark.parametrize(("columns", "first"), [(LOOPING, "CAPACITY"), ({LOOP: PARKED}, "LATENCY")])
def test_a_capacity_whose_cause_is_known_is_said_first(columns, first):
    found = asked(0.5, (1, columns), (8, columns), (8, columns))
    screen = api.render(found).splitlines()
    assert next(line.split()[0] for line in screen if line.startswith(("CAPACITY", "LATENCY"))) == first
    assert any("EVENT LOOP IS BLOCKED" in line for line in screen[:8]) == (first == "CAPACITY")
    for form in ("markdown", "html", "json"):
        assert api.render(found, form)
