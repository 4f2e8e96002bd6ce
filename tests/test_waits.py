"""A time limit that runs out and programs that compute, told apart from locks and pipes by the target's own counters."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from pinchpoint.domain.aside import Asides, Mark
from pinchpoint.domain.run import FUTEX, IPC, TIMER
from pinchpoint.ledger import latency_ledger
from pinchpoint.waits import share_of_time
from synthetic import Script, marked, run_of

HALF_S = 500_000_000


def counted(run, **counters):
    """The run with marks each half second, whose counters rise by so many seconds a second."""
    marks = [
        Mark(i * HALF_S, i, 0, 1 << 20, 1e-3, **{name: i * 0.5 * rise for name, rise in counters.items()})
        for i in range(9)
    ]
    return replace(run, aside=replace(run.aside, stretches=tuple(pairwise(marks))))


def cells(run):
    """Shares of the ledger by state and site."""
    return {(row.state, row.site): row.share for row in latency_ledger(run).rows if row.state != "unexplained"}


IN_A_LOCK = Script([marked("preprocess", 5000, cpu=1000, site=FUTEX)])  # 80 % of the time
IN_A_PIPE = Script([marked("preprocess", 5000, cpu=1000, site=IPC)])


@pytest.mark.parametrize(("expired", "timer", "lock"), [
    (0.8, 0.8, 0.0),     # nobody ever comes
    (0.4, 0.4, 0.4),     # half of it
    (0.0, 0.0, 0.8),     # a lock, or a result that comes
    (0.001, 0.0, 0.8),   # a time limit that runs out now and then
    (-1.0, 0.0, 0.8),    # a run of an older version
])  # fmt: skip
def test_a_wait_that_its_time_limit_ends_is_a_timer(expired, timer, lock):
    found = cells(counted(run_of(IN_A_LOCK), expired_s=expired))
    assert found.get(("wait", "timer"), 0.0) == pytest.approx(timer, abs=0.05)
    assert found.get(("wait", "futex"), 0.0) == pytest.approx(lock, abs=0.05)


def test_while_another_thread_runs_a_time_limit_is_not_what_is_waited_for():
    """GIVEN a thread that computes in three quarters of the wait, which looks again and again whether it is done."""
    script = replace(IN_A_LOCK, worker=[("", 0, 1000, 4000)])
    found = cells(counted(run_of(script), expired_s=0.8))
    assert found[("cpu", "running")] == pytest.approx(0.6, abs=0.05)
    assert found.get(("wait", "timer"), 0.0) <= 0.2


@pytest.mark.parametrize(("script", "site"), [(IN_A_PIPE, "ipc"), (IN_A_LOCK, "futex")])
@pytest.mark.parametrize(("children", "computed"), [(0.8, 0.8), (1.6, 0.8), (0.4, 0.4), (0.0, 0.0), (0.001, 0.0)])
def test_what_programs_compute_is_no_wait(script, site, children, computed):
    found = cells(counted(run_of(script), children_s=children))
    assert found.get(("cpu", "programs"), 0.0) == pytest.approx(computed, abs=0.05)
    assert found.get(("wait", site), 0.0) == pytest.approx(0.8 - computed, abs=0.05)


def test_a_program_in_the_background_takes_nothing_from_a_sleep():
    script = Script([marked("preprocess", 5000, cpu=1000, site=TIMER)])
    found = cells(counted(run_of(script), children_s=1.0))
    assert found.get(("wait", "timer"), 0.0) == pytest.approx(0.8, abs=0.05)
    assert ("cpu", "programs") not in found


def test_both_have_intervals_and_add_up():
    found = latency_ledger(counted(run_of(IN_A_LOCK), expired_s=0.4, children_s=0.2))
    assert sum(row.seconds.value for row in found.rows) == pytest.approx(found.latency.value, rel=1e-6)
    assert all(row.seconds.low <= row.seconds.value <= row.seconds.high for row in found.rows)


def test_a_counter_that_was_not_read_is_not_zero():
    run = counted(run_of(IN_A_LOCK), children_s=0.2)
    assert share_of_time(run, "children_s").value == pytest.approx(0.2)
    assert share_of_time(run, "expired_s") is None
    assert share_of_time(replace(run, aside=Asides()), "children_s") is None
