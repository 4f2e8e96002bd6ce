"""Servers: what limits live uvicorn, gunicorn and http.server programs with a fault planted, how much stays unexplained, and what
removing it gains against what was foretold.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from textwrap import dedent

from bench.live_servers import program, serving
from bench.noise import Status, tried
from bench.plants.cgroups import needs_cgroup
from bench.report import Claim, Report, Table
from bench.server_plants import OTHER, PLANTS, REMOVALS, SLOW_SERVICE, Removal, ServerPlant
from bench.settings import Settings
from bench.tool import ToolFailed, scratch
from bench.truth import noise_text
from pinchpoint import api
from pinchpoint.domain.verdict import Diagnosis

BUDGETS = 2.5  # of the budget: one request in flight, several, and looks at what is executed
MOST_UNEXPLAINED = 0.10
THROUGHPUT = "throughput"


def run(settings: Settings) -> Report:
    """Serve and diagnose each."""
    began = time.monotonic()
    rows, claims, seen = [], [], dict[str, Diagnosis]()
    for plant in (each for each in PLANTS if settings.wants(each.name) and _possible(each)):
        settings.progress(f"servers: {plant.name}")
        found = tried(partial(_diagnosed, plant, settings), partial(_judged, plant), settings.retries)
        left = _unexplained(found.value)
        due, got = _due(plant), f"{_cause(found.value, 'latency')} / {_cause(found.value, 'capacity')}"
        rows.append((plant.name, due, got, f"{left:+.1%}", noise_text(found.noise), found.status))
        claims.append(Claim(plant.name, due, got, found.status))
        seen[plant.name] = found.value
    headings = ("server", "due", "got", "unexplained", "noise", "status")
    title = "SERVERS: causes of latency / capacity, where they are planted and where there is none"
    gained = tuple(_gained(removal, seen, settings) for removal in REMOVALS if removal.plant in seen)
    gains = Table(("removed", "remedy", "foretold", "95 %", "measured", "abs ln"), tuple(filter(None, gained)))
    return Report("servers", title, (Table(headings, tuple(rows)), gains), tuple(claims), {}, time.monotonic() - began)


def _possible(plant: ServerPlant) -> bool:
    return plant.quota is None or needs_cgroup("cpu")() is None


def _gained(removal: Removal, seen: Mapping[str, Diagnosis], settings: Settings) -> tuple[str, ...] | None:
    """What was foretold of a remedy, and what came of it; None where nothing was foretold."""
    before = seen[removal.plant]
    foretold = next((each for each in before.predictions if each.change.remedy == removal.remedy), None)
    if foretold is None:
        return None
    settings.progress(f"servers: {removal.plant}, {removal.remedy}")
    plant = next(each for each in PLANTS if each.name == removal.plant)
    changed = replace(
        plant, parts=removal.parts or plant.parts, how=plant.how if removal.how is None else removal.how,
        body=removal.body or plant.body, quota=None,
    )  # fmt: skip
    after = _diagnosed(changed, settings)
    of_throughput = foretold.change.statistic == THROUGHPUT
    first, second = (_reached(each) if of_throughput else 1 / _typical_s(each) for each in (before, after))
    gain, measured = foretold.gain, second / first
    off = f"{abs(math.log(gain.value / measured)):.2f}"
    if foretold.change.kind == "bound":
        off = "bound" if measured <= gain.high else "exceeded"
    return removal.plant, removal.remedy, f"{gain.value:.2f}", f"{gain.low:.2f}-{gain.high:.2f}", f"{measured:.2f}", off


def _reached(found: Diagnosis) -> float:
    return max(each.throughput_per_s.value for each in found.rungs)


def _typical_s(found: Diagnosis) -> float:
    typical = found.measured.latency_s["typical"]
    assert typical is not None
    return typical.value


def _diagnosed(plant: ServerPlant, settings: Settings) -> Diagnosis:
    source = "\n".join(dedent(part) for part in plant.parts)
    with scratch() as folder, contextlib.ExitStack() as beside:
        if OTHER in source:
            source = source.replace(OTHER, str(beside.enter_context(serving(folder / "other", SLOW_SERVICE, program))))
        body = None
        if plant.body is not None:
            (folder / "body.json").write_text(plant.body)
            body = str(folder / "body.json")
        with serving(folder / "server", source, plant.command, plant.quota, **plant.how) as port:
            try:
                url, budget_s = f"http://127.0.0.1:{port}/", settings.budget_s * BUDGETS
                found = api.diagnose(url, budget_s=budget_s, out=folder / "runs", input=body).diagnosis
            except Exception as error:  # any defect of the tool is a result here
                raise ToolFailed(f"{type(error).__name__}: {error}"[:200]) from error
    assert found is not None
    return found


def _judged(plant: ServerPlant, found: Diagnosis) -> Status:
    """Both causes as planted, and nearly all of the time accounted for; a verdict left open is inconclusive."""
    answers = {question: found.verdicts.get(question) for question in ("latency", "capacity")}
    due = {"latency": plant.latency, "capacity": plant.capacity}
    statuses: list[Status] = []
    for question, answer in answers.items():
        cause = answer.cause if answer else None
        if cause in due[question]:
            statuses.append("holds")
        else:
            statuses.append("inconclusive" if cause is None else "violated")
    if abs(_unexplained(found)) > MOST_UNEXPLAINED:
        statuses.append("violated")
    return "violated" if "violated" in statuses else "inconclusive" if "inconclusive" in statuses else "holds"


def _due(plant: ServerPlant) -> str:
    return " / ".join("|".join(sorted(each or "none" for each in causes)) for causes in (plant.latency, plant.capacity))


def _cause(found: Diagnosis, question: str) -> str:
    answer = found.verdicts.get(question)
    return (answer.cause or "none") if answer else "-"


def _unexplained(found: Diagnosis) -> float:
    rows = [row for row in found.ledger if row.question == "latency" and row.requests == "typical"]
    return sum(row.share for row in rows if row.state == "unexplained")
