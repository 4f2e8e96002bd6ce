"""Seconds of the target's own CPUs, not of all."""

from __future__ import annotations

import os

import pytest

from pinchpoint.probes.host import HostProbe

from .trees import HOST, plant, status_text

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def read(root):
    probe = HostProbe(root)
    probe.open(7)
    values = probe.read()
    probe.close()
    return values


def test_what_is_counted(tmp_path):
    assert read(plant(tmp_path, HOST)) == pytest.approx(
        {
            "busy_s": (1000 + 20 + 300 + 5 + 13 + 2000 + 400 + 22) * TICK, "steal_s": 45 * TICK,
            "idle_s": (4039 + 5061) * TICK, "cpus": 2, "load_1min": 0.41,
            "swap_in_bytes": 3 * PAGE, "swap_out_bytes": 5 * PAGE,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("listed", "steal"), [("0", 21), ("1", 24), ("0-1", 45), ("0,2", 10020), ("0-2,700-900", 10044), ("1-1,2", 10023)]
)
def test_only_the_cpus_of_the_affinity(tmp_path, listed, steal):
    root = plant(tmp_path, HOST, {"proc/7/status": status_text(cpus=listed)})
    assert read(root)["steal_s"] == pytest.approx(steal * TICK)


@pytest.mark.parametrize("vmstat", ["nr_free_pages 1\n", ""])
def test_no_swap_is_absent_and_not_zero(tmp_path, vmstat):
    assert "swap_in_bytes" not in read(plant(tmp_path, HOST, {"proc/vmstat": vmstat}))


def test_swap_far_behind_in_a_long_file(tmp_path):
    root = plant(tmp_path, HOST, {"proc/vmstat": "nr_x 1\n" * 20_000 + HOST["proc/vmstat"]})
    assert read(root)["swap_out_bytes"] == 5 * PAGE


@pytest.mark.parametrize(
    ("tree", "word"),
    [
        ({}, "/proc/stat cannot be read"),
        ({**HOST, "proc/7/status": "Name:\tx\n"}, "affinity is not visible"),
        ({**HOST, "proc/7/status": status_text(cpus="5")}, "does not list"),
    ],
)
def test_what_cannot_be_seen_says_why(tmp_path, tree, word):
    with pytest.raises(OSError, match=word):
        HostProbe(plant(tmp_path, tree)).open(7)
