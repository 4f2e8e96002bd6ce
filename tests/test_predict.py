"""Predictions are arithmetic on the ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pinchpoint.contracts import Tables
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.ledger import Ledger, Row
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.predict import AWAKE_SHARE, matches, predict
from pinchpoint.remedies.fewer_threads import FEWER_THREADS, FIT_THREADS
from served_runs import a_service
from synthetic import Script, marked, run_of


def _row(state, seconds, stage="model", operator=None, site="", source="clock", half=0.0):
    q = Quantity(seconds, seconds - half, seconds + half, 100)
    return Row("latency", 1, "typical", stage, operator, state, source, q, 0.0, 0.0, "", site)


LEDGER = Ledger(
    "latency", "typical", exact(0.010, 100),
    (_row("cpu", 0.004, "preprocess", half=0.0004), _row("memory", 0.005, operator="a"), _row("unexplained", 0.001)),
)  # fmt: skip


def _change(*edits, per_request=1.0):
    return Change("remedy", "C102", "words", "bound", edits, per_request=per_request)


def test_a_removed_cell_is_gained():
    found = predict(LEDGER, _change(Edit(exact(0.0), stage="preprocess")))
    assert found.after.value == pytest.approx(0.006)
    assert found.gain.value == pytest.approx(10 / 6)
    half = (0.0004**2 + 0) ** 0.5  # the noise of the cell that goes, which is better known than what is unexplained
    assert (found.gain.low, found.gain.high) == pytest.approx((10 / (6 + half * 1e3), 10 / (6 - half * 1e3)))


SLEEPING = Ledger(
    "latency", "typical", exact(0.020, 100),
    (_row("wait", 0.018, site="timer"), _row("cpu", 0.0018), _row("network", 0.0002, site="wire")),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "colder_s", "value", "low"), [
    ("estimate", 0.0, 0.002, 0.002),
    ("estimate", 0.001, 0.002, 0.0011),  # what is left may have taken so much longer for having slept 18 ms, of 20
    ("bound", 0.001, 0.0011, 0.0011),
    ("bound", 0.005, 0.002 * AWAKE_SHARE, 0.002 * AWAKE_SHARE),  # and no more than was ever seen
])  # fmt: skip
def test_without_a_wait_the_rest_may_take_less(kind, colder_s, value, low):
    change = replace(_change(Edit(exact(0.0), site="timer")), kind=kind)
    after = predict(SLEEPING, change, colder_s).after
    assert (after.value, after.low, after.high) == pytest.approx((value, low, 0.002))


def test_where_little_goes_the_rest_stays():
    after = predict(SLEEPING, _change(Edit(exact(0.5), state="cpu")), 0.001).after
    assert after.low == after.value == pytest.approx(0.020 - 0.0009, rel=0.01)


def test_what_is_unexplained_is_never_predicted_away():
    assert predict(LEDGER, _change(Edit(exact(0.0)))).after.value == pytest.approx(0.001)


def test_a_request_never_falls_below_the_floors_that_an_edit_names():
    cells = (_row("memory", 0.012, operator="a"), _row("unexplained", -0.002))
    found = predict(
        Ledger("latency", "typical", exact(0.010, 100), cells),
        _change(Edit(Quantity(0.05, 0.04, 0.1, 9), operator="a", anchored=True)),
    )
    assert found.after.low == pytest.approx(0.012 * 0.04)
    assert found.gain.high == pytest.approx(10 / 0.48)


def test_a_factors_interval_is_the_gains():
    found = predict(LEDGER, _change(Edit(Quantity(0.25, 0.2, 0.5, 1), state="memory")))
    assert found.after.value == pytest.approx(0.010 - 0.00375)
    assert found.after.low == pytest.approx(0.010 - 0.004)
    assert found.after.high == pytest.approx(0.010 - 0.0025)


def test_a_batch_is_counted_by_item():
    found = predict(LEDGER, _change(Edit(exact(8.0), stage="preprocess"), per_request=8.0))
    assert found.after.value == pytest.approx(0.010 + 7 * 0.004)
    assert found.gain.value == pytest.approx(8 * 0.010 / 0.038)


def test_the_first_matching_edit_counts():
    found = predict(LEDGER, _change(Edit(exact(0.5), operator="a"), Edit(exact(0.0), state="memory")))
    assert found.after.value == pytest.approx(0.0075)


@pytest.mark.parametrize(
    ("edit", "hit"),
    [
        (Edit(exact(0.0)), True),
        (Edit(exact(0.0), site="sync"), False),
        (Edit(exact(0.0), stage="model", state="memory"), True),
    ],
)
def test_matches(edit, hit):
    assert matches(_row("memory", 1.0), edit) is hit


@pytest.mark.parametrize(("quota", "words"), [(2.5, ["2 threads"]), (1.0, ["1 thread"]), (0.4, [])])
def test_no_number_of_threads_fits_a_quota_below_one_cpu(quota, words):
    run = run_of(Script([marked("model", 1000, cpu=1000)], requests=40))
    finding = Finding("C108", "present", "model", (), (), (FIT_THREADS.name,), "cpu", "defect", (), ())
    tables = Tables(replace(run, environment=replace(run.environment, cpus=4, affinity=4, quota_cpus=quota)), {})
    assert [each.words for each in FIT_THREADS.propose(tables, finding)] == words


@pytest.mark.parametrize("served", [False, True])
def test_what_fewer_threads_gain_at_a_server_may_be_nothing(served):
    """GIVEN 8 of 10 ms in which threads wait for a CPU THEN all of it goes; of a server, whose threads may do work, all or none."""
    run = run_of(Script([marked("model", 1000, cpu=1000)], requests=40))
    run = replace(run, service=a_service() if served else None)
    ledger = Ledger("latency", "typical", exact(0.010, 100), (_row("starved", 0.008), _row("cpu", 0.002)))
    finding = Finding("C106", "present", "model", (), (), (FEWER_THREADS.name,), "cpu", "defect", (), ())
    (change,) = FEWER_THREADS.propose(Tables(run, {"latency": ledger}), finding)
    gain = predict(ledger, change).gain
    assert gain.value == pytest.approx(5)
    assert gain.low == pytest.approx(1 if served else 5)
