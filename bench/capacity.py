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
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from bench import shared
from bench.cases import cpus
from bench.noise import Status, Tried, tried
from bench.plants.cgroups import granting, inside, needs_cgroup
from bench.report import REPOSITORY, Claim, Json, Report, Table, signed
from bench.settings import Settings
from bench.tool import diagnose
from bench.truth import noise_text
from pinchpoint.domain.change import Prediction
from pinchpoint.domain.demand import Demand, Rung, saturated
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.verdict import Diagnosis

CEILING = "ceiling"
WITHIN = 0.05  # of the measured throughput, or inside the ceiling's interval: what the project promises
BUDGETS = 2.5  # of the budget: half of it is for one request in flight
DRIVEN_S = 3.0
QUOTA = granting(0.4)
LAW_BUDGET_S = 150.0  # exponential times need many requests at each load; a larger budget makes longer visits


@dataclass(frozen=True, slots=True)
class Case:
    """A program of `bench.shared`, the bound and the cause that its capacity must have, and the resources that are full."""

    name: str
    bound: str
    causes: tuple[str | None, ...]
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Doing:
    """A remedy of a case and how its gain is measured."""

    case: str
    remedy: str
    how: str
    measure: Callable[[Diagnosis, Settings], float]
    under: Callable[[], AbstractContextManager[None]] = nullcontext  # what the diagnosed program runs under
    needs: Callable[[], str | None] = lambda: None  # why it cannot be done here


def cases() -> list[Case]:
    """Programs limited by what they share, and one that is not limited by its lock."""
    several = cpus() > 1
    return [
        Case("lock", "wait", ("W104",), ("lock",)),
        Case("two_locks", "wait", ("W104",), ("lock",)),
        Case("lock_and_native", "wait", ("W104",), ("lock",)),
        Case("interpreter", "wait" if several else "cpu", ("W101",) if several else (None,), ("gil",)),
        Case("interpreter_and_wait", "wait" if several else "cpu", ("W101",) if several else (None,), ("gil",)),
        # Python all the way: the loop is busy exactly while it holds the interpreter.
        Case("loop", "wait" if several else "cpu", ("W101",) if several else (None,), ("gil", "loop")),
        Case("native_loop", "wait" if several else "cpu", ("W105",) if several else (None,), ("loop",)),
        Case("pooled", "wait", ("W102",), ("pool",)),
        Case("sharded", "wait", ("W106",), ("pool",)),
        Case("placed", "wait", ("W102",), ("semaphore",)),
        Case("native", "cpu", (None, "C102", "C103"), ("cpu",)),
        Case("short_lock", "cpu", (None, "C102", "C103"), ("cpu",)),
    ]


def doings() -> list[Doing]:
    """Every remedy that is carried out."""
    return [
        Doing("lock", "split-lock", "a second lock", partial(_reached, "two_locks")),
        Doing("placed", "more-workers", "six places", partial(_reached, "well_placed")),
        Doing("sharded", "spread-requests", "by turns", partial(_reached, "well_sharded")),
        Doing("pooled", "more-workers", "four workers", partial(_reached, "well_pooled")),
        Doing("native_loop", "off-the-loop", "asyncio.to_thread", partial(_reached, "native_thread")),
        Doing("native_loop", "more-processes", f"{cpus()} processes", partial(_processes, "native_loop")),
        Doing("interpreter", "more-processes", f"{cpus()} processes", partial(_processes, "interpreter")),
        Doing(
            "interpreter_and_wait", "more-processes", f"{cpus()} processes", partial(_processes, "interpreter_and_wait")
        ),
        Doing("polled", "replace-timer", "an event", partial(_faster, "evented")),
        Doing("decoded", "faster-preprocessing", "its result kept", partial(_faster, "cached")),
        Doing("collected", "freeze-collector", "gc.freeze()", partial(_slow, "frozen")),
        Doing(
            "computed",
            "raise-quota",
            "no quota",
            partial(_faster, "computed"),
            partial(inside, "cpu", QUOTA),
            needs_cgroup("cpu"),
        ),
    ]


@dataclass(frozen=True, slots=True)
class Law:
    """A program whose throughput at each load is a closed form: the mean seconds at each of its stations, and beside them."""

    name: str
    served_s: tuple[float, ...]
    think_s: float


def laws() -> list[Law]:
    """Closed networks with exponential times, which mean value analysis solves exactly."""
    return [Law("repairman", shared.SERVED_S[:1], shared.THINK_S), Law("tandem", shared.SERVED_S, shared.THINK_S)]


