"""The ledger of synthetic requests, whose cells are known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinchpoint.domain.operator import Cost
from pinchpoint.domain.quantity import exact
from pinchpoint.domain.run import (
    DISK,
    FUTEX,
    HANDED,
    MARKED,
    NETWORK,
    RUNNING,
    SYNC,
    TIMER,
    WRAPPED,
    Ceiling,
    OperatorArm,
    OperatorTime,
    Telemetry,
)
from pinchpoint.ledger import latency_ledger
from synthetic import MAIN, Script, ceilings, marked, run_of, session


def test_cells_are_what_the_clocks_and_samples_say():
    """GIVEN 4 ms of which 1 on CPU, 0.5 starved, 2.5 in a timer THEN each cell has its own source and nothing is left."""
    ledger = latency_ledger(run_of(Script([marked("preprocess", 4000, cpu=1000, starved=500, site=TIMER)])))
    assert ledger.latency.value == pytest.approx(4e-3)
    assert ledger.seconds("preprocess", "cpu") == pytest.approx(1e-3)
    assert ledger.seconds("preprocess", "starved") == pytest.approx(0.5e-3)
    assert ledger.seconds("preprocess", "wait", "timer") == pytest.approx(2.5e-3, rel=0.1)
    assert abs(ledger.seconds(state="unexplained")) < 0.05 * 4e-3


@pytest.mark.parametrize(
    ("site", "state"), [(FUTEX, "wait"), (TIMER, "wait"), (NETWORK, "network"), (DISK, "disk"), (SYNC, "disk")]
)
def test_what_a_thread_is_blocked_on_decides_the_state(site, state):
    ledger = latency_ledger(run_of(Script([marked("preprocess", 2000, cpu=200, site=site)])))
    assert ledger.seconds(state=state) == pytest.approx(1.8e-3, rel=0.1)


def test_no_cell_is_a_remainder():
    """GIVEN time that no clock and no sample accounts for THEN it is unexplained, not wait."""
    run = run_of(Script([marked("preprocess", 2000, cpu=200, site=TIMER)]))
    blind = latency_ledger(
        type(run)(**{f: getattr(run, f) for f in run.__slots__ if f != "samples"}, samples=_none(run))
    )
    assert blind.seconds(state="wait") == 0
    assert blind.seconds(state="unexplained") == pytest.approx(1.8e-3)


@pytest.mark.parametrize(("site", "waits", "seen_share", "found_ms"), [
    (SYNC, 10, 0.4, 1.8),  # of 180 us each: what the clocks leave is theirs
    (DISK, 10, 0.4, 1.8),
    (SYNC, 2, 0.4, 0.72),  # of 900 us each: those are seen whole, and what was not seen is something else
    (SYNC, 10, 0.05, 0.09),  # too little was seen to say that all the rest is the same
    (NETWORK, 10, 0.4, 0.72),  # those are seen whole
])  # fmt: skip
def test_short_waits_are_as_long_as_the_clocks_say(site, waits, seen_share, found_ms):
    """GIVEN 2 ms of which 0.2 are on CPU, and a part of the others is seen as running."""
    run = run_of(Script([marked("preprocess", 2000, cpu=200, site=site)]))
    blocked = run.samples.site == site
    missed = blocked & (np.random.default_rng(2).random(len(blocked)) > seen_share)
    samples = replace(run.samples, site=np.where(missed, RUNNING, run.samples.site))
    probes = replace(run.probes, voluntary_switches=np.full(len(run.probes.index), waits))
    ledger = latency_ledger(replace(run, samples=samples, probes=probes))
    rows = [row for row in ledger.rows if row.source == "sampled"]
    assert sum(row.seconds.value for row in rows) * 1e3 == pytest.approx(found_ms, rel=0.2)
    assert all(row.seconds.low <= seen_share * 1.8e-3 * 1.2 for row in rows)


@pytest.mark.parametrize(("swapped_in", "system_us", "memory_us"), [
    (1e9, 1500, 1500),  # memory is full: the kernel's work for the thread is finding room
    (1e9, 90_000, 2000),  # but no more of it than its major faults can cost
    (0, 1500, 0),  # a mapped file
])  # fmt: skip
def test_what_the_kernel_does_while_pages_come_back_from_swap_is_memory(swapped_in, system_us, memory_us):
    run = run_of(
        Script([marked("preprocess", 4000, cpu=4000)], ceilings=(Ceiling("fault_s", exact(0.0), "s", "k", 1),))
    )
    run = replace(
        run,
        spans=replace(run.spans, end_faults=np.full(200, 20)),
        probes=replace(run.probes, major_faults=np.full(200, 20), system_ns=np.full(200, system_us * 1000)),
        telemetry=Telemetry(np.array([0, 1]), (("host.swap_in_bytes", np.array([0.0, swapped_in])),)),
    )
    assert latency_ledger(run).seconds("preprocess", "memory", "fault") == pytest.approx(memory_us / 1e6)


@pytest.mark.parametrize(
    ("told", "cells"), [(True, {"preprocess": 0.002}), (False, {"preprocess": 0.001, "postprocess": 0.001})]
)
def test_page_faults_outside_of_stages_lie_where_they_were_counted(told, cells):
    steps = [("", 0, 4000, 4000, 0, 0), ("model:session 0", WRAPPED, 1000, 1000, 0, 0), ("", 0, 4000, 4000, 0, 0)]
    run = run_of(Script(steps, faults=2000, ceilings=(Ceiling("fault_s", exact(1e-6, 9), "s", "kernel", 1),)))
    begun = np.arange(len(run.probes.index)) * 2000
    run = replace(
        run,
        spans=replace(run.spans, begin_faults=begun + 2000, end_faults=begun + 2000),
        probes=replace(run.probes, system_ns=run.probes.cpu_ns, **({"begin_faults": begun} if told else {})),
    )
    found = {row.stage: row.seconds.value for row in latency_ledger(run).rows if row.site == "fault"}
    assert found == pytest.approx(cells)


def _none(run):
    return type(run.samples)(*(np.empty(0, dtype=np.int64) for _ in range(4)))


def test_stages_are_told_apart():
    steps = [
        marked("preprocess", 1000, cpu=1000),
        ("model:session 0", WRAPPED, 2000, 2000, 0, 0),
        marked("top_k", 500, cpu=500),
        ("serialize:json.dumps", WRAPPED, 250, 250, 0, 0),
    ]
    ledger = latency_ledger(run_of(Script(steps)))
    seconds = {stage: ledger.seconds(stage, "cpu") for stage in ("preprocess", "model", "postprocess", "serialize")}
    assert seconds == {
        "preprocess": pytest.approx(1e-3),
        "model": pytest.approx(2e-3),
        "postprocess": pytest.approx(0.5e-3),
        "serialize": pytest.approx(0.25e-3),
    }
    assert ledger.stages_from == "marked"


def test_unmarked_code_is_placed_around_the_model():
    steps = [("", 0, 1000, 1000, 0, 0), ("model:session 0", WRAPPED, 2000, 2000, 0, 0), ("", 0, 500, 500, 0, 0)]
    ledger = latency_ledger(run_of(Script(steps)))
    assert ledger.seconds("preprocess", "cpu") == pytest.approx(1e-3)
    assert ledger.seconds("postprocess", "cpu") == pytest.approx(0.5e-3)
    assert ledger.stages_from == "inferred"


def test_waiting_for_a_thread_of_its_own_is_that_threads_state():
    """GIVEN a request that waits in a futex while a thread works for it THEN the time is that thread's, on CPU."""
    steps = [marked("preprocess", 3000, cpu=300, site=FUTEX)]
    ledger = latency_ledger(run_of(Script(steps, worker=[("handed:pool", HANDED, 300, 3000)])))
    assert ledger.seconds("preprocess", "cpu") == pytest.approx(3e-3, rel=0.1)
    assert ledger.seconds(state="wait") < 0.1e-3


