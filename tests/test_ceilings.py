"""Ceilings: arithmetic on timed runs, the cache, and the recheck; with a runtime of known speed."""

from __future__ import annotations

import pytest

from pinchpoint import calibration, ceilings
from pinchpoint.domain.quantity import exact
from pinchpoint.domain.run import Ceiling, Environment


class Runtime:
    """Runs every micro-model at 100 GFLOP/s and 10 GB/s, 1 us a dispatch, 10 us a run, 5 us a profiler event."""

    name = "known"

    def __init__(self, slower=1.0):
        self.slower, self.asked = slower, []

    def times(self, model, feeds, threads, seconds, most):
        self.asked.append(model.stem)
        return [self.seconds(model.stem) * self.slower] * 20

    def profiled(self, model, feeds, threads, seconds, most):
        return [self.seconds(model.stem) + 600 * 5e-6] * 20, 600

    def seconds(self, name):
        known = {"gemm": 2 * 1024**3 / 100e9, "conv": 18 * 64**2 * 112**2 / 90e9, "gemm8": 2 * 1024**3 / 400e9}
        known |= {
            "short": 110e-6,
            "long": 610e-6,
            "longest": 610e-6 + 3400 * 1.25e-6,
            "far": ceilings.LOOKUPS * 70e-9,
            "near": ceilings.SMALL_LOOKUPS * 10e-9,
        }
        if name in known:
            return known[name]
        size = int("".join(c for c in name if c.isdigit()) or ceilings.RECHECKED)
        return size / 10e9 + (10e-6 if name != "reduce" else 0)


@pytest.fixture
def found(monkeypatch):
    monkeypatch.setattr(
        ceilings.micromodels, "write", lambda folder, name, made: (folder / f"{name}.onnx", folder / "x")
    )
    monkeypatch.setattr(ceilings.micromodels, "matmul", lambda *a, **k: None)
    monkeypatch.setattr(ceilings.micromodels, "lookup", lambda *a, **k: None)
    monkeypatch.setattr(ceilings.micromodels, "addition", lambda *a, **k: None)
    monkeypatch.setattr(ceilings.micromodels, "reduction", lambda *a, **k: None)
    return ceilings.measure(Runtime(), (1,))


def value(rows, name, dtype=None, footprint=None):
    """The named ceiling's value."""
    return next(
        c.value.value
        for c in rows
        if c.name == name and dtype in (None, c.dtype) and footprint in (None, c.footprint_bytes)
    )


def test_rates_and_costs_are_those_of_the_runtime(found):
    assert value(found, "flops_per_s", "float32") == pytest.approx(100e9)  # the faster of the two
    assert value(found, "flops_per_s", "int8") == pytest.approx(400e9)
    assert value(found, "dispatch_s") == pytest.approx(1e-6)
    assert value(found, "dispatch_further_s") == pytest.approx(1.25e-6)
    assert value(found, "run_s") == pytest.approx(10e-6)
    assert value(found, "event_s") == pytest.approx(5e-6)
    assert value(found, "far_row_s") == pytest.approx(70e-9)
    for size in ceilings.READ_FOOTPRINTS:
        assert value(found, "read_bytes_per_s", footprint=size) == pytest.approx(
            10e9, rel=1e-6
        )  # without the run's own cost


def test_a_slower_day_scales_and_widens(found, monkeypatch):
    now = ceilings.recheck(Runtime(slower=2.0), found, 1)
    assert value(now, "flops_per_s", "float32") == pytest.approx(50e9)
    assert value(now, "triad_bytes_per_s") == pytest.approx(value(found, "triad_bytes_per_s") / 2, rel=0.01)
    peak = next(c.value for c in now if c.name == "flops_per_s" and c.dtype == "float32")
    assert peak.low <= peak.value < 100e9 <= peak.high
    assert value(now, "dispatch_s") == value(found, "dispatch_s")


def test_the_cache_measures_only_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []

    def measured(threads):
        asked.append(list(threads))
        return tuple(Ceiling("flops_per_s", exact(1e9 * t), "FLOP/s", "known", t, "float32") for t in threads)

    key = {"cpu": "x"}
    ceilings.cached(key, (1,), measured)
    ceilings.cached(key, (1, 2), measured)
    ceilings.cached(key, (1, 2), measured)
    ceilings.cached({"cpu": "y"}, (1,), measured)
    next(iter((tmp_path / "pinchpoint").glob("*.json"))).write_text("damaged")
    assert asked == [[1], [2], [1]]
    ceilings.cached(key, (1,), measured, fresh=True)
    assert asked[-1] == [1]


def test_page_faults():
    rows = ceilings.page_faults([2e-6, 1e-6, 3e-6], [])
    assert [(c.name, c.value.value) for c in rows] == [("fault_s", 2e-6)]


def test_the_disk_is_measured_and_cleaned_up(tmp_path):
    rows = ceilings.measure_disk(tmp_path)
    assert rows[0].value.value > 0
    assert not list(tmp_path.iterdir())
    assert ceilings.measure_disk(tmp_path / "absent") == ()


def test_numpys_ceilings_count_what_its_kernels_do():
    def times(kernel, elements):
        touched = {"product": 2 * elements**1.5 / 50e9, "read": 4 * elements / 8e9, "add": 12 * elements / 6e9}
        return [touched[kernel]] * 9

    rows = ceilings.measure_numpy(times, 2)
    assert {c.runtime for c in rows} == {"numpy"}
    assert value(rows, "flops_per_s", "float32") == pytest.approx(50e9)
    assert value(rows, "read_bytes_per_s", footprint=ceilings.RECHECKED) == pytest.approx(8e9)
    assert value(rows, "triad_bytes_per_s", footprint=ceilings.TRIAD_FOOTPRINTS[0]) == pytest.approx(6e9, rel=1e-3)


def test_an_interpreter_without_the_runtime_is_measured_with_numpy(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told = []
    here = Environment(cpu_model="c", cpus=1, affinity=1, quota_cpus=None, memory_limit_bytes=None, kernel="k",
                       virtualized=False)  # fmt: skip
    rows, spent = calibration.of_machine(None, here, (), told.append)
    assert {c.runtime for c in rows} == {"numpy"}
    assert all(c.value.low > 0 for c in rows)
    assert (spent > 0, told) == (True, ["calibrating numpy"])
    again, spent = calibration.of_machine(None, here, (), told.append)
    assert (again, spent, told) == (rows, 0.0, ["calibrating numpy"])
