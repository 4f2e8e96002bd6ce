"""Quick: the help, the first verdict, and a run of a million requests."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import cases, million
from bench.noise import Status, Tried, tried
from bench.report import REPOSITORY, Claim, Json, Report, Table
from bench.settings import Settings
from bench.tool import ToolFailed, scratch
from bench.truth import noise_text

HELP_S, VERDICT_S, DERIVED_S = 0.3, 20.0, 20.0  # what the project promises
WHOLE_S = 40.0  # for the whole answer, of which nothing is promised but that it stays well within the usual budget
FIRST = "first verdict: "
ADDED_BYTES = 300e6
HELP_REPEATS = 7
FEW, MANY = 1_000, 1_000_000
DIAGNOSED = (0, 3)  # exit codes with a diagnosis
RECORD_BUDGET_S = "20"
MB = 1e6


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process took: seconds, peak resident bytes, exit code; and when it said its first verdict, if it did."""

    seconds: float
    peak_bytes: float
    code: int
    first_s: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be quick: how it is measured (a figure in the unit of the limit) and the limit."""

    name: str
    limit: float
    unit: str
    measure: partial[float]


def run(settings: Settings) -> Report:
    """Time and weigh everything, each in a process of its own."""
    began = time.monotonic()
    rows, claims, figures = [], [], {}
    with scratch() as folder:
        for check in (each for each in _checks(folder) if settings.wants(each.name)):
            settings.progress(f"quick: {check.name}")
            limit = f"{check.limit:g} {check.unit}"
            try:
                found = tried(check.measure, partial(within, check.limit), settings.retries)
            except ToolFailed as error:
                claims.append(Claim(check.name, limit, str(error), "violated"))
                continue
            said = f"{found.value:.3g} {check.unit}"
            rows.append((check.name, said, limit, noise_text(found.noise), found.status))
            claims.append(Claim(check.name, limit, said, found.status))
            figures[check.name] = _figures(found, check)
    table = Table(("", "found", "at most", "noise", "status"), tuple(rows))
    title = "QUICK: the help, the first verdict, and many requests (each in its own process)"
    return Report("quick", title, (table,), tuple(claims), figures, time.monotonic() - began)


def within(limit: float, found: float) -> Status:
    """Whether a figure is within its limit."""
    return "holds" if found <= limit else "violated"


def _checks(folder: Path) -> list[Check]:
    pipeline = f"{REPOSITORY / 'examples' / 'image_classifier.py'}:handle"
    conv = str(cases.file_of("conv3x3"))
    fast = "bench.workloads:nothing"
    return [
        Check("--help", HELP_S, "s", partial(help_seconds)),
        Check("first verdict, model", VERDICT_S, "s", partial(verdict_seconds, conv, folder)),
        Check("first verdict, pipeline", VERDICT_S, "s", partial(verdict_seconds, pipeline, folder)),
        Check("all answers, model", WHOLE_S, "s", partial(answered_seconds, conv, folder)),
        Check("all answers, pipeline", WHOLE_S, "s", partial(answered_seconds, pipeline, folder)),
        Check("a million requests derived", DERIVED_S, "s", partial(derived_seconds, folder)),
        Check("a million requests, memory added", ADDED_BYTES / MB, "MB", partial(added_mb, folder)),
        Check("a million recorded, memory added", ADDED_BYTES / MB, "MB", partial(recorded_mb, fast, folder)),
    ]


def help_seconds() -> float:
    """The median of several `pinchpoint --help`, the first of which only warms the disk's cache."""
    spent = [_pinchpoint("--help").seconds for _ in range(HELP_REPEATS + 1)]
    return statistics.median(spent[1:])


def verdict_seconds(target: str, folder: Path) -> float:
    """Until `pinchpoint diagnose TARGET`, as a beginner types it, says its first verdict; the ceilings are cached before."""
    _pinchpoint("diagnose", target, "--budget", "3", "--out", str(folder), expected=None)
    spent = _pinchpoint("diagnose", target, "--out", str(folder))
    if spent.first_s is None:
        raise ToolFailed("it said no first verdict")
    return spent.first_s


def answered_seconds(target: str, folder: Path) -> float:
    """The same until all four questions are answered and the page is written."""
    return _pinchpoint("diagnose", target, "--out", str(folder)).seconds


def derived_seconds(folder: Path) -> float:
    """Seconds in which the stored run of a million requests is diagnosed."""
    return _pinchpoint("diagnose", str(million.stored(folder, MANY))).seconds


def added_mb(folder: Path) -> float:
    """Peak memory of diagnosing a million requests less that of diagnosing a thousand."""
    peaks = [_pinchpoint("diagnose", str(million.stored(folder, count))).peak_bytes for count in (FEW, MANY)]
    return (peaks[1] - peaks[0]) / MB


def recorded_mb(target: str, folder: Path) -> float:
    """Peak memory of recording a target that does nothing, for each million of its requests, above a slow target's."""
    slow = "bench.workloads:sleep_5ms"
    small = _pinchpoint("record", slow, "--budget", "5", "--out", str(folder)).peak_bytes
    before = set(folder.iterdir())
    large = _pinchpoint("record", target, "--budget", RECORD_BUDGET_S, "--out", str(folder)).peak_bytes
    (made,) = set(folder.iterdir()) - before
    return (large - small) / MB / max(million.requests_in(made) / MANY, 1e-9)


def _pinchpoint(*arguments: str, expected: Sequence[int] | None = DIAGNOSED) -> Spent:
    """Run the command line in a process of its own; ToolFailed if it ends with a code that it should not."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "pinchpoint", *arguments],
        cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    first_s, last = None, ""
    for line in process.stderr:
        last = line.decode("utf-8", "replace").strip() or last
        if first_s is None and last.startswith(FIRST):
            first_s = time.perf_counter() - start
    _, status, usage = os.wait4(process.pid, 0)
    spent = Spent(time.perf_counter() - start, usage.ru_maxrss * 1024.0, os.waitstatus_to_exitcode(status), first_s)
    process.returncode = spent.code
    if expected is not None and spent.code not in expected:
        raise ToolFailed(f"pinchpoint {' '.join(arguments)} exited with {spent.code}: {last}"[:300])
    return spent


def _figures(found: Tried[float], check: Check) -> Json:
    assert math.isfinite(found.value)
    return {
        "status": found.status, "trials": found.trials, "foreign_cpu": found.noise.foreign, "steal": found.noise.steal,
        "found": found.value, "limit": check.limit, "unit": check.unit,
    }  # fmt: skip
