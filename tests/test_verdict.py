"""From findings and predictions to a verdict: the rules, as truth tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pinchpoint import limits
from pinchpoint.contracts import Tables
from pinchpoint.domain.change import Change, Prediction
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.ledger import Ledger, Row
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.signal import Signal, Signals
from pinchpoint.verdict import cells, latency_verdict, unexplained_share

LIMITS = limits.shipped()


def row(stage, state, share, half=0.01, site="", source="clock"):
    """A cell of a request of one second."""
    return Row(
        "latency",
        1,
        "typical",
        stage,
        None,
        state,
        source,
        Quantity(share, share - half, share + half, 99),
        share,
        0.0,
        "",
        site,
    )


def ledger(*rows):
    """A ledger of one second; what the rows leave is unexplained."""
    left = 1 - sum(r.seconds.value for r in rows)
    return Ledger("latency", "typical", exact(1.0, 99), (*rows, row("framework", "unexplained", left)))


def finding(code, *named, status="present", kind="defect", bound="cpu", lookalikes=()):
    """A finding on the named cells, with one remedy of its own."""
    return Finding(code, status, "", (), (), (f"remedy-{code}",), bound, kind, named, tuple(lookalikes))


def gain(code, value, spread=0.05, kind="estimate"):
    """A prediction for the finding's remedy."""
    change = Change(f"remedy-{code}", code, "words", kind, ())
    return Prediction(
        change, exact(1.0), exact(1 / value), Quantity(value, value * (1 - spread), value * (1 + spread), 9)
    )


def concluded(account, findings, predictions=(), signals=()):
    """The verdict."""
    tables = Tables(None, {"latency": account})
    return latency_verdict(tables, findings, predictions, Signals({s.name: s for s in signals}), LIMITS)


MODEL = ("model", "cpu")
TWO = ledger(row("model", "cpu", 0.7), row("preprocess", "cpu", 0.28))


def test_the_largest_cell_decides():
    found = concluded(TWO, [finding("C102", ("preprocess", "cpu")), finding("C101", MODEL, kind="limit")])
    assert (found.cause, found.where, found.also) == ("C101", "model", ("C102",))


@pytest.mark.parametrize(
    ("defect_gain", "cause"),
    [(1.5, "C107"), (1.12, "C101"), (1.05, "C101")],  # a lower end above 1.1 makes a defect lead
)
def test_a_defect_that_is_worth_it_beats_a_limit(defect_gain, cause):
    findings = [finding("C101", MODEL, kind="limit"), finding("C107", MODEL)]
    assert concluded(TWO, findings, [gain("C101", 3.0), gain("C107", defect_gain)]).cause == cause


def test_the_larger_gain_leads_among_defects():
    findings = [finding("C112", MODEL), finding("C107", MODEL)]
    assert concluded(TWO, findings, [gain("C112", 2.0), gain("C107", 1.8)]).cause == "C112"


def test_cells_whose_intervals_overlap_are_both_considered():
    close = ledger(row("model", "cpu", 0.5, half=0.06), row("preprocess", "cpu", 0.46, half=0.06))
    found = concluded(close, [finding("C102", ("preprocess", "cpu"))])
    assert (found.cause, found.where) == ("C102", "preprocess")


def test_a_quota_is_ruled_over_threads():
    account = ledger(row("model", "starved", 0.9), row("model", "cpu", 0.08))
    findings = [finding("C106", ("*", "starved")), finding("C108", ("*", "starved"))]
    found = concluded(account, findings, [gain("C106", 9.0), gain("C108", 4.0)])
    assert (found.cause, found.also) == ("C108", ("C106",))


@pytest.mark.parametrize(("site", "cause"), [("futex", "W104"), ("timer", "W110")])
def test_the_site_tells_causes_of_one_state_apart(site, cause):
    account = ledger(row("preprocess", "wait", 0.9, site=site), row("model", "cpu", 0.1))
    findings = [
        finding("W104", ("*", "wait", "futex"), bound="wait"),
        finding("W110", ("*", "wait", "timer"), bound="wait"),
    ]
    assert concluded(account, findings).cause == cause


@pytest.mark.parametrize(
    ("left", "lookalike", "proof"),
    [
        (0.02, "absent", "supported"),
        (0.02, "unknown", "hypothesis"),
        (0.02, "present", "hypothesis"),
        (0.2, "absent", "hypothesis"),
    ],
)
def test_supported_needs_an_account_and_no_lookalike(left, lookalike, proof):
    account = ledger(row("model", "cpu", 1 - left))
    findings = [finding("C101", MODEL, lookalikes=("C114",)), finding("C114", ("*", "disk"), status=lookalike)]
    assert concluded(account, findings).proof == proof


def test_too_much_unexplained_names_nothing():
    found = concluded(ledger(row("model", "cpu", 0.6)), [finding("C101", MODEL)])
    assert (found.bound, found.cause) == ("unknown", None)
    assert "UNEXPLAINED" in found.sentence


def test_without_a_cause_the_state_is_still_a_fact():
    found = concluded(ledger(row("framework", "cpu", 0.97)), [])
    assert (found.bound, found.cause, found.where, found.proof) == ("cpu", None, "framework", "hypothesis")


def test_the_second_cell_of_the_same_stage_is_a_hypothesis():
    account = ledger(row("model", "cpu", 0.55), row("model", "memory", 0.42))
    found = concluded(account, [finding("M101", ("model", "memory"), kind="limit", bound="memory")])
    assert (found.cause, found.proof) == ("M101", "hypothesis")
    elsewhere = ledger(row("framework", "cpu", 0.55), row("preprocess", "cpu", 0.42))
    assert concluded(elsewhere, [finding("C102", ("preprocess", "cpu"))]).cause is None


def test_an_undecided_cause_is_unknown_and_named():
    found = concluded(TWO, [finding("C101", MODEL, status="unknown")])
    assert (found.bound, found.cause, found.also) == ("unknown", None, ("C101",))


def test_many_undecided_causes_are_still_a_sentence():
    """GIVEN seven causes that want signals which nobody measured THEN some of each are named, in words, and the rest counted."""
    missing = (
        "model.arithmetic_efficiency",
        "model.excess_share",
        "model.float_gain",
        "model.lookup_share",
        "scaling.thread_gain",
    )
    codes = ("C101", "C105", "C107", "C111", "C114", "C116", "M107")
    found = concluded(TWO, [replace(finding(code, MODEL, status="unknown"), missing=missing) for code in codes])
    assert found.also == codes
    assert found.sentence == (
        "UNDECIDED: arithmetic speed, runtime overhead, too few threads or 4 more? (not measured: arithmetic over the best this "
        "machine does, the slowest kind of operator, beyond what it needs and 3 more)"
    )


def test_a_limit_comes_with_its_headroom():
    signal = Signal("model.arithmetic_efficiency", "share", "roofline", exact(0.92))
    assert concluded(TWO, [finding("C101", MODEL, kind="limit")], signals=[signal]).headroom == pytest.approx(0.08)


def test_cells_add_up_by_stage_and_state():
    account = ledger(row("model", "cpu", 0.3), row("model", "cpu", 0.3), row("model", "memory", 0.39))
    assert [(c.stage, c.state, round(c.value, 2)) for c in cells(account)] == [
        ("model", "cpu", 0.6),
        ("model", "memory", 0.39),
    ]
    assert unexplained_share(account) == pytest.approx(0.01)
