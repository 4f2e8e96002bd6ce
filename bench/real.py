"""Real servers with a fault planted: the causes that are found, and what removing the fault gains against what was foretold.

Gains are measured by `pinchpoint load` on the faulty server and on the same one without the fault: the median latency of one request in
flight (the mean where too few were seen for it), or the highest throughput with as many in flight as the forecast speaks of, twice as
many and four times.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bench.noise import Noise, Status, watched
from bench.real_servers.plants import HEALTHY, PLANTS, WAITS, Plant, Removal, cannot, planted
from bench.real_servers.running import Running
from bench.real_servers.servers import MODEL
from bench.report import Claim, Json, Report, Table
from bench.settings import Settings
from bench.tool import ToolFailed, scratch
from bench.truth import noise_text
from pinchpoint import api
from pinchpoint.domain.change import Prediction
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.driving import LoadOptions

BUDGETS = 2.5  # of the budget: one request in flight, several, and looks at what is executed
TIMES = (1, 2, 4)  # the load that a forecast of throughput speaks of: connections may lie unevenly on two workers
LOADED_S, FEWEST = 4.0, 50  # requests one after the other, where they take long
JSON = "Content-Type: application/json"
THROUGHPUT = "throughput"
QUESTIONS = ("latency", "capacity")
STATUSES: Mapping[str, Status] = {"present": "holds", "unknown": "inconclusive", "absent": "violated"}

Figures: TypeAlias = tuple[Quantity | None, ...]


@dataclass(frozen=True, slots=True)
class Gained:
    """What was foretold of a removal, None where nothing was; and what it gained."""

    removal: Removal
    foretold: Prediction | None
    measured: Quantity | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found of a plant and under what noise, and of each of its removals."""

    found: Diagnosis
    noise: Noise
    gains: tuple[Gained, ...]


def run(settings: Settings) -> Report:
    """Serve, diagnose and load each that can be had here; then without its fault."""
    began = time.monotonic()
    rows, gains, claims, figures, skipped = [], [], [], [], []
    for plant in (each for each in PLANTS if settings.wants(str(each))):
        if (why := cannot(plant)) is not None:
            skipped.append(f"{plant}: not here: {why}")
            continue
        settings.progress(f"real: {plant}")
        seen = _seen(plant, settings)
        due, got, status = _due(plant), _got(plant, seen.found), _judged(plant, seen)
        rows.append((str(plant), due, got, noise_text(seen.noise), status))
        claims.append(Claim(str(plant), due, got, status))
        gains += [_row(plant, each) for each in seen.gains]
        figures += [_figures(plant, each) for each in seen.gains]
    title = "REAL: causes of latency / capacity of real servers with a fault planted; what removing it gains"
    tables = (
        Table(("server", "due", "got", "noise", "status"), tuple(rows)),
        Table(("removed", "remedy", "foretold", "95 %", "measured", "abs ln"), tuple(gains)),
    )
    return Report(
        "real", title, tables, tuple(claims), {"gains": figures}, time.monotonic() - began, tuple(dict.fromkeys(skipped))
    )  # fmt: skip


def _seen(plant: Plant, settings: Settings) -> Seen:
    with scratch() as folder, planted(folder, plant) as server:
        with watched() as trial:
            found = _diagnosed(server, folder, settings)
        foretold = [_foretold(removal, found) for removal in plant.removals]
        before = [_loaded(server, server.target, each) if each else () for each in foretold]
    pairs = zip(plant.removals, foretold, before, strict=True)
    return Seen(found, trial.noise, tuple(_gained(plant, *each) for each in pairs))


def _diagnosed(server: Running, folder: Path, settings: Settings) -> Diagnosis:
    body, place = _body(server, server.target), {"metrics": server.metrics} if server.metrics else None
    try:
        found = api.diagnose(
            server.target, budget_s=settings.budget_s * BUDGETS, out=folder / "runs", settings=place, input=body,
            header=(JSON,) if body else (),
        ).diagnosis  # fmt: skip
    except Exception as error:  # any defect of the tool is a result here
        raise ToolFailed(f"{type(error).__name__}: {error}"[:200]) from error
    assert found is not None
    return found


def _body(server: Running, target: str) -> str | None:
    """What a plain URL is asked with; a protocol tells itself what to send."""
    return str(server.body) if target == server.url else None


def _foretold(removal: Removal, found: Diagnosis) -> Prediction | None:
    foretold = {each.change.remedy: each for each in reversed(found.predictions)}  # the largest gain of each counts
    return next((foretold[name] for name in removal.remedies if name in foretold), None)


