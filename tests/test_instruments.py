"""Independent instruments: a run in which they agree, and runs in which one of them is wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pinchpoint import api
from pinchpoint.contracts import Tables
from pinchpoint.domain.aside import Asides, Mark
from pinchpoint.domain.run import Telemetry
from pinchpoint.inquire import inquire
from pinchpoint.ledger import latency_ledger
from pinchpoint.limits import shipped
from pinchpoint.plugins import builtin
from pinchpoint.signals.instruments import clocks, counts, group
from pinchpoint.signals.measurement import disturbed
from synthetic import Script, marked, run_of

SECOND = 1_000_000_000


def run_with(*, cpus=0.9, outside=0.9, of_group=1.0, lost=0, foreign=0.0, starved=0, columns=()):
    """Six seconds of requests: CPUs by the process's own clock, by /proc and by its group, and what others used."""
    work = 2000 - starved
    run = run_of(Script([marked("preprocess", 2000, cpu=work, starved=starved)], requests=3000))
    t = SECOND + np.arange(0, 30, dtype=np.int64) * 200_000_000
    seconds = (t - SECOND) / SECOND
    series = {
        "cgroup.cpu_s": of_group * seconds,
        "host.busy_s": (outside + foreign) * seconds,
        "host.steal_s": 0.0 * seconds,
        "process.cpu_s": np.floor(outside * seconds * 100) / 100,
        "tool.cpu_s": 0.0 * seconds,
    }
    kept = tuple((name, values) for name, values in series.items() if not columns or name in columns)
    marks = [Mark(SECOND + i * SECOND // 2, i * 250, int(cpus * i * SECOND / 2), 1 << 20, 1e-3) for i in range(13)]
    end = replace(marks[-1], served=3000 + lost)
    pairs = (*pairwise(marks[:-1]), (marks[-2], end))
    return replace(run, telemetry=Telemetry(t, kept), aside=Asides(stretches=pairs))


def diagnosed(run):
    return inquire(run, builtin(), shipped())


def status(found):
    return {f.code: f.status for f in found.findings}["V103"]


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, "absent"),
    ({"outside": 0.89, "cpus": 0.9}, "absent"),
    ({"outside": 0.45}, "present"),                   # the kernel's account tells half
    ({"cpus": 0.3, "outside": 0.9}, "present"),       # the process's own clock does
    ({"of_group": 0.4}, "present"),                   # a part above its whole
    ({"of_group": 1.9}, "absent"),                    # others of the group
    ({"lost": 900}, "present"),
    ({"cpus": 0.0, "outside": 0.0}, "absent"),        # nothing computed, nothing to contradict
    ({"columns": ("host.busy_s",)}, "absent"),        # counts still agree
])  # fmt: skip
def test_a_contradiction_is_found_and_ticks_are_none(changes, expected):
    assert status(diagnosed(run_with(**changes))) == expected


def test_a_contradiction_makes_the_run_invalid_and_says_which():
    found = diagnosed(run_with(outside=0.45))
    assert not found.valid
    (reason,) = [r for r in found.reasons if "contradict" in r]
    assert "/proc" in reason
    assert found.verdicts["latency"].cause == "C102"
    assert "contradict" in api.render(found)
    assert diagnosed(run_with()).valid


def test_a_part_is_compared_with_its_whole_only_where_both_are_known():
    run = run_with(columns=("host.busy_s",))
    tables = Tables(run, {})
    assert clocks.measure(tables) == "process.cpu_s could not be read"
    assert group.measure(tables) == "cgroup.cpu_s could not be read"
    assert counts.measure(tables).value == 0.0
    assert isinstance(counts.measure(Tables(replace(run, ended="it died"), {})), str)
    assert isinstance(clocks.measure(Tables(replace(run, aside=Asides()), {})), str)


def noise(starved, foreign):
    """A run that waited for a CPU for `starved` of its time while others had `foreign` CPUs."""
    return run_with(starved=starved, foreign=foreign, outside=0.9)


def test_a_noisy_machine_spoils_what_it_disturbs():
    found = diagnosed(noise(700, 0.8))  # a third of each request, and preprocessing is still the largest part
    assert found.verdicts["latency"].cause == "C102"
    assert not found.valid
    assert any("noisy" in reason for reason in found.reasons)


def test_a_neighbour_who_takes_most_is_the_answer():
    found = diagnosed(noise(1500, 1.0))
    assert disturbed.measure(Tables(noise(1500, 1.0), {"latency": latency_ledger(noise(1500, 1.0))})).value > 0.3
    assert found.valid == (found.verdicts["latency"].cause == "C109")


@pytest.mark.parametrize(("starved", "foreign"), [(0, 0.9), (60, 0.9), (700, 0.02)])
def test_noise_that_disturbs_nobody_spoils_nothing(starved, foreign):
    """Others on idle CPUs; a little waiting; waiting for the target's own threads."""
    assert not any("noisy" in reason for reason in diagnosed(noise(starved, foreign)).reasons)
