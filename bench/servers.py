"""Servers: what limits live uvicorn, gunicorn and http.server programs with a fault planted, and how much stays unexplained."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from textwrap import dedent

from bench.live_servers import program, serving
from bench.noise import Status, tried
from bench.report import Claim, Report, Table
from bench.server_plants import OTHER, PLANTS, SLOW_SERVICE, ServerPlant
from bench.settings import Settings
from bench.tool import ToolFailed, scratch
from bench.truth import noise_text
from pinchpoint import api
from pinchpoint.domain.verdict import Diagnosis

BUDGETS = 2.5  # of the budget: one request in flight, several, and looks at what is executed
MOST_UNEXPLAINED = 0.10


def run(settings: Settings) -> Report:
    """Serve and diagnose each."""
    began = time.monotonic()
    rows, claims = [], []
    for plant in (each for each in PLANTS if settings.wants(each.name)):
        settings.progress(f"servers: {plant.name}")
        found = tried(partial(_diagnosed, plant, settings), partial(_judged, plant), settings.retries)
        left = _unexplained(found.value)
        due, got = _due(plant), f"{_cause(found.value, 'latency')} / {_cause(found.value, 'capacity')}"
        rows.append((plant.name, due, got, f"{left:+.1%}", noise_text(found.noise), found.status))
        claims.append(Claim(plant.name, due, got, found.status))
    headings = ("server", "due", "got", "unexplained", "noise", "status")
    title = "SERVERS: causes of latency / capacity, where they are planted and where there is none"
    return Report("servers", title, (Table(headings, tuple(rows)),), tuple(claims), {}, time.monotonic() - began)


def _diagnosed(plant: ServerPlant, settings: Settings) -> Diagnosis:
    source = "\n".join(dedent(part) for part in plant.parts)
    with scratch() as folder, contextlib.ExitStack() as beside:
        if OTHER in source:
            source = source.replace(OTHER, str(beside.enter_context(serving(folder / "other", SLOW_SERVICE, program))))
        body = None
        if plant.body is not None:
            (folder / "body.json").write_text(plant.body)
            body = str(folder / "body.json")
        with serving(folder / "server", source, plant.command, **plant.how) as port:
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