def _gained(plant: Plant, removal: Removal, foretold: Prediction | None, before: Figures) -> Gained:
    if foretold is None:
        return Gained(removal, None, None)
    with scratch() as folder, planted(folder, plant, **removal.knobs) as server:
        binary = f"triton+http://{server.url.split('/')[2]}/{MODEL}" if removal.binary else ""
        after = _loaded(server, binary or server.target, foretold)
    both = next(((was, now) for was, now in zip(before, after, strict=True) if was and now), None)
    if both is None:
        return Gained(removal, foretold, None)
    less, more = both if foretold.change.statistic == THROUGHPUT else reversed(both)
    ratio = Quantity(more.value / less.value, more.low / less.high, more.high / less.low, min(more.n, less.n))
    return Gained(removal, foretold, ratio)


def _loaded(server: Running, target: str, foretold: Prediction) -> Figures:
    """The statistic of a forecast, as load finds it, and one in its place where it is not seen often enough."""
    of_throughput = foretold.change.statistic == THROUGHPUT
    loads = ",".join(str(times * foretold.load) for times in TIMES) if of_throughput else "1"
    seconds = LOADED_S if of_throughput else max(LOADED_S, FEWEST * foretold.before.value)
    body = _body(server, target)
    options = LoadOptions(target, loads, seconds=seconds, input=(body,) if body else (), header=(JSON,) if body else ())
    levels = api.load(options, out=server.body.parent / "loads").report.levels
    if of_throughput:
        reached = [each.throughput_per_s for each in levels if each.throughput_per_s is not None]
        return (max(reached, key=lambda each: each.value, default=None),)
    return levels[0].latency_s.p50, levels[0].latency_s.mean


def _judged(plant: Plant, seen: Seen) -> Status:
    """Both causes as planted, what must be found present, and neither a wait nor a leak of a healthy one; what is left open is
    inconclusive.
    """
    if plant.name == HEALTHY:
        alarmed = _cause(seen.found, "latency") in WAITS or _status(seen.found, "M105") == "present"
        statuses: list[Status] = ["violated" if alarmed else "holds"]
    else:
        statuses = [_answered(seen.found, question, getattr(plant, question)) for question in QUESTIONS]
        statuses += [STATUSES[_status(seen.found, code)] for code in plant.present]
    worst = max(statuses, key=("holds", "inconclusive", "violated").index)
    return "inconclusive" if worst == "violated" and seen.noise.loud else worst


def _answered(found: Diagnosis, question: str, due: Sequence[str]) -> Status:
    cause = _cause(found, question)
    if not due or cause in due:
        return "holds"
    return "inconclusive" if cause is None else "violated"


def _status(found: Diagnosis, code: str) -> str:
    return next(each.status for each in found.findings if each.code == code)


def _due(plant: Plant) -> str:
    causes = " / ".join("|".join(getattr(plant, question)) or "-" for question in QUESTIONS)
    return ", ".join((causes, *plant.present))


def _got(plant: Plant, found: Diagnosis) -> str:
    causes = " / ".join(_cause(found, question) or "none" for question in QUESTIONS)
    return ", ".join((causes, *(_status(found, code) for code in plant.present)))


def _cause(found: Diagnosis, question: str) -> str | None:
    answer = found.verdicts.get(question)
    return answer.cause if answer else None


def _row(plant: Plant, gained: Gained) -> tuple[str, ...]:
    foretold, measured = gained.foretold, gained.measured
    if foretold is None:
        return str(plant), "|".join(gained.removal.remedies), "none", "-", "-", "-"
    gain = foretold.gain
    said = (f"{gain.value:.2f}", f"{gain.low:.2f}-{gain.high:.2f}")
    if measured is None:
        return str(plant), foretold.change.remedy, *said, "too few", "-"
    off = f"{abs(math.log(gain.value / measured.value)):.2f}"
    if foretold.change.kind == "bound":
        off = "bound" if measured.low <= gain.high else "exceeded"
    return str(plant), foretold.change.remedy, *said, f"{measured.value:.2f}", off


def _figures(plant: Plant, gained: Gained) -> Json:
    foretold, measured = gained.foretold, gained.measured
    return {
        "plant": str(plant),
        "remedy": foretold.change.remedy if foretold else None,
        "statistic": foretold.change.statistic if foretold else None,
        "foretold": _three(foretold.gain) if foretold else None,
        "measured": _three(measured) if measured else None,
    }


def _three(gain: Quantity) -> Json:
    return [gain.value, gain.low, gain.high]
