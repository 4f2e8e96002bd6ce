"""Capacity and tail: what a shared resource allows against what was reached, and remedies' predicted gains beside measured.

Ceilings are those of operational analysis from the measured demands; the truth beside them is the highest throughput that
the same program reaches, and its demand by construction.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.cases import cpus
from bench.noise import Status, Tried, tried
from bench.report import REPOSITORY, Claim, Json, Report, Table, signed
from bench.settings import Settings
from bench.tool import diagnose
from bench.truth import noise_text
from pinchpoint.domain.change import Prediction
from pinchpoint.domain.demand import Demand, Rung
from pinchpoint.domain.verdict import Diagnosis

WITHIN = 0.05  # of the measured throughput, or inside the ceiling's interval: what the project promises
BUDGETS = 2.5  # of the budget: half of it is for one request in flight
DRIVEN_S = 3.0
DRIVER = "import sys,time,importlib; f=getattr(importlib.import_module('bench.shared'),sys.argv[1]); f(); e=time.perf_counter()+float(sys.argv[2]); n=0\nwhile time.perf_counter()<e: f(); n+=1\nprint(n/float(sys.argv[2]))"


@dataclass(frozen=True, slots=True)
class Case:
    """A program of `bench.shared`, the bound and the cause that its capacity must have, and the resource that is full."""

    name: str
    bound: str
    causes: tuple[str | None, ...]
    resource: str


@dataclass(frozen=True, slots=True)
class Doing:
    """A remedy of a case and how its gain is measured."""

    case: str
    remedy: str
    how: str
    measure: Callable[[Diagnosis, Settings], float]


def cases() -> list[Case]:
    """Programs limited by what they share, and one that is not limited by its lock."""
    several = cpus() > 1
    return [
        Case("lock", "wait", ("W104",), "lock"),
        Case("two_locks", "wait", ("W104",), "lock"),
        Case("lock_and_native", "wait", ("W104",), "lock"),
        Case("interpreter", "wait" if several else "cpu", ("W101",) if several else (None,), "gil"),
        Case("interpreter_and_wait", "wait" if several else "cpu", ("W101",) if several else (None,), "gil"),
        Case("loop", "wait" if several else "cpu", ("W101",) if several else (None,), "gil"),
        Case("native", "cpu", (None, "C102", "C103"), "cpu"),
        Case("short_lock", "cpu", (None, "C102", "C103"), "cpu"),
    ]


def doings() -> list[Doing]:
    """Every remedy that is carried out."""
    return [
        Doing("lock", "split-lock", "a second lock", partial(_reached, "two_locks")),
        Doing("interpreter", "more-processes", f"{cpus()} processes", partial(_processes, "interpreter")),
        Doing("collected", "freeze-collector", "gc.freeze()", partial(_slow, "frozen")),
    ]


def run(settings: Settings) -> Report:
    """Diagnose every program, then do the remedies."""
    began = time.monotonic()
    found: dict[str, Tried[Diagnosis]] = {}
    rows, claims = [], []
    for case in (each for each in cases() if settings.wants(each.name)):
        settings.progress(f"capacity: {case.name}")
        found[case.name] = tried(partial(_diagnosed, case.name, settings), partial(_judged, case), settings.retries)
        row, claim = _row(case, found[case.name])
        rows.append(row)
        claims.append(claim)
    gains, figures = _gains(settings, found)
    headings = ("program", "full", "cause", "ceiling /s", "reached /s", "off", "noise", "status")
    tables = [Table(headings, tuple(rows))] if rows else []
    tables += [Table(("program", "done", "predicted gain", "measured", "|ln|"), tuple(gains))] if gains else []
    title = "CAPACITY: ceilings from measured demands against what is reached; predicted gains beside measured ones"
    return Report("capacity", title, tuple(tables), tuple(claims), figures, time.monotonic() - began)


def _diagnosed(name: str, settings: Settings) -> Diagnosis:
    return diagnose(f"bench.shared:{name}", settings.budget_s * BUDGETS)


def best(diagnosis: Diagnosis) -> Rung | None:
    """The load with the highest throughput."""
    return max(diagnosis.rungs, key=lambda rung: rung.throughput_per_s.value, default=None)


def binding(diagnosis: Diagnosis) -> Demand | None:
    """The resource with the lowest ceiling at the best load."""
    top = best(diagnosis)
    mine = [d for d in diagnosis.demands if top is not None and d.load == top.load and d.ceiling_per_s is not None]
    return min(mine, key=lambda d: d.ceiling_per_s.value if d.ceiling_per_s else math.inf, default=None)


def off(diagnosis: Diagnosis) -> float | None:
    """How far the ceiling lies from what was reached, relative to that; 0 inside its interval."""
    top, full = best(diagnosis), binding(diagnosis)
    if top is None or full is None or full.ceiling_per_s is None:
        return None
    ceiling, reached = full.ceiling_per_s, top.throughput_per_s.value
    return 0.0 if ceiling.low <= reached <= ceiling.high else ceiling.value / reached - 1


def _judged(case: Case, diagnosis: Diagnosis) -> Status:
    verdict, full, miss = diagnosis.verdicts.get("capacity"), binding(diagnosis), off(diagnosis)
    if verdict is None or full is None or miss is None:
        return "violated"
    right = verdict.bound == case.bound and verdict.cause in case.causes and full.resource.startswith(case.resource)
    return "holds" if right and abs(miss) <= WITHIN else "violated"


def _row(case: Case, found: Tried[Diagnosis]) -> tuple[tuple[str, ...], Claim]:
    diagnosis = found.value
    verdict, full, top, miss = diagnosis.verdicts.get("capacity"), binding(diagnosis), best(diagnosis), off(diagnosis)
    cause = (verdict.cause or f"({verdict.bound})") if verdict else "-"
    resource = full.resource if full else "-"
    ceiling = f"{full.ceiling_per_s.value:,.0f}" if full and full.ceiling_per_s else "-"
    reached = f"{top.throughput_per_s.value:,.0f}" if top else "-"
    missed = signed(miss) if miss is not None else "-"
    row = (case.name, resource.split(" ")[0], cause, ceiling, reached, missed, noise_text(found.noise), found.status)
    said = f"{cause}, {resource} full at {ceiling}/s, {reached}/s reached"
    return row, Claim(case.name, f"{case.causes[0] or case.bound}, within {signed(WITHIN)}", said, found.status)


def _gains(settings: Settings, found: dict[str, Tried[Diagnosis]]) -> tuple[list[tuple[str, ...]], Json]:
    rows, figures = [], []
    for doing in (each for each in doings() if settings.wants(each.case)):
        settings.progress(f"capacity: doing {doing.how}")
        if doing.case not in found:
            found[doing.case] = tried(partial(_diagnosed, doing.case, settings), lambda _: "shown", settings.retries)
        diagnosis = found[doing.case].value
        foreseen: Prediction | None = next((p for p in diagnosis.predictions if p.change.remedy == doing.remedy), None)
        measured = tried(partial(doing.measure, diagnosis, settings), lambda _: "shown", settings.retries).value
        if foreseen is None:
            rows.append((doing.case, doing.how, "none", f"{measured:.2f}", "-"))
            continue
        gain = foreseen.gain
        error = abs(math.log(gain.value / measured))
        rows.append(
            (
                doing.case,
                doing.how,
                f"{gain.value:.2f} ({gain.low:.2f}-{gain.high:.2f})",
                f"{measured:.2f}",
                f"{error:.2f}",
            )
        )
        figures.append({"case": doing.case, "predicted": [gain.value, gain.low, gain.high], "measured": measured})
    return rows, {"gains": figures}


def _reached(other: str, diagnosis: Diagnosis, settings: Settings) -> float:
    """The highest throughput of the remedied program over that of the diagnosed one."""
    then, now = best(_diagnosed(other, settings)), best(diagnosis)
    assert then is not None
    assert now is not None
    return then.throughput_per_s.value / now.throughput_per_s.value


def _processes(name: str, diagnosis: Diagnosis, _: Settings) -> float:
    """The summed rates of one process a CPU over the highest throughput of threads."""
    command = [sys.executable, "-c", DRIVER, name, str(DRIVEN_S)]
    started = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(cpus())]
    rates = [float(each.communicate()[0]) for each in started]
    now = best(diagnosis)
    assert now is not None
    return sum(rates) / now.throughput_per_s.value


def _slow(other: str, diagnosis: Diagnosis, settings: Settings) -> float:
    """The highest percentile that both have, of the diagnosed program over the remedied one."""
    then = _diagnosed(other, settings).measured.latency_s["p99"]
    now = diagnosis.measured.latency_s["p99"]
    assert then is not None
    assert now is not None
    return now.value / then.value