def test_the_warm_up_and_failed_requests_do_not_count():
    run = run_of(Script([marked("preprocess", 1000, cpu=1000)]))
    slow = run.requests.end_ns.copy()
    slow[:20] += 5_000_000
    flags = run.requests.flags.copy()
    flags[100:110] |= 1
    changed = type(run.requests)(run.requests.index, run.requests.start_ns, slow, flags)
    ledger = latency_ledger(
        type(run)(**{f: getattr(run, f) for f in run.__slots__ if f != "requests"}, requests=changed)
    )
    assert ledger.latency.value == pytest.approx(1e-3, rel=0.01)


def _model(seconds_us, *costs, event=True):
    """A session of operators with the given costs, each taking `seconds_us` without the profiler's event."""
    rows = tuple(
        OperatorTime(0, f"op{i}", "MatMul", "CPU", exact((seconds_us + 5 * event) * 1e-6, 50), 1.0, cost)
        for i, cost in enumerate(costs)
    )
    arm = OperatorArm(0, 50, exact(seconds_us * 1e-6 * len(costs), 50), 1.0, 64e6)
    steps = [
        (
            "model:session 0",
            WRAPPED,
            seconds_us * len(costs) + 10 + len(costs),
            seconds_us * len(costs) + 10 + len(costs),
            0,
            0,
        )
    ]
    return Script(steps, kind="onnx", operators=rows, arms=(arm,), sessions=(session(),), ceilings=ceilings())


