"""Operators at the roofline, in closed form."""

from __future__ import annotations

import pytest

from pinchpoint import roofline
from pinchpoint.domain.operator import Cost
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Ceiling, OperatorArm, OperatorTime
from pinchpoint.domain.split import Ceilings, Floors, SessionSplit
from synthetic import ceilings, session


@pytest.mark.parametrize(
    ("t", "m", "c", "low", "value", "high"),
    [
        (10.0, 8.0, 1.0, 7.0, 8.0, 8.0),  # memory-bound, room for both
        (10.0, 8.0, 4.0, 4.0, 6.0, 6.0),  # overlap charged to memory, the higher floor
        (10.0, 3.0, 8.0, 0.0, 0.0, 2.0),  # arithmetic is the higher floor
        (10.0, 0.0, 8.0, 0.0, 0.0, 0.0),  # no bytes
        (5.0, 8.0, 1.0, 5.0, 5.0, 5.0),  # faster than the ceiling: never more than its time
    ],
)
def test_memory_cell(t, m, c, low, value, high):
    floors = Floors(exact(c), exact(m), exact(0.0), exact(0.0))
    cell = roofline.memory_cell(exact(t), floors)
    assert (cell.low, cell.value, cell.high) == (low, value, high)


def test_bandwidth_is_interpolated_between_footprints():
    rows = tuple(
        Ceiling("read_bytes_per_s", exact(value), "B/s", "test", 1, "float32", footprint)
        for value, footprint in ((80e9, 1e6), (20e9, 100e6))
    )
    found = Ceilings(rows, 1)
    assert found.at("read_bytes_per_s", 1e3).value == 80e9
    assert found.at("read_bytes_per_s", 1e9).value == 20e9
    assert found.at("read_bytes_per_s", 10e6).value == pytest.approx(40e9)
    assert found.at("triad_bytes_per_s", 10e6) is None


def test_profiler_events_are_subtracted():
    row = OperatorTime(0, "a", "Add", "CPU", Quantity(12e-6, 11e-6, 13e-6, 9), 2.0, None)
    left = roofline.without_events(row, exact(5e-6))
    assert (left.value, left.low, left.high) == pytest.approx((2e-6, 1e-6, 3e-6))
    assert roofline.without_events(row, exact(50e-6)).value == 0


def test_threads_are_those_that_the_container_grants():
    assert roofline.threads_of(session(threads=24), cpus=64, effective_cpus=2.5) == 2
    assert roofline.threads_of(session(threads=0), cpus=4, effective_cpus=8) == 4
    assert roofline.threads_of(session(threads=1), cpus=4, effective_cpus=0.3) == 1


def _session(*kinds, optimised=None):
    found = Ceilings(ceilings(), 1)
    arm = OperatorArm(0, 10, exact(1e-3), 1.0, 64e6, optimised)
    rows = [
        OperatorTime(0, f"n{i}", kind, "CPU", exact(100e-6), 1.0, Cost(1e6, 0, 0, 0, 0, "float32"))
        for i, kind in enumerate(kinds)
    ]
    return SessionSplit(
        session(), arm, tuple(roofline.split(r, r.seconds, arm, found) for r in rows), None, True, found
    )


@pytest.mark.parametrize(("calls", "further", "due_us"), [
    (500, True, 500), (600, True, 600), (4000, True, 600 + 3400 * 1.25), (4000, False, 4000),  # an older run has no such ceiling
])  # fmt: skip
def test_operators_beyond_the_first_hundreds_cost_what_these_do(calls, further, due_us):
    rows = ceilings()
    if further:
        rows += (Ceiling("dispatch_further_s", exact(1.25e-6), "s", "test", 1),)
    operator = OperatorTime(0, "n", "Add", "CPU", exact(1e-3), float(calls), None)
    found = roofline._dispatch([operator], OperatorArm(0, 10, exact(1e-3), 1.0, 0.0), Ceilings(rows, 1), "")
    assert found.value * 1e6 == pytest.approx(due_us)


def test_excess_is_judged_by_kind_not_by_node():
    """GIVEN one slow Resize and many Convs that are together slower THEN the Convs are the worst kind."""
    assert roofline.worst_kind([_session("Resize", "Conv", "Conv")]) == "Conv"
    assert roofline.worst_kind([_session("Resize")]) == "Resize"
    assert roofline.worst_kind([]) == ""


def test_a_fused_operator_counts_as_its_kind():
    left = tuple((kind, 0.0, 0.0, 0.0) for kind in ("FusedConv", "Conv"))
    found = _session("Conv", "Relu", "Conv", "Relu", optimised=left)
    assert roofline.kept_share(found, "Conv") == 1.0
    assert roofline.kept_share(found, "Relu") == 0.0
    assert roofline.kept_share(_session("Relu"), "Relu") == 1.0


@pytest.mark.parametrize(
    ("kind", "left", "fresh"),
    [
        ("Conv", ("ReorderInput", "Conv", "ReorderOutput"), True),
        ("MaxPool", ("ReorderInput", "MaxPool"), True),
        ("MatMul", ("ReorderInput", "Conv", "MatMul"), False),
        ("Conv", ("FusedConv",), False),
        ("FusedConv", ("NhwcFusedConv",), True),
    ],
)
def test_a_layout_is_new_where_the_runtime_reorders(kind, left, fresh):
    found = _session(kind, optimised=tuple((each, 0.0, 0.0, 0.0) for each in left))
    assert roofline.new_layout(found, kind) is fresh
