"""The benches' own arithmetic: truths, overheads, crossovers, gains, and how they are shown."""

import struct

import numpy as np
import pytest
from bench.report import Claim, Report, Table

from bench import arms, cases, gains, million, models, report, stopwatch, truth
from pinchpoint.domain.change import Change, Prediction
from pinchpoint.domain.quantity import Quantity, exact


def log_of(path, rows):
    """A log as a target writes it, from (latency, {cell: nanoseconds})."""
    words = [len(rows)]
    for latency, cells in rows:
        words += [latency, *(cells.get(cell, 0) for cell in stopwatch.CELLS)]
    path.write_bytes(struct.pack(f"={len(words)}q", *words) + bytes(64))
    return path


def test_truth_is_the_mean_of_the_middle_half_after_the_warm_up(tmp_path):
    rows = [(9_000_000, {("model", "cpu"): 9_000_000})]  # the first request is start-up
    rows += [(milliseconds * 1_000_000, {("model", "cpu"): 1_000_000}) for milliseconds in (2, 3, 3, 3, 3, 100)]
    cells, latency = truth.truth_of(truth.read_log(log_of(tmp_path / "log", rows)))
    assert latency == pytest.approx(0.003)
    assert cells["model", "cpu"] == pytest.approx(0.001)
    assert sum(cells.values()) == pytest.approx(0.001)


def cell(off, plus_minus=0.0, state="wait"):
    found = 0.5 + off
    return truth.Compared(("model", state), 0.5, found, found - plus_minus, found + plus_minus)


@pytest.mark.parametrize(("cells", "left", "status"), [
    ([cell(0.02), cell(-0.029)], 0.04, "holds"),
    ([cell(0.04)], 0.0, "violated"),
    ([cell(0.04, 0.02)], 0.0, "inconclusive"),     # its interval reaches into the limit
    ([cell(0.04, 0.02), cell(-0.2)], 0.0, "violated"),
    ([cell(0.2, state="starved")], 0.0, "holds"),  # others took the CPU: shown, not judged
    ([], -0.06, "violated"),
])  # fmt: skip
def test_judgement_of_cells(cells, left, status):
    result = truth.Result(0.01, 0.01, tuple(cells), exact(left), "")
    assert truth.judged(result, 0.05) == status


def test_slices_of_a_cycle_are_balanced_and_ordered_by_chance():
    orders = arms.orders(50, seed=1)
    assert {tuple(cycle) for cycle in orders} == {(True, False, False, True), (False, True, True, False)}


def test_overhead_is_taken_within_cycles_so_that_drift_cancels():
    cycles = [([1.01 * speed] * 3, [speed] * 3) for speed in (1.0, 2.0, 4.0, 8.0)]
    found = arms.overhead(cycles)
    assert found.value == pytest.approx(0.01)
    assert found.high - found.low == pytest.approx(0.0, abs=1e-9)


def test_rows_are_sorted_into_cycles_and_arms():
    flags = [arms.WARM, arms.ON | 2, arms.OFF, arms.OFF, arms.ON]
    rows = np.array([[i, 0, 1_000_000_000 * (i + 1), flag] for i, flag in enumerate(flags)], dtype=np.int64)
    assert arms.by_cycle(rows, [3, 5]) == [([2.0], [3.0]), ([5.0], [4.0])]


def test_the_crossover_is_where_a_run_costs_as_much_as_its_items():
    assert gains.crossover((0.0064, 0.512 * 0.8)) == pytest.approx(8.0)


@pytest.mark.parametrize(("crossover", "batches"), [
    (8.0, {1: "M101", 4: "M101", 8: None, 16: "C101", 512: "C101"}),
    (1.2, {1: "M101", 3: "C101", 512: "C101"}),
    (400.0, {1: "M101", 200: "M101", 400: None, 512: "C101"}),
])  # fmt: skip
def test_cases_around_the_crossover(crossover, batches):
    assert {case.batch: case.cause for case in cases.around_crossover(crossover)} == batches


@pytest.mark.parametrize(("kind", "measured", "inside"), [
    ("estimate", 2.0, True), ("estimate", 1.4, False), ("estimate", 2.6, False),
    ("bound", 1.4, True), ("bound", 2.6, False),
])  # fmt: skip
def test_a_bound_is_kept_from_above_only(kind, measured, inside):
    change = Change("more-threads", "C107", "2 threads", kind, ())
    foreseen = Prediction(change, exact(1.0), exact(0.5), Quantity(2.0, 1.5, 2.5, 9))
    gain = gains.Gain(gains.doings()[0], foreseen, measured, disturbed=False)
    assert gain.inside is inside
    assert gain.error == pytest.approx(abs(np.log(2.0 / measured)))


def test_renaming_changes_every_inner_name_and_nothing_else():
    source = models.networks().conv3x3(2, channels=2, size=4)
    kinds, weights = [node.op_type for node in source.graph.node], len(source.graph.initializer)
    names = {name for node in source.graph.node for name in (node.name, *node.output)}
    other = models.renamed(source)
    models.networks().onnx.checker.check_model(other, full_check=True)
    assert [node.op_type for node in other.graph.node] == kinds
    assert len(other.graph.initializer) == weights
    assert {name for node in other.graph.node for name in (node.name, *node.output)} & names == {"y"}


def test_a_synthetic_run_is_thinned_as_the_recorder_thins():
    observed = million.observed_of(200_000, np.random.default_rng(0))
    assert observed[:40_000].mean() == pytest.approx(0.5, abs=0.02)
    assert observed[40_000:120_000].mean() == pytest.approx(0.25, abs=0.02)
    run = million.run_of(1_000)
    assert len(run.probes.index) == np.count_nonzero(run.requests.observed)
    assert len(run.spans.index) == 3 * len(run.probes.index)
    assert np.all(run.spans.end_ns >= run.spans.begin_ns)


def test_a_report_fits_eighty_columns_and_lists_what_does_not_hold():
    claims = (
        Claim("a", "3 %", "1 %", "holds"),
        Claim("b " * 60, "3 %", "9 %", "violated"),
        Claim("c", "", "no root", "skipped"),
    )
    table = Table(("name", "value"), (("first", "1"), ("second", "22")))
    made = Report("x", "X: a title", (table,), claims, {}, 3.2)
    lines = report.text(made).splitlines()
    assert max(map(len, lines)) <= report.WIDTH
    assert lines[2:5] == ["name    value", "first       1", "second     22"]
    assert "1 hold, 1 violated, 1 skipped" in lines
    assert any(line.startswith("VIOLATED: b") for line in lines)
    assert made.violated
