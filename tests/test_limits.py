from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest

import pinchpoint
from pinchpoint import limits
from pinchpoint.errors import BadInput

SOURCE = Path(pinchpoint.__file__).parent
NOT_LIMITS = {"by_name", "shipped", "overridden"}


def test_every_entry_says_why_and_where_from():
    for limit in limits.shipped():
        assert math.isfinite(limit.value), limit.name
        assert limit.unit, limit.name
        assert len(limit.why.split()) >= 8, limit.name
        assert limit.source, limit.name


def test_every_limit_is_used_and_every_use_is_a_limit():
    used = {
        node.attr for path in SOURCE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "limits"
    } - NOT_LIMITS - set(dir(list))  # fmt: skip
    assert used == set(limits.shipped().by_name)


def test_limits_that_follow_from_each_other_agree():
    value = {limit.name: limit.value for limit in limits.shipped()}
    assert value["attainable_efficiency"] == pytest.approx(1 / value["slow_operator_ratio"], abs=0.01)
    assert 1 / (1 - value["contended_cores"]) < value["slow_operator_ratio"]
    assert 1 - 1 / value["runnable_per_cpu"] == pytest.approx(value["leading_share"])
    assert value["idle_share"] == pytest.approx(1 - 1 / value["worthwhile_gain"], abs=0.01)
    assert value["unexplained_accounted"] == pytest.approx(1 - 1 / value["worthwhile_gain"], abs=0.01)
    assert value["noise_share"] == pytest.approx((value["worthwhile_gain"] - 1) / 2)
    assert value["drift_share"] == pytest.approx(value["worthwhile_gain"] - 1)
    assert value["churn_share"] == pytest.approx(value["leading_share"] / 2)


def test_a_user_overrides_by_name():
    shipped = limits.shipped()
    mine = limits.overridden(shipped, {"trivial_share": 0.01})
    assert (mine.trivial_share.value, mine.trivial_share.source) == (0.01, "the user")
    assert mine.leading_share is shipped.leading_share
    assert shipped.trivial_share.value == 0.05


def test_an_unknown_name_is_bad_input():
    with pytest.raises(BadInput, match="trivial_shore"):
        limits.overridden(limits.shipped(), {"trivial_shore": 0.01})
    with pytest.raises(AttributeError, match="trivial_shore"):
        _ = limits.shipped().trivial_shore
