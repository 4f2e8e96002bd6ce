"""How a diagnosis of a planted fault is scored, and the simple rules beside it."""

import contextlib
from dataclasses import replace

import pytest
from bench.plants.contract import Plant, Prepared, expect
from bench.scoring import Said, Scored

from bench import scoring

SAID = Said("C102", "cpu", "preprocess", "defect", "supported", frozenset({"C102"}), 9.0)


@contextlib.contextmanager
def standing(_folder):
    yield Prepared("app.py:handle")


def plant(expected, role="fault", family="C102", half="develop"):
    return Plant(f"{family}-story-{role}", family, role, half, expected, standing, lambda: None, "")


@pytest.mark.parametrize(("expected", "said", "misses"), [
    (expect("C102", where="preprocess"), SAID, ()),
    (expect("C102", where="model"), SAID, ("where",)),
    (expect("C101"), SAID, ("cause",)),
    (expect("I101"), SAID, ("cause", "bound")),
    (expect("C102", absent="C104"), replace(SAID, present=frozenset({"C102", "C104"})), ("also C104",)),
    (expect(absent="C102"), SAID, ("also C102",)),
    (expect(present="V102"), SAID, ("no V102",)),
    (expect(), SAID, ()),
    (expect("C102", ""), replace(SAID, cause="", bound="unknown"), ()),
    (expect("C102"), replace(SAID, error="exit 70"), ("exit 70",)),
])  # fmt: skip
def test_what_is_not_as_expected(expected, said, misses):
    assert scoring.misses(expected, said) == misses


@pytest.mark.parametrize(("expected", "family", "said", "alarm"), [
    (expect("C101"), "C107", SAID, True),                                            # a defect that is not due
    (expect("C101"), "C107", replace(SAID, cause="C101", kind="limit"), False),
    (expect("C101"), "C107", replace(SAID, cause="M101", kind="limit"), False),      # a limit is never a false alarm
    (expect(absent="W104"), "W104", SAID, False),                                    # nothing is due: it may be true
    (expect(absent="W104"), "W104", replace(SAID, present=frozenset({"W104"})), True),
])  # fmt: skip
def test_false_alarms(expected, family, said, alarm):
    assert scoring.false_alarm(Scored(plant(expected, "healthy", family), said)) is alarm


@pytest.mark.parametrize(("stages", "code"), [
    ({"model": 3.0, "preprocess": 1.0}, "C101"),
    ({"model": 3.0, "preprocess": 4.0}, "C102"),
    ({"framework": 3.0}, "W104"),
    ({}, "W104"),
])  # fmt: skip
def test_the_longest_stage_as_a_rule(stages, code):
    assert scoring.longest_stage(stages) == code


def test_the_busiest_resource_as_a_rule():
    assert scoring.busiest_resource({"cpu": 0.5, "disk": 0.9, "memory": 0.1}) == "I101"
    assert scoring.busiest_resource({}) == "W104"


def test_the_majority_is_learnt_from_the_half_that_one_may_learn_from():
    plants = [
        plant(expect("C101")),
        plant(expect("C101")),
        plant(expect("I101")),
        *[plant(expect("M101"), half="test")] * 5,
    ]
    assert scoring.majority(plants) == "C101"


def test_a_rule_is_right_by_cause_or_by_bound():
    assert scoring.right_bound("C101", expect("C102"))
    assert not scoring.right_cause("C101", expect("C102"))
    assert not scoring.right_bound("", expect("C102"))


def test_shares_have_wilson_intervals():
    assert scoring.share([]) is None
    found = scoring.share([True] * 9 + [False])
    assert (found.value, round(found.low, 2), round(found.high, 2)) == (0.9, 0.6, 0.98)