def closed_form(law: Law, load: int) -> float:
    """Requests a second with `load` in flight: exact mean value analysis (Reiser & Lavenberg 1980, JACM 27(2)); with one
    station it is the machine-repairman model.
    """
    waiting, rate = [0.0 for _ in law.served_s], 0.0
    for customers in range(1, load + 1):
        residence = [served * (1 + ahead) for served, ahead in zip(law.served_s, waiting, strict=True)]
        rate = customers / (law.think_s + sum(residence))
        waiting = [rate * each for each in residence]
    return rate


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
    law_rows, law_claims = _laws(settings)
    gains, figures = _gains(settings, found)
    headings = ("program", "full", "cause", "ceiling /s", "reached /s", "off", "noise", "status")
    tables = [Table(headings, tuple(rows))] if rows else []
    tables += (
        [Table(("law", "in flight", "closed form /s", "found /s", "off", "status"), tuple(law_rows))]
        if law_rows
        else []
    )
    tables += [Table(("program", "done", "predicted gain", "measured", "|ln|"), tuple(gains))] if gains else []
    title = "CAPACITY: ceilings from measured demands against what is reached; predicted gains beside measured ones"
    return Report("capacity", title, tuple(tables), (*claims, *law_claims), figures, time.monotonic() - began)


def _diagnosed(
    name: str, settings: Settings, under: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Diagnosis:
    with under():
        return diagnose(f"bench.shared:{name}", settings.budget_s * BUDGETS)


def best(diagnosis: Diagnosis) -> Rung | None:
    """The load with the highest throughput."""
    return max(diagnosis.rungs, key=lambda rung: rung.throughput_per_s.value, default=None)


def binding(diagnosis: Diagnosis) -> Demand | None:
    """The resource with the lowest ceiling at the load that the tool judges."""
    top = saturated(diagnosis.rungs)
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
    right = verdict.bound == case.bound and verdict.cause in case.causes and full.resource.startswith(case.resources)
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


def _laws(settings: Settings) -> tuple[list[tuple[str, ...]], list[Claim]]:
    """Each rung of each law against its closed form."""
    rows, claims = [], []
    for law in (each for each in laws() if settings.wants(each.name)):
        settings.progress(f"capacity: {law.name}")
        measure = partial(diagnose, f"bench.shared:{law.name}", LAW_BUDGET_S)
        found = tried(measure, partial(_lawful, law), settings.retries)
        compared = _compared(law, found.value)
        for load, due, told in compared:
            said = f"{told.value:,.0f} ({told.low:,.0f}-{told.high:,.0f})"
            status = "holds" if _close(due, told) else "violated"
            rows.append((law.name, load, f"{due:,.0f}", said, signed(told.value / due - 1), status))
        said = ", ".join(signed(told.value / due - 1) for _, due, told in compared)
        claims.append(Claim(law.name, f"within {signed(WITHIN)} at each load, and the ceiling", said, found.status))
    return rows, claims


def _compared(law: Law, diagnosis: Diagnosis) -> list[tuple[str, float, Quantity]]:
    """The closed form beside what was reached at each load; last the most that the busiest station allows, beside the ceiling."""
    found = [(str(rung.load), closed_form(law, rung.load), rung.throughput_per_s) for rung in diagnosis.rungs]
    full = binding(diagnosis)
    if full is not None and full.ceiling_per_s is not None:
        found.append((CEILING, 1 / max(law.served_s), full.ceiling_per_s))
    return found


def _close(due: float, told: Quantity) -> bool:
    return abs(told.value / due - 1) <= WITHIN or told.low <= due <= told.high


def _lawful(law: Law, diagnosis: Diagnosis) -> Status:
    compared = _compared(law, diagnosis)
    enough = len(diagnosis.rungs) > 1 and compared[-1][0] == CEILING
    return "holds" if enough and all(_close(due, told) for _, due, told in compared) else "violated"


def _gains(settings: Settings, found: dict[str, Tried[Diagnosis]]) -> tuple[list[tuple[str, ...]], Json]:
    rows, figures = [], []
    for doing in (each for each in doings() if settings.wants(each.case)):
        settings.progress(f"capacity: doing {doing.how}")
        if (why := doing.needs()) is not None:
            rows.append((doing.case, doing.how, "not here", why, "-"))
            continue
        if doing.case not in found:
            diagnosed = partial(_diagnosed, doing.case, settings, doing.under)
            found[doing.case] = tried(diagnosed, lambda _: "shown", settings.retries)
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
    """The summed rates of one process a CPU, each with as many requests in flight as the one had, over the best of one process."""
    now = best(diagnosis)
    assert now is not None
    command = [sys.executable, "-m", "bench.driver", name, str(DRIVEN_S), str(now.load)]
    started = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(cpus())]
    rates = [float(each.communicate()[0]) for each in started]
    return sum(rates) / now.throughput_per_s.value


def _faster(other: str, diagnosis: Diagnosis, settings: Settings) -> float:
    """The typical latency over that of the remedied program."""
    then = _diagnosed(other, settings).measured.latency_s["typical"]
    now = diagnosis.measured.latency_s["typical"]
    assert then is not None
    assert now is not None
    return now.value / then.value


def _slow(other: str, diagnosis: Diagnosis, settings: Settings) -> float:
    """The highest percentile that both have, of the diagnosed program over the remedied one."""
    then = _diagnosed(other, settings).measured.latency_s["p99"]
    now = diagnosis.measured.latency_s["p99"]
    assert then is not None
    assert now is not None
    return now.value / then.value
