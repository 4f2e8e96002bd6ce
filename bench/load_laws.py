"""The engine's percentiles against a server with known service times: its own log of each request, and the law it follows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from bench import queues
from bench.load_driven import Driven, driven
from bench.load_servers import ROW, halves, serving
from bench.noise import Status, Tried, tried
from bench.report import Claim, Json, Table, percent, signed
from bench.settings import Settings
from bench.tool import ToolFailed, scratch
from bench.truth import noise_text
from pinchpoint.domain.quantity import Quantity

WITHIN = 0.02  # or inside the engine's interval: what the project promises
MEAN_S = 0.020  # of a service: what timers, wires and waking up add, a quarter of a millisecond, is a hundredth of it
LOADS = (0.5, 0.8)
WARM_UP_S = 3.0  # the queue begins empty, and forgets that within 2 s at 80 %; a cut that is found favours low waits
BUDGETS, BUDGETS_HIGH = (
    4.0,
    12.0,
)  # of the budget; at 80 % a p99 needs thousands of requests for its interval to cover it
FIGURES = (("mean", None), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
HEADINGS = ("law, load", "n", "truth", "mean", "p50", "p90", "p99", "noise", "status")
seeds = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Law:
    """How requests come, how they are served, and the mean and the quantiles of the time in the system, in mean services."""

    name: str
    arrivals: str
    served: str
    mean: Callable[[float], float]
    quantile: Callable[[float, float], float]


LAWS = (
    Law("D/D/1", "constant", "constant", lambda _: 1.0, lambda _q, _load: 1.0),
    Law("M/D/1", "poisson", "constant", lambda load: queues.mean(load, 1.0), queues.md1),
    Law("M/M/1", "poisson", "exponential", lambda load: queues.mean(load, 2.0), queues.mm1),
    Law("two-point", "poisson", "two_point", lambda load: queues.mean(load, 2.5 + 2.5 / 9), queues.two_point_quantile),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of the engine, and what it should be by the server's log and by the law; seconds."""

    name: str
    found: Quantity | None
    log_s: float
    law_s: float

    def off(self, truth_s: float) -> float | None:
        """How far the engine is off, relative to the truth."""
        return None if self.found is None else self.found.value / truth_s - 1

    def misses(self) -> list[str]:
        """The truths that it misses; what is not said for want of requests cannot be wrong.

        Of the same requests it may be off by 2 % or its interval. From the law it may be off by both: what wires add to each
        request lies outside of an interval, which matters where a quantile sits at the edge of an atom (M/D/1, p50 at 50 %).
        """
        if self.found is None:
            return []
        low, high = self.found.low, self.found.high
        of_log = abs(self.found.value / self.log_s - 1) <= WITHIN or low <= self.log_s <= high
        of_law = low * (1 - WITHIN) <= self.law_s <= high * (1 + WITHIN)
        truths = (("log", self.log_s, of_log), ("law", self.law_s, of_law))
        return [f"{self.name} {_shown(self, truth)} of the {which}'s" for which, truth, right in truths if not right]


def run(settings: Settings) -> tuple[list[Table], list[Claim], dict[str, Json]]:
    """Every law at each load."""
    rows, claims, figures = [], [], {}
    for law, load in itertools.product(LAWS, LOADS):
        name = f"{law.name}, {percent(load, 0)}"
        if not settings.wants(f"law {name}"):
            continue
        settings.progress(f"load: {name}")
        limit = f"{percent(WITHIN, 0)} or inside the interval"
        try:
            found = tried(
                partial(measured, law, load, settings.budget_s * _budgets(law, load)), judged, settings.retries
            )
        except ToolFailed as error:
            claims.append(Claim(name, limit, str(error), "violated"))
            continue
        rows += _rows(name, found)
        claims.append(Claim(name, limit, "; ".join(_misses(found.value)) or "all", found.status))
        figures[name] = _figures(found)
    return [Table(HEADINGS, tuple(rows))] if rows else [], claims, {"laws": figures}


def _budgets(law: Law, load: float) -> float:
    return BUDGETS_HIGH if load > LOADS[0] and law.arrivals != "constant" else BUDGETS


def measured(law: Law, load: float, seconds: float) -> tuple[Compared, ...]:
    """Drive it once, with a seed of its own."""
    seed = next(seeds)
    first, _ = halves()
    with scratch() as folder:
        log = folder / "log"
        with serving("queue", law.served, str(MEAN_S), str(seed), log=log, cpus=first) as port:
            found = driven(
                port, rate=f"{load / MEAN_S}", arrivals=law.arrivals, seconds=seconds, seed=seed, warmup_s=WARM_UP_S
            )
        rows = np.fromfile(log, dtype=np.int64).reshape(-1, ROW)[1:]  # the first one greets
    return compared(found, rows, law, load)


def compared(found: Driven, rows: npt.NDArray[np.int64], law: Law, load: float) -> tuple[Compared, ...]:
    """The engine's figures beside the log's of the same requests, and beside the law's."""
    (level,) = found.report.levels
    if len(rows) != level.done or level.failed:
        raise ToolFailed(f"{level.done} requests, {level.failed} failed, {len(rows)} in the server's log")
    true_s = (rows[level.warm_up :, 2] - rows[level.warm_up :, 0]) / 1e9
    return tuple(_each(level.latency_s, true_s, law, load))


def _each(latency: object, true_s: npt.NDArray[np.float64], law: Law, load: float) -> Iterator[Compared]:
    for name, q in FIGURES:
        logged = float(true_s.mean()) if q is None else float(np.quantile(true_s, q))
        due = law.mean(load) if q is None else law.quantile(q, load)
        yield Compared(name, getattr(latency, name), logged, due * MEAN_S)


def judged(figures: tuple[Compared, ...]) -> Status:
    """All figures against both truths."""
    return "violated" if _misses(figures) else "holds"


def _misses(figures: tuple[Compared, ...]) -> list[str]:
    return [miss for each in figures for miss in each.misses()]


def _rows(name: str, found: Tried[tuple[Compared, ...]]) -> list[tuple[str, ...]]:
    count = max((each.found.n for each in found.value if each.found), default=0)
    logged = tuple(_shown(each, each.log_s) for each in found.value)
    lawful = tuple(_shown(each, each.law_s) for each in found.value)
    widths = tuple(_width(each) for each in found.value)
    return [
        (name, f"{count:,}", "log", *logged, noise_text(found.noise), found.status),
        ("", "", "law", *lawful, "", ""),
        ("", "", "95 % +-", *widths, "", ""),
    ]


def _shown(figure: Compared, truth_s: float) -> str:
    off = figure.off(truth_s)
    return "-" if off is None else signed(off)


def _width(figure: Compared) -> str:
    """Half the engine's interval, relative to its figure."""
    found = figure.found
    return "-" if found is None else percent((found.high - found.low) / 2 / found.value)


def _figures(found: Tried[tuple[Compared, ...]]) -> Json:
    return {
        "status": found.status, "trials": found.trials, "foreign_cpu": found.noise.foreign, "steal": found.noise.steal,
        "figures": {
            each.name: {
                "found": None if each.found is None else [each.found.value, each.found.low, each.found.high, each.found.n],
                "log_s": each.log_s, "law_s": each.law_s,
            }
            for each in found.value
        },
    }  # fmt: skip
