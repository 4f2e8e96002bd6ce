"""What quantised operators would take in float32, on operators whose floors are known by construction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pinchpoint.domain.operator import Cost
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import OperatorArm, OperatorTime
from pinchpoint.float_twin import float_factor, is_quantised
from pinchpoint.inquire import inquire
from pinchpoint.limits import shipped
from pinchpoint.plugins import builtin
from pinchpoint.roofline import sessions
from synthetic import Script, ceilings, run_of, session

WRAPPED = 1
MS = 1e-3


def run_with(*operators):
    """A model of operators (kind, seconds, FLOPs, weight bytes, arithmetic); float32 peaks at 100 GFLOP/s, int8 at 400."""
    whole = sum(seconds for _, seconds, *_ in operators)
    rows = tuple(
        OperatorTime(
            0,
            f"{kind}_{i}",
            kind,
            "CPU",
            Quantity(s, s * 0.99, s * 1.01, 50),
            1.0,
            Cost(flops, weights, 0.0, 0.0, 0.0, dtype),
        )
        for i, (kind, s, flops, weights, dtype) in enumerate(operators)
    )
    arm = OperatorArm(0, 50, exact(whole, 50), 1.0, 1e6)
    us = int(whole * 1e6)
    return run_of(
        Script(
            [("model:session 0", WRAPPED, us, us, 0, 0)], requests=200, sessions=(session(),),
            ceilings=ceilings(), operators=rows, arms=(arm,), kind="onnx",
        )
    )  # fmt: skip


def factor_of(run, number=0):
    (split,) = sessions(run)
    return float_factor(split.splits[number], split)


def test_an_int8_product_by_the_float32_floor():
    found = factor_of(run_with(("MatMulInteger", 10 * MS, 200e6, 1e4, "int8")))
    assert (found.low, found.high) == pytest.approx((0.2, 0.5), rel=0.01)  # 2 ms at the peak, up to 5 ms


def test_a_conversion_goes_and_float32_stays():
    run = run_with(
        ("DequantizeLinear", MS, 0.0, 1e4, "none"),
        ("Relu", MS, 1e4, 0.0, "float32"),
        ("MatMul", MS, 90e6, 1e4, "float32"),
    )
    assert factor_of(run).value == 0.0
    assert factor_of(run, 1) is None
    assert factor_of(run, 2) is None
    assert [is_quantised(item) for item in sessions(run)[0].splits] == [True, False, False]


def test_a_product_of_converted_weights_may_gain_from_constants():
    run = run_with(("DequantizeLinear", MS, 0.0, 1e4, "none"), ("MatMul", 4 * MS, 100e6, 0.0, "float32"))
    found = factor_of(run, 1)
    assert (found.low, found.value, found.high) == pytest.approx((0.25, 0.5, 1.0), rel=0.01)


@pytest.mark.parametrize(("operators", "status"), [
    ([("MatMulInteger", 20 * MS, 200e6, 1e4, "int8")], "present"),         # 2 to 5 ms in float32
    ([("MatMulInteger", 0.6 * MS, 200e6, 1e4, "int8")], "absent"),         # int8 where it pays
    ([("MatMulInteger", 4 * MS, 200e6, 1e4, "int8")], "unknown"),          # either may be faster
    ([("DequantizeLinear", 5 * MS, 0.0, 1e4, "none"), ("MatMul", 3 * MS, 200e6, 0.0, "float32")], "present"),
    ([("Resize", 20 * MS, 1e6, 0.0, "float32")], "absent"),                # look-alike C114: slow in float32
    ([("DequantizeLinear", 1 * MS, 0.0, 1e4, "none"), ("MatMul", 20 * MS, 2e9, 1e4, "float32")], "absent"),  # a small part
])  # fmt: skip
def test_findings(operators, status):
    found = inquire(run_with(*operators), builtin(), shipped())
    # nobody counted who waits for a CPU in a run made by hand, so only what the operators say is asked for
    evidence = next(f for f in found.findings if f.code == "C116").evidence
    by_operators = [e.status() for e in evidence if e.signal.name != "threads.starved_cores"]
    told = "absent" if "absent" in by_operators else "present" if set(by_operators) == {"present"} else "unknown"
    assert told == status


def test_an_operator_without_a_cost_is_not_guessed():
    run = run_with(("QLinearConv", 20 * MS, 200e6, 1e4, "int8"))
    blind = replace(run, operators=(replace(run.operators[0], cost=None),))
    found = {f.code: f for f in inquire(blind, builtin(), shipped()).findings}["C116"]
    assert found.status == "unknown"
    assert "model.float_gain" in found.missing
