"""The plants stand up, answer one request, and leave nothing behind. What they measure is bench/plants/verify.py's matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from bench.plants import PLANTS, Plant
from bench.plants.cgroups import NAMED
from bench.plants.contract import BOUNDS, Prepare
from bench.plants.disks import needs_slow_disk
from bench.plants.families.shared import matmuls, quotas
from bench.plants.preparing import APPS, app, disk, little_memory, quota, with_constants
from bench.plants.swap import needs_swap

FAMILIES = [
    "C101",
    "C102",
    "C103",
    "C104",
    "C105",
    "C106",
    "C107",
    "C108",
    "C109",
    "C110",
    "C111",
    "C112",
    "C114",
    "C116",
    "M101",
    "M102",
    "M103",
    "M104",
    "M105",
    "M106",
    "M107",
    "I101",
    "I105",
    "I106",
    "W104",
    "W108",
    "W110",
    "V102",
    "V105",
]
BESIDE = {"C110", "C117", "M105"}  # findings that are no verdict on a request's time
SLOW_ONLY = {"W108"}  # what may make slow requests slow, and leave typical ones as they are
PROBE = Path(__file__).parents[2] / "bench" / "plants" / "probe.py"


def left_behind(folder: Path) -> list[str]:
    """Groups, loop devices, mounts, swap and processes of ours that are still there."""
    found = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{NAMED}-{os.getpid()}-*")]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    found += [str(path) for path in Path("/dev/shm").glob("pinchpoint-plant-*") if path.stat().st_size]
    return found + [f"{child.pid} {child.name()}" for child in psutil.Process().children(recursive=True)]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_its_three_roles_in_both_halves(family: str) -> None:
    roles = {(plant.half, plant.role) for plant in PLANTS if plant.family == family}
    assert roles == {(half, role) for half in ("develop", "test") for role in ("fault", "healthy", "lookalike")}


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_expectations_do_not_contradict_themselves(plant: Plant) -> None:
    expect = plant.expect
    assert not expect.causes & expect.absent
    assert expect.bounds == {BOUNDS[cause[0]] for cause in expect.causes}
    if plant.family[0] == "V" or plant.family in BESIDE:
        assert (plant.family in expect.present) == (plant.role == "fault")
    elif plant.role == "fault":
        assert expect.causes == {plant.family} or plant.family in expect.present & SLOW_ONLY
    if plant.role != "fault":
        assert plant.family in expect.absent
    assert plant.why


def test_names_are_unique() -> None:
    assert len({plant.name for plant in PLANTS}) == len(PLANTS)


def test_a_constant_that_the_app_lacks_is_an_error() -> None:
    source = (APPS / "flaky.py").read_text()
    assert "BROKEN = 0  # of 20" in with_constants(source, {"BROKEN": 0})
    with pytest.raises(KeyError):
        with_constants(source, {"NOT_THERE": 1})


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_plant_answers_and_leaves_nothing(plant: Plant, tmp_path: Path) -> None:
    if (reason := plant.needs()) is not None:
        pytest.skip(reason)
    with plant.prepare(tmp_path) as ready:
        answered(ready.wrapper, ready.target, ready.options)
    assert left_behind(tmp_path) == []


SMALL = {
    "plain": (app("flaky", network=matmuls(1, 512)), lambda: None),
    "quota": (app("profiles", quota(0.5), PROFILES=300, FRIENDS=3), quotas),
    "disk": (
        app("audit_log", disk("LOG", "audit.log", 16, write_iops=1000), network=matmuls(1, 1024)),
        needs_slow_disk,
    ),
    "memory": (app("profiles", little_memory(300, 64), PROFILES=300, FRIENDS=3), needs_swap),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_surrounding_stands_up_and_is_taken_down_also_on_errors(name: str, tmp_path: Path) -> None:
    prepare, needs = SMALL[name]
    if (reason := needs()) is not None:
        pytest.skip(reason)
    with pytest.raises(RuntimeError, match="on purpose"):
        answer_and_fail(prepare, tmp_path)
    assert left_behind(tmp_path) == []


def answer_and_fail(prepare: Prepare, folder: Path) -> None:
    """An error while the plant stands."""
    with prepare(folder) as ready:
        answered(ready.wrapper, ready.target, ready.options)
        raise RuntimeError("on purpose")


def answered(wrapper: tuple[str, ...], target: str, options: tuple[str, ...]) -> None:
    """At least one request of the target was answered under the probe."""
    command = [*wrapper, sys.executable, str(PROBE), "0.01", target, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.strip().splitlines()[-1])["count"] >= 1
