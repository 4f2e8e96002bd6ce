"""True: the ledger's cells against what the targets of pipelines.py know of themselves, by other clocks than the tool's.

Each cell (stage and state) of cpu, wait and disk must lie within 3 % of the latency of the truth, and 5 % may be
unexplained; 10 % on the demo, where no truth is known. Page faults are a cell of their own in the ledger and computing in
the truth, so `memory` counts as `cpu` here.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import stopwatch, throttle
from bench.models import demo_model
from bench.noise import Noise, Status, Tried, tried
from bench.report import REPOSITORY, Claim, Json, Report, Table, milliseconds, percent, signed
from bench.settings import Settings
from bench.tool import ToolFailed, diagnose, scratch
from pinchpoint.domain.ledger import Row
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.verdict import Diagnosis

Cell = tuple[str, str]

CELL_OFF, UNEXPLAINED, UNEXPLAINED_DEMO = 0.03, 0.05, 0.10  # of the latency: what the project promises
JUDGED = ("cpu", "wait", "disk")
MIDDLE = (0.25, 0.75)  # the requests that the ledger calls typical (docs/design.md, section 1)
WARM_UP = 0.05  # of the target's rows: its own cut, which does not follow the tool's
PIPELINES = ("loop", "sleeps", "short", "lock", "disk", "mixed", "nested", "coroutine", "pool")
DEMO = ("bert_base", "resnet50", "image_classifier")
HEADINGS = ("pipeline", "ms", "true ms", "cpu off", "wait off", "disk off", "unexpl.", "noise", "status")
FEW_PER_S = {"disk": 1.5}  # of the budget: a request takes over 100 ms


def typical(diagnosis: Diagnosis) -> list[Row]:
    """The cells of typical requests."""
    return [row for row in diagnosis.ledger if row.question == "latency"]


@dataclass(frozen=True, slots=True)
class Compared:
    """A cell: its share of the latency in truth, and in the ledger with its interval."""

    cell: Cell
    truth: float
    found: float
    low: float
    high: float

    @property
    def off(self) -> float:
        """How far the ledger is off, as a share of the latency."""
        return self.found - self.truth


@dataclass(frozen=True, slots=True)
class Result:
    """A pipeline's ledger beside its truth; no cells where no truth is known."""

    latency_s: float
    true_latency_s: float | None
    cells: tuple[Compared, ...]
    unexplained: Quantity
    verdict: str


def run(settings: Settings) -> Report:
    """Diagnose every pipeline and compare."""
    began = time.monotonic()
    rows, claims, figures = [], [], {}
    for name in (each for each in (*PIPELINES, *DEMO) if settings.wants(each)):
        settings.progress(f"truth: {name}")
        reason = throttle.missing() if name == "disk" else None
        if reason:
            claims.append(Claim(name, "", reason, "skipped"))
            continue
        limit = UNEXPLAINED_DEMO if name in DEMO else UNEXPLAINED
        try:
            found = tried(partial(measured, name, settings), partial(judged, unexplained=limit), settings.retries)
        except ToolFailed as error:
            claims.append(Claim(name, "a diagnosis", str(error), "violated"))
            continue
        rows.append(_row(name, found))
        claims.append(Claim(name, _limit_text(found.value, limit), _found_text(found.value), found.status))
        figures[name] = _figures(found)
    table = Table(HEADINGS, tuple(rows))
    title = "TRUE: cells against the target's own clocks, as shares of its latency (largest miss)"
    return Report("truth", title, (table,), tuple(claims), figures, time.monotonic() - began)


def measured(name: str, settings: Settings) -> Result:
    """Diagnose one pipeline, and read its own log."""
    if name in DEMO:
        return compared(diagnose(_demo_target(name), settings.budget_s), {}, None)
    with scratch() as folder, _environment(name, folder / "log") as log:
        target, budget_s = f"bench.pipelines:{name}", settings.budget_s * FEW_PER_S.get(name, 1.0)
        return compared(diagnose(target, budget_s), *truth_of(read_log(log)))


def _demo_target(name: str) -> str:
    if name == "image_classifier":
        return f"{REPOSITORY / 'examples' / 'image_classifier.py'}:handle"
    return str(demo_model(name))


@contextlib.contextmanager
def _environment(name: str, log: Path) -> Iterator[Path]:
    """The log that the pipeline writes, and its throttled device where it needs one, named in the environment."""
    with log.open("wb") as file:
        file.truncate(stopwatch.LOG_BYTES)
    with contextlib.ExitStack() as stack:
        variables = {stopwatch.LOG_VARIABLE: str(log)}
        if name == "disk":
            slow = stack.enter_context(throttle.throttled())
            variables |= {stopwatch.DEVICE_VARIABLE: str(slow.device), stopwatch.GROUP_VARIABLE: str(slow.group)}
        os.environ |= variables
        stack.callback(lambda: [os.environ.pop(key, None) for key in variables])
        yield log


