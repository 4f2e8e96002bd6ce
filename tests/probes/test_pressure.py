"""Stall totals in seconds."""

from __future__ import annotations

import pytest

from pinchpoint.probes.pressure import PressureProbe

from .trees import PRESSURE, plant


def read(root):
    probe = PressureProbe(root)
    probe.open(7)
    values = probe.read()
    probe.close()
    return values


def test_what_is_counted(tmp_path):
    assert read(plant(tmp_path, PRESSURE)) == pytest.approx(
        {
            "cpu_some_s": 4.963368, "cpu_full_s": 0, "memory_some_s": 7e-6, "memory_full_s": 5e-6,
            "io_some_s": 2, "io_full_s": 1,
        }
    )  # fmt: skip


def test_an_older_kernel_has_no_full_line_for_the_cpu(tmp_path):
    root = plant(tmp_path, {"proc/pressure/cpu": PRESSURE["proc/pressure/cpu"].splitlines()[0] + "\n"})
    assert set(read(root)) == {"cpu_some_s"}


def test_a_kernel_without_it(tmp_path):
    with pytest.raises(OSError, match="no pressure stall information"):
        PressureProbe(tmp_path).open(7)
