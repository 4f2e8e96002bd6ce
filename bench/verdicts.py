"""Planted faults, their healthy twins and their look-alikes: what the tool says of each, beside what simple rules say."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.noise import Status, Tried, tried
from bench.plants import PLANTS
from bench.plants.contract import Plant, Prepared
from bench.report import REPOSITORY, Claim, Json, Report, Table, percent
from bench.scoring import (
    Said,
    Scored,
    busiest_resource,
    false_alarm,
    longest_stage,
    majority,
    right_bound,
    right_cause,
    share,
)
from bench.settings import Settings
from bench.tool import scratch
from pinchpoint import store
from pinchpoint.domain.run import Run

LONGEST_S = 240.0  # a diagnosis, its target's start included, before it counts as hung
DIAGNOSED = (0, 3)  # exit codes with a diagnosis
HALVES = ("develop", "test")
NOTE = "Plants that went wrong while other programs disturbed them are left out below, and listed."
GUESSES = ("pinchpoint", "longest stage", "busiest resource", "majority cause")


def run(settings: Settings) -> Report:
    """Diagnose every plant of the chosen half and family."""
    began = time.monotonic()
    scored: list[Scored] = []
    rows, left_out, figures = [], [], {}
    for plant in (p for p in PLANTS if settings.wants(p.name) and settings.half in (None, p.half)):
        settings.progress(f"verdicts: {plant.name}")
        reason = plant.needs()
        if reason:
            left_out.append(Claim(plant.name, "to be planted", reason, "skipped"))
            continue
        found = tried(partial(said_of, plant, settings.budget_s), partial(_judged, plant), settings.retries)
        each = Scored(plant, found.value)
        rows.append(_row(each, found))
        figures[plant.name] = _figures(each, found)
        if found.status == "inconclusive":
            noise = f"{', '.join(each.misses)} while others took {percent(found.noise.share, 0)} of the CPUs"
            left_out.append(Claim(plant.name, "quiet CPUs", noise, "inconclusive"))
        else:
            scored.append(each)
    tables = [Table(("plant", "expected", "got", "proof", "s", "noise", "misses"), tuple(rows))]
    tables += [_summary(scored), _baselines(scored)] if scored else []
    title = "VERDICTS: planted faults, healthy twins and look-alikes"
    return Report("verdicts", title, tuple(tables), tuple(left_out), figures, time.monotonic() - began, (NOTE,))


def said_of(plant: Plant, budget_s: float) -> Said:
    """What the command line says of a plant that stands ready."""
    with scratch() as folder:
        workplace = folder / "plant"
        workplace.mkdir()
        try:
            with plant.prepare(workplace) as prepared:
                return _diagnosed(prepared, folder, budget_s)
        except (OSError, subprocess.SubprocessError) as error:
            return _nothing(f"cannot be planted: {error}", 0.0)


def _diagnosed(prepared: Prepared, folder: Path, budget_s: float) -> Said:
    began, answer, runs = time.perf_counter(), folder / "answer.json", folder / "runs"
    command = [*prepared.wrapper, sys.executable, "-m", "pinchpoint", "diagnose", prepared.target, *prepared.options]
    command += ["--json", str(answer), "--out", str(runs), "--quiet"]
    if "--budget" not in prepared.options:
        command += ["--budget", f"{budget_s:g}"]
    code, complaint = _ran(command)
    seconds = time.perf_counter() - began
    if code not in DIAGNOSED or not answer.exists():
        return _nothing(f"exit {code}: {complaint[-100:]}", seconds)
    return said_in(json.loads(answer.read_text("utf-8")), utilisation_of(runs), seconds)


def _ran(command: Sequence[str]) -> tuple[int, str]:
    """Exit code and last words of a command, which is ended with all that it started once it hangs."""
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        _, errors = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return -1, f"no answer in {LONGEST_S:g} s"
    return process.returncode, " ".join(errors.decode("utf-8", "replace").split())


def said_in(answer: dict[str, Any], utilisation: dict[str, float], seconds: float) -> Said:
    """The verdict in a diagnosis as JSON, and what the simple rules make of the same run."""
    verdict = answer["verdicts"]["latency"]
    stages: dict[str, float] = {}
    for row in (each for each in answer["ledger"] if each["question"] == "latency"):
        stages[row["stage"]] = stages.get(row["stage"], 0.0) + row["seconds"]["value"]
    cause, bound, where, kind, proof = (str(verdict[key] or "") for key in ("cause", "bound", "where", "kind", "proof"))
    present = frozenset(f["code"] for f in answer["findings"] if f["status"] == "present")
    guesses = longest_stage(stages), busiest_resource(utilisation)
    return Said(cause, bound, where, kind, proof, present, seconds, "", *guesses)


def utilisation_of(runs: Path) -> dict[str, float]:
    """How busy CPU and disk were and how full the memory, as any dashboard shows it; empty where nothing was counted."""
    for folder in runs.iterdir():
        if store.is_run(folder):
            return _utilisation(store.load(folder))
    return {}


def _utilisation(run: Run) -> dict[str, float]:
    times = run.telemetry.t_ns
    if len(times) < 2:
        return {}
    seconds = float(times[-1] - times[0]) / 1e9

    def rate(name: str) -> float:
        column = run.telemetry.column(name)
        return 0.0 if column is None else float(column[-1] - column[0]) / seconds

    disk = next((c.value.value for c in run.environment.ceilings if c.name == "disk_read_bytes_per_s"), 0.0)
    moved = rate("process.read_bytes") + rate("process.write_bytes")
    held, limit = run.telemetry.column("cgroup.memory_bytes"), run.environment.memory_limit_bytes
    return {
        "cpu": rate("process.cpu_s") / max(run.environment.effective_cpus, 1e-9),
        "disk": moved / disk if disk else 0.0,
        "memory": float(held[-1]) / limit if held is not None and limit else 0.0,
    }


def _nothing(error: str, seconds: float) -> Said:
    return Said("", "", "", "", "", frozenset(), seconds, error)


def _judged(plant: Plant, said: Said) -> Status:
    return "violated" if Scored(plant, said).misses else "holds"


def _row(scored: Scored, found: Tried[Said]) -> tuple[str, ...]:
    said, expect = scored.said, scored.plant.expect
    due = "/".join(sorted(code or "none" for code in expect.causes)) or "/".join(sorted(expect.present)) or "any"
    got = said.cause or (f"({said.bound})" if said.bound else "-")
    wrong = ", ".join(scored.misses) or "-"
    return (
        scored.plant.name,
        due,
        got,
        said.proof[:9] or "-",
        f"{said.seconds:.0f}",
        percent(found.noise.share, 0),
        wrong[:30],
    )


def _summary(scored: Sequence[Scored]) -> Table:
    """By half: how many are all as expected, how many have the right cause, and false alarms on healthy ones."""
    rows = []
    for half in HALVES:
        mine = [each for each in scored if each.plant.half == half]
        healthy = [each for each in mine if each.plant.role == "healthy"]
        rows.append((
            half, _share([not each.misses for each in mine]), _share(_hits(mine, "pinchpoint", right_cause, "")),
            _share([false_alarm(each) for each in healthy]),
        ))  # fmt: skip
    return Table(("half", "all as expected", "right cause", "false alarms, healthy"), tuple(rows))


def _baselines(scored: Sequence[Scored]) -> Table:
    """The same plants by rules that need no tool: right cause and right bound."""
    common = majority(PLANTS)
    rows = []
    for guess in GUESSES:
        cells = [
            _share(_hits([each for each in scored if each.plant.half == half], guess, right, common))
            for half in HALVES
            for right in (right_cause, right_bound)
        ]
        rows.append((guess, *cells))
    return Table(("rule", *(f"{half} {what}" for half in HALVES for what in ("cause", "bound"))), tuple(rows))


def _hits(scored: Sequence[Scored], guess: str, right: Callable[..., bool], common: str) -> list[bool]:
    """For each plant that has a cause, whether the guess is right."""
    found = []
    for each in (e for e in scored if e.asks_cause):
        codes = {
            "pinchpoint": each.said.cause,
            "longest stage": each.said.longest,
            "busiest resource": each.said.busiest,
            "majority cause": common,
        }
        found.append(right(codes[guess], each.plant.expect))
    return found


def _share(hits: Sequence[bool]) -> str:
    found = share(hits)
    if found is None:
        return "-"
    return f"{sum(hits)}/{len(hits)} ({percent(found.low, 0)[:-2]}-{percent(found.high, 0)})"


def _figures(scored: Scored, found: Tried[Said]) -> Json:
    said, plant = scored.said, scored.plant
    return {
        "half": plant.half, "role": plant.role, "family": plant.family, "expected": sorted(plant.expect.causes),
        "cause": said.cause, "bound": said.bound, "where": said.where, "proof": said.proof, "seconds": said.seconds,
        "present": sorted(said.present), "misses": list(scored.misses), "false_alarm": false_alarm(scored),
        "longest_stage": said.longest, "busiest_resource": said.busiest, "foreign_cpu": found.noise.foreign,
        "trials": found.trials,
    }  # fmt: skip
