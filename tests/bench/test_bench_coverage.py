"""The simulated queues have the means that theory gives them, and a cell is judged by its limits."""

import numpy as np
import pytest
from bench.coverage import Cell

from bench import coverage
from bench import simulated_runs as queues


@pytest.mark.parametrize(("name", "mean"), [
    ("exponential", 1.0), ("two points", 1.0), ("M/M/1 50 %", 2.0), ("M/D/1 50 %", 1.5), ("M/M/1 80 %", 5.0),
    ("M/2pt/1 50 %", 1 + 0.5 * 3.25 / (2 * 0.5)),  # Pollaczek & Khinchine: 1 + load * E[S^2] / (2 * (1 - load))
    ("M/E2/1 80 %", 1 + 0.8 * 1.5 / (2 * 0.2)), ("M/M/2 80 %", 1 / (1 - 0.8**2)), ("closed, 8", 8.0), ("closed, 32", 32.0),
])  # fmt: skip
def test_the_mean_of_a_queue(name, mean):
    series = next(each for each in (*queues.DESIGN, *queues.EVALUATION, *queues.HELD_OUT) if each.name == name)
    runs = series.drawn(np.random.default_rng(1), 200, 4000)
    assert runs.latency_s.shape == (200, 4000)
    error = runs.latency_s.mean(axis=1).std() / 200**0.5
    assert runs.latency_s.mean() == pytest.approx(mean, abs=4 * error)


@pytest.mark.parametrize("name", ["M/M/1 50 %", "M/M/2 80 %", "bursts/M/1 60 %"])
def test_what_arrives_is_done(name):
    load = {"M/M/1 50 %": 0.5, "M/M/2 80 %": 1.6, "bursts/M/1 60 %": 0.6}[name]
    series = next(each for each in (*queues.DESIGN, *queues.EVALUATION) if each.name == name)
    done = series.drawn(np.random.default_rng(2), 100, 4000).done_s
    assert 3999 / np.ptp(done, axis=1).mean() == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize(("answered", "covered", "status"), [
    (1.0, 0.95, "holds"), (1.0, 0.921, "holds"), (1.0, 0.915, "inconclusive"), (1.0, 0.88, "violated"),
    (1.0, 0.995, "violated"), (0.6, 0.95, "holds"),
    (0.1, 0.50, "holds"),     # few are answered: the wrong ones are a twentieth of all
    (0.4, 0.50, "violated"),
    (0.0, 1.0, "holds"),
])  # fmt: skip
def test_a_cell_is_judged(answered, covered, status):
    assert coverage.status_of(Cell(answered, covered)) == status


def test_a_cell_counts_answers_only():
    cell = coverage.cell_of([(0.0, 2.0), None, (2.0, 3.0), (0.5, 1.5)], 1.0)
    assert (cell.answered, cell.covered, cell.wrong) == (0.75, pytest.approx(2 / 3), pytest.approx(0.25))


@pytest.mark.parametrize(("covered", "status"), [(0.995, "holds"), (1.0, "holds"), (0.88, "violated")])
def test_a_quantile_that_many_requests_have_has_no_upper_limit(covered, status):
    assert coverage.status_of(Cell(1.0, covered, atom=True)) == status


def test_the_law_is_the_truth_and_tells_an_atom():
    """Half of the requests of M/D/1 at half load take 1, which is their median: the smallest answer that half do not exceed."""
    series = next(each for each in queues.DESIGN if each.name == "M/D/1 50 %")
    latency = series.drawn(np.random.default_rng(3), 50, 2000).latency_s
    assert series.law(0.5) == 1.0
    assert np.mean(latency == 1.0) == pytest.approx(0.5, abs=0.02)
    found = {(2000, "p50"): [(1.0, 1.0)] * 50, (2000, "p90"): [(2.0, 3.0)] * 50}
    part = (found, latency.astype(np.float32).ravel(), 1.5, 0.5)
    ((_, cells),) = coverage.judged((2000,), [part], series.law)
    assert (cells["p50"].atom, cells["p50"].covered) == (True, 1.0)
    assert (cells["p90"].atom, cells["p90"].covered) == (False, 1.0)


@pytest.mark.parametrize("series", [each for each in queues.DESIGN if each.law], ids=lambda each: each.name)
def test_the_laws_are_those_of_the_queues(series):
    latency = series.drawn(np.random.default_rng(4), 200, 4000).latency_s
    for q in (0.5, 0.9):
        below = (latency < series.law(q)).mean(axis=1)
        error = below.std() / 200**0.5
        assert below.mean() <= q + 4 * error
        assert (latency <= series.law(q)).mean() >= q - 4 * error
