"""Quotas, limits and throttling as each layout of control groups shows them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pinchpoint.probes.cgroup import CgroupProbe, memory_limit_bytes, quota_cpus

from . import trees
from .trees import plant


@pytest.mark.parametrize(
    ("tree", "quota", "limit"),
    [
        (trees.V2, 1.5, 2_000_000),
        (trees.V2_NESTED, 1.0, 1_500_000),
        (trees.V2_FREE, None, None),
        (trees.V2_HOST, None, None),
        (trees.V2_NAMESPACED, 2.0, 4_000_000),
        (trees.V2_BOUND, 2.0, None),
        (trees.V2_MEMBER, 0.7, None),
        (trees.V2_ELSEWHERE, None, None),
        (trees.V1, 0.3, 2_000_000),
        (trees.V1_NAMESPACED, 2.5, 3_000_000),
        (trees.HYBRID, None, None),
        ({}, None, None),
        ({"proc/7/cgroup": "0::/a\n", "proc/self/mountinfo": "garbage\n1 2 3 - \n - cgroup2\n"}, None, None),
        ({"proc/7/cgroup": "no colons\n"}, None, None),
        ({**trees.V2, "sys/fs/cgroup/kube.slice/pod.slice/app/cpu.max": "100000 0\n"}, None, 2_000_000),
        ({**trees.V2, "sys/fs/cgroup/kube.slice/pod.slice/app/cpu.max": "\n"}, None, 2_000_000),
    ],
)
def test_the_tightest_quota_and_limit(tmp_path, tree, quota, limit):
    root = plant(tmp_path, tree)
    assert quota_cpus(7, root) == quota
    assert memory_limit_bytes(7, root) == limit


def read(root):
    probe = CgroupProbe(root)
    probe.open(7)
    with contextlib.closing(probe):
        return dict(probe.read())


@pytest.mark.parametrize(
    ("tree", "values"),
    [
        (trees.V2, {"nr_periods": 100, "nr_throttled": 40, "throttled_s": 3.0, "cpu_s": 2.5, "memory_bytes": 1000,
                    "memory_limit_bytes": 2_000_000, "memory_high_events": 3, "memory_max_events": 5, "oom_kills": 1}),
        (trees.V2_NESTED, {"nr_periods": 300, "nr_throttled": 11, "throttled_s": 0.75, "cpu_s": 2.5,
                           "memory_bytes": 1400, "memory_limit_bytes": 1_500_000, "memory_high_events": 3,
                           "memory_max_events": 5, "oom_kills": 1}),
        (trees.V2_FREE, {"nr_periods": 0, "nr_throttled": 0, "throttled_s": 0.0, "cpu_s": 2.5, "memory_bytes": 1000,
                         "memory_high_events": 3, "memory_max_events": 5, "oom_kills": 1}),
        (trees.V2_HOST, {"nr_periods": 0, "nr_throttled": 0, "throttled_s": 0.0}),
        (trees.V1, {"nr_periods": 20, "nr_throttled": 19, "throttled_s": 1.32, "cpu_s": 2.5, "memory_bytes": 1000,
                    "memory_limit_bytes": 2_000_000, "memory_max_events": 5, "oom_kills": 1}),
        (trees.V1_NAMESPACED, {"nr_periods": 0, "nr_throttled": 0, "throttled_s": 0.0, "cpu_s": 2.5,
                               "memory_bytes": 1000, "memory_limit_bytes": 3_000_000, "memory_max_events": 5,
                               "oom_kills": 1}),
        (trees.HYBRID, {"nr_periods": 0, "nr_throttled": 0, "throttled_s": 0.0, "memory_bytes": 1000,
                        "memory_max_events": 5, "oom_kills": 1}),
    ],
)  # fmt: skip
def test_what_is_counted(tmp_path, tree, values):
    assert read(plant(tmp_path, tree)) == pytest.approx(values)


@pytest.mark.parametrize(
    ("tree", "word"),
    [
        ({}, "cgroup cannot be read: No such file"),
        (trees.V2_ELSEWHERE, "not visible from here"),
        ({"proc/7/cgroup": "4:pids:/\n", "proc/self/mountinfo": ""}, "no control group has the controller cpu"),
    ],
)
def test_a_group_that_cannot_be_seen_says_why(tmp_path, tree, word):
    with pytest.raises(OSError, match=word):
        CgroupProbe(plant(tmp_path, tree)).open(7)


def test_one_controller_without_the_other(tmp_path):
    tree = {**trees.V1, "proc/7/cgroup": "4:memory:/docker/abc\n"}
    assert set(read(plant(tmp_path, tree))) == {"memory_bytes", "memory_limit_bytes", "memory_max_events", "oom_kills"}


def test_counts_move_while_the_files_stay_open(tmp_path):
    root = plant(tmp_path, trees.V2)
    probe = CgroupProbe(root)
    probe.open(7)
    stat = root / "sys/fs/cgroup/kube.slice/pod.slice/app/cpu.stat"
    stat.write_text("usage_usec 3000000\nnr_periods 110\nnr_throttled 50\nthrottled_usec 4000000\n")
    assert probe.read()["throttled_s"] == pytest.approx(4.0)
    probe.close()


@pytest.mark.slow
def test_a_real_quota_on_a_real_parent():
    """A quota of 30 % on the parent of the process's group: throttled in nearly each period."""
    one = Path("/sys/fs/cgroup/cpu/pinchpoint-test")
    two = Path("/sys/fs/cgroup/pinchpoint-test")
    top, name, quota = (one, "cpu.cfs_quota_us", "30000") if one.parent.is_dir() else (two, "cpu.max", "30000 100000")
    with contextlib.ExitStack() as undo:
        try:
            (top / "leaf").mkdir(parents=True)
            undo.callback(top.rmdir)
            undo.callback((top / "leaf").rmdir)
            (top / name).write_text(quota)
        except OSError as error:
            pytest.skip(f"control groups are not ours to make: {error.strerror}")
        hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        undo.callback(lambda: (hog.kill(), hog.wait(), time.sleep(0.2)))
        (top / "leaf" / "cgroup.procs").write_text(str(hog.pid))
        assert quota_cpus(hog.pid) == pytest.approx(0.3)
        probe = CgroupProbe()
        probe.open(hog.pid)
        undo.callback(probe.close)
        before = probe.read()
        time.sleep(1.5)
        after = probe.read()
        periods = after["nr_periods"] - before["nr_periods"]
        assert 12 <= periods <= 18
        assert after["nr_throttled"] - before["nr_throttled"] >= 0.7 * periods
        assert 0.5 < after["throttled_s"] - before["throttled_s"] < 1.4