def read_log(path: Path) -> npt.NDArray[np.float64]:
    """The target's rows in seconds: the latency of each request, then its cells."""
    words = np.fromfile(path, dtype=np.int64)
    columns = stopwatch.ROW.size // words.itemsize
    seconds: npt.NDArray[np.float64] = words[1 : 1 + int(words[0]) * columns].reshape(-1, columns) / 1e9
    return seconds


def truth_of(rows: npt.NDArray[np.float64]) -> tuple[dict[Cell, float], float]:
    """Mean seconds of each cell, and the mean latency, over the middle half of the requests after the warm-up."""
    kept = rows[max(1, int(len(rows) * WARM_UP)) :]
    low, high = np.quantile(kept[:, 0], MIDDLE)
    means = kept[(kept[:, 0] >= low) & (kept[:, 0] <= high)].mean(axis=0)
    return {cell: float(mean) for cell, mean in zip(stopwatch.CELLS, means[1:], strict=True)}, float(means[0])


def compared(diagnosis: Diagnosis, truth: Mapping[Cell, float], true_latency_s: float | None) -> Result:
    """The ledger's cells beside the truth, each as a share of its own latency."""
    sums: dict[Cell, list[float]] = {}
    latency = sum(row.seconds.value for row in typical(diagnosis))
    for row in typical(diagnosis):
        if row.state != "unexplained":
            ends = sums.setdefault((row.stage, "cpu" if row.state == "memory" else row.state), [0.0, 0.0, 0.0])
            for at, value in enumerate((row.seconds.value, row.seconds.low, row.seconds.high)):
                ends[at] += value / latency
    known = {cell: seconds / true_latency_s for cell, seconds in truth.items()} if true_latency_s else {}
    cells = tuple(
        Compared(cell, known.get(cell, 0.0), *sums.get(cell, [0.0, 0.0, 0.0]))
        for cell in sorted({c for c, share in known.items() if share} | (set(sums) if known else set()))
    )
    said = diagnosis.verdicts["latency"]
    return Result(latency, true_latency_s, cells, _unexplained(diagnosis, latency), f"{said.cause or said.bound}")


def _unexplained(diagnosis: Diagnosis, latency: float) -> Quantity:
    rows = [row.seconds for row in typical(diagnosis) if row.state == "unexplained"]
    ends = [sum(getattr(q, end) for q in rows) / latency for end in ("value", "low", "high")]
    return Quantity(ends[0], min(ends[:2]), max(ends[0], ends[2]), min((q.n for q in rows), default=0))


def judged(result: Result, unexplained: float) -> Status:
    """Holds where every value is within its limit; violated where an interval lies beyond it; else it is too wide."""
    tests = [(c.off, c.low - c.truth, c.high - c.truth, CELL_OFF) for c in result.cells if c.cell[1] in JUDGED]
    left = result.unexplained
    tests.append((left.value, left.low, left.high, unexplained))
    if all(abs(value) <= limit for value, _, _, limit in tests):
        return "holds"
    return "violated" if any(low > limit or high < -limit for _, low, high, limit in tests) else "inconclusive"


def worst(result: Result, state: str) -> Compared | None:
    """The cell of a state that is furthest off."""
    return max((c for c in result.cells if c.cell[1] == state), key=lambda c: abs(c.off), default=None)


def _row(name: str, found: Tried[Result]) -> tuple[str, ...]:
    result = found.value
    misses = [worst(result, state) for state in JUDGED]
    true = "-" if result.true_latency_s is None else milliseconds(result.true_latency_s)
    offs = ("-" if miss is None else signed(miss.off) for miss in misses)
    left = signed(result.unexplained.value)
    return (name, milliseconds(result.latency_s), true, *offs, left, noise_text(found.noise), found.status)


def noise_text(noise: Noise) -> str:
    """The noise as one figure."""
    return percent(noise.share, 0)


def _limit_text(result: Result, unexplained: float) -> str:
    return (f"cells {percent(CELL_OFF, 0)}, " if result.cells else "") + f"unexplained {percent(unexplained, 0)}"


def _found_text(result: Result) -> str:
    misses = [c for c in result.cells if c.cell[1] in JUDGED and abs(c.off) > CELL_OFF]
    words = [f"{stage} {state} {signed(c.off)}" for c in misses for stage, state in [c.cell]]
    return ", ".join([*words, f"unexplained {signed(result.unexplained.value)}"])


def _figures(found: Tried[Result]) -> Json:
    result = found.value
    left = result.unexplained
    return {
        "status": found.status, "trials": found.trials, "foreign_cpu": found.noise.foreign, "steal": found.noise.steal,
        "latency_s": result.latency_s, "true_latency_s": result.true_latency_s, "verdict": result.verdict,
        "unexplained": [left.value, left.low, left.high],
        "cells": [
            {"stage": c.cell[0], "state": c.cell[1], "truth": c.truth, "found": c.found, "low": c.low, "high": c.high}
            for c in result.cells
        ],
    }  # fmt: skip