def test_an_operator_is_split_at_its_floors():
    """GIVEN 40 MB of weights at 20 GB/s (2 ms) and 0.1 GFLOP at 100 GFLOP/s (1 ms) taking 2.5 ms
    THEN the memory cell is [max(0, 2 - 1), min(2, 2.5 - 1)] = 1 to 1.5 ms, its overlap charged to memory.
    """
    ledger = latency_ledger(run_of(_model(2500, Cost(0.1e9, 40e6, 0, 0, 0, "float32"))))
    cell = next(r for r in ledger.rows if r.state == "memory")
    assert (cell.seconds.low, cell.seconds.value, cell.seconds.high) == pytest.approx((1e-3, 1.5e-3, 1.5e-3), rel=0.01)
    assert ledger.seconds("model", "cpu") == pytest.approx(1.011e-3, rel=0.01)  # with 1 us of dispatch and 10 us of run
    assert abs(ledger.seconds(state="unexplained")) < 1e-6


def test_splitting_nodes_changes_no_sum():
    one = latency_ledger(run_of(_model(2500, Cost(0.1e9, 40e6, 0, 0, 0, "float32"))))
    parts = [Cost(0.01e9, 4e6, 0, 0, 0, "float32")] * 10
    ten = latency_ledger(run_of(_model(250, *parts)))
    assert ten.seconds("model", "memory") == pytest.approx(one.seconds("model", "memory"), rel=0.01)


def test_operators_below_the_profilers_cost_are_not_told_apart():
    """GIVEN 1 us operators whose profiler event costs 5 us THEN only dispatch is claimed, and the rest of the clock is not divided."""
    ledger = latency_ledger(run_of(_model(1, *([Cost(0, 0, 64, 0, 0, "none")] * 100))))
    found = {
        r.operator: (r.source, r.seconds.value * 1e6) for r in ledger.rows if r.stage == "model" and r.state == "cpu"
    }
    assert found == {
        "dispatch": ("calibrated dispatch", pytest.approx(100)),
        "run": ("calibrated run", pytest.approx(10)),
        "work": ("thread clock", pytest.approx(100)),
    }
    assert abs(ledger.seconds(state="unexplained")) < 1e-6


def test_an_operator_of_unknown_cost_stays_undivided():
    script = _model(1000, Cost(0, 0, 0, 0, 0, "none"))
    unknown = OperatorTime(0, "op0", "Custom", "CPU", exact(1.005e-3, 50), 1.0, None)
    ledger = latency_ledger(run_of(Script(**{**script.__dict__, "operators": (unknown,)})))
    assert ledger.seconds("model", "memory") == 0
    assert next(r.source for r in ledger.rows if r.operator == "op0") == "profile"


def test_the_main_thread_alone_owns_the_sum():
    ledger = latency_ledger(run_of(Script([marked("preprocess", 1000, cpu=1000)], worker=[("background", 0, 0, 1000)])))
    assert sum(r.seconds.value for r in ledger.rows) == pytest.approx(1e-3)
    assert MAIN == 100


def test_a_session_in_another_thread_is_split_like_any_other_and_counted_once():
    """GIVEN an event loop that waits 4 ms for a session in an executor THEN its operators are the model's cells."""
    cost = Cost(200e6, 20e6, 0, 0, 0, "float32")
    script = Script(
        [("", MARKED, 5000, 1000, 0, FUTEX)],
        ceilings=ceilings(),
        sessions=(session(),),
        operators=(OperatorTime(0, "m", "MatMul", "CPU", exact(4e-3, 50), 1.0, cost),),
        arms=(OperatorArm(0, 50, exact(4e-3, 50), 1.0, 64e6),),
        worker=[("model:session 0", WRAPPED, 1000, 5000)],
    )
    ledger = latency_ledger(run_of(script))
    assert ledger.seconds("model") == pytest.approx(4e-3, rel=0.15)
    assert {r.operator for r in ledger.rows if r.stage == "model" and r.state == "cpu"} >= {"m"}
    assert sum(r.seconds.value for r in ledger.rows) == pytest.approx(ledger.latency.value, rel=1e-6)
    assert abs(ledger.seconds(state="unexplained")) < 0.05 * ledger.latency.value
