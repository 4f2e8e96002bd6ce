"""How punctual an open loop of 5,000 a second is: by its own record of when it sent, and by when the server says it came."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from bench.load_driven import driven
from bench.load_servers import halves, serving
from bench.noise import Status, Tried, tried
from bench.report import Claim, Json, Table
from bench.settings import Settings
from bench.tool import ToolFailed, scratch
from bench.truth import noise_text

RATE, LAG_S, LAG_AT = 5_000, 0.001, 0.99  # with a CPU free: what the project promises
KINDS = ("poisson", "constant")
HEADINGS = ("5,000/s", "requests", "lag ms: p50", "p99", "max", "came ms: p50", "p99", "noise", "status")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lateness:
    """Seconds from due to sent of all requests, and from due to the server's own clock, in the order of each."""

    lag_s: Floats
    came_s: Floats


def run(settings: Settings) -> tuple[list[Table], list[Claim], dict[str, Json]]:
    """Both kinds of arrivals."""
    rows, claims, figures = [], [], {}
    for kind in (each for each in KINDS if settings.wants(f"lag {each}")):
        settings.progress(f"load: lag of {kind} arrivals")
        name, limit = f"lag of {kind} arrivals at {RATE:,}/s, p99", f"{LAG_S * 1e3:g} ms"
        try:
            found = tried(partial(measured, kind, settings.budget_s), judged, settings.retries)
        except ToolFailed as error:
            claims.append(Claim(name, limit, str(error), "violated"))
            continue
        shown = tuple(f"{each * 1e3:.3f}" for each in summary(found.value.lag_s))
        came = tuple(f"{each * 1e3:.3f}" for each in summary(found.value.came_s)[:2])
        count = f"{len(found.value.lag_s):,}"
        rows.append((kind, count, *shown, *came, noise_text(found.noise), found.status))
        claims.append(Claim(name, limit, f"{shown[1]} ms", found.status))
        figures[kind] = _figures(found)
    return [Table(HEADINGS, tuple(rows))] if rows else [], claims, {"lag": figures}


def measured(kind: str, seconds: float) -> Lateness:
    """Send for so long to a server that answers at once."""
    first, _ = halves()
    with scratch() as folder:
        log = folder / "came"
        with serving("http", log=log, cpus=first) as port:
            found = driven(port, rate=str(RATE), arrivals=kind, seconds=seconds)
        came = np.fromfile(log, dtype=np.int64)[1:]  # the first one greets
    sends = found.run.sends
    due = np.sort(sends.due_ns)
    if len(came) != len(due) or found.run.levels[0].failures:
        raise ToolFailed(f"{len(due)} requests, of which {len(came)} came")
    return Lateness(sends.lag_s, (np.sort(came) - due) / 1e9)


def summary(seconds: Floats) -> tuple[float, float, float]:
    """Median, p99 and maximum."""
    return float(np.median(seconds)), float(np.quantile(seconds, LAG_AT)), float(seconds.max())


def judged(found: Lateness) -> Status:
    """By the p99 of the engine's own record."""
    return "holds" if summary(found.lag_s)[1] <= LAG_S else "violated"


def _figures(found: Tried[Lateness]) -> Json:
    return {
        "status": found.status, "trials": found.trials, "foreign_cpu": found.noise.foreign, "steal": found.noise.steal,
        "lag_s": list(summary(found.value.lag_s)), "came_s": list(summary(found.value.came_s)),
    }  # fmt: skip
