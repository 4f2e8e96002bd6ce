from __future__ import annotations

import pytest

from pinchpoint.contracts import detector
from pinchpoint.diagnose import any_of, diagnose
from pinchpoint.domain.finding import Evidence, Limit
from pinchpoint.domain.ledger import Ledger, Row
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.signal import Signal, Signals
from pinchpoint.limits import Limits

HALF = Limit("half", 0.5, "share", "why", "source")
LIMITS = Limits({"half": HALF})
QUANTITIES = {"present": exact(0.9), "absent": exact(0.1), "straddles": Quantity(0.5, 0.4, 0.6, 9), "missing": None}
CELLS = (("*", "starved"), ("model", "cpu"))


def signal(kind, name=None):
    return Signal(name or f"a.{kind}", "share", "clock", QUANTITIES[kind])


def evidence(kind, name=None):
    return Evidence(signal(kind, name), "above", HALF)


def a_detector(*kinds, code="C102", cells=CELLS, check=None):
    names = [f"{letter}.{kind}" for letter, kind in zip("abcdef", kinds, strict=False)]

    def each(signals, limits):
        for name in names:
            yield Evidence(signals[name], "above", limits.half)

    made = detector(
        code=code,
        title="t",
        question="q?",
        bound="cpu",
        cells=cells,
        needs=names,
        remedies=("r",),
        lookalikes=("C106",),
    )
    return made(check or each), Signals({name: signal(kind, name) for name, kind in zip(names, kinds, strict=True)})


def a_ledger(*cells):
    rows = tuple(Row("latency", 1, "typical", stage, None, state, "clock", exact(s), s) for stage, state, s in cells)
    return Ledger("latency", "typical", exact(1.0), rows)


def finding(*kinds, ledger=None, **options):
    made, signals = a_detector(*kinds, **options)
    return diagnose(signals, ledger or a_ledger(), (made,), LIMITS)[0]


@pytest.mark.parametrize(("kinds", "status", "missing"), [
    (("present",), "present", ()),
    (("present", "present"), "present", ()),
    (("present", "absent"), "absent", ()),
    (("missing", "absent"), "absent", ()),                              # an absent piece wins over what is missing
    (("straddles", "absent"), "absent", ()),
    (("present", "missing"), "unknown", ("b.missing",)),
    (("missing", "missing"), "unknown", ("a.missing", "b.missing")),
    (("present", "straddles"), "unknown", ()),                          # nothing is missing: a longer run decides
    ((), "unknown", ()),                                                # no evidence is no proof
])  # fmt: skip
def test_status_and_missing(kinds, status, missing):
    found = finding(*kinds)
    assert (found.status, found.missing) == (status, missing)
    assert len(found.evidence) == len(kinds)


@pytest.mark.parametrize(("cells", "where"), [
    ([("model", "cpu", 0.6), ("preprocess", "starved", 0.3)], "model"),
    ([("model", "cpu", 0.2), ("preprocess", "starved", 0.3)], "preprocess"),
    ([("model", "cpu", 0.2), ("model", "cpu", 0.2), ("preprocess", "starved", 0.3)], "model"),   # rows of a cell add up
    ([("model", "memory", 0.9), ("preprocess", "cpu", 0.8)], ""),                                # none of its cells
    ([], ""),
])  # fmt: skip
def test_where_is_the_stage_of_the_largest_cell(cells, where):
    assert finding("present", ledger=a_ledger(*cells)).where == where


def test_a_finding_about_the_measurement_is_nowhere():
    assert finding("present", code="V102", cells=(), ledger=a_ledger(("model", "cpu", 0.6))).where == ""


def test_what_the_detector_declares_is_copied():
    made, _ = a_detector("present")
    found = finding("present")
    copied = ("code", "bound", "kind", "cells", "lookalikes", "remedies")
    assert [getattr(found, name) for name in copied] == [getattr(made, name) for name in copied]


def test_findings_keep_the_order_of_the_detectors():
    (first, signals), (second, _) = a_detector("present", code="W104"), a_detector("present", code="C102")
    assert [f.code for f in diagnose(signals, a_ledger(), (first, second), LIMITS)] == ["W104", "C102"]


def test_a_signal_that_nobody_derives_is_our_defect():
    made, _ = a_detector("present")
    with pytest.raises(KeyError):
        diagnose(Signals({}), a_ledger(), (made,), LIMITS)


@pytest.mark.parametrize(("kinds", "deciding"), [
    (("present", "absent"), ["present"]),
    (("missing", "present"), ["present"]),              # one that holds is enough
    (("absent", "missing"), ["missing"]),
    (("straddles", "missing", "absent"), ["straddles", "missing"]),
    (("absent", "absent"), ["absent", "absent"]),
])  # fmt: skip
def test_any_of(kinds, deciding):
    chosen = any_of(*(evidence(kind) for kind in kinds))
    assert [each.signal.name for each in chosen] == [f"a.{kind}" for kind in deciding]
