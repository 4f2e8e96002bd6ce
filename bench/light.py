"""Light: what recording costs a target's median latency, and what a stage marker costs; beside other profilers."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pinchpoint
from bench import arms, models, pipelines, rivals, stopwatch
from bench.noise import Status, Tried, tried
from bench.report import Claim, Json, Report, Table, milliseconds, signed
from bench.settings import Settings
from bench.tool import scratch
from bench.truth import noise_text, read_log
from pinchpoint import api, store
from pinchpoint.domain.quantity import Quantity

OVERHEAD, FROM_S = 0.02, 0.001  # of the median latency, for requests of at least this long: what the project promises
MARKER_ON_S, MARKER_OFF_S = 2e-6, 0.2e-6
SECONDS_PER_BUDGET = 2.0  # a target is driven for so many budgets: 12 cycles of A B B A
RIVAL_PER_BUDGET = 0.7  # their costs are large enough to be seen sooner
IDLE_MARKERS, IDLE_REPEATS = 10_000, 21
ONE_THREAD = {"intra_op_threads": "1"}


@dataclass(frozen=True, slots=True)
class Work:
    """A target of light: its name, what the tool is pointed at, settings, and its length by design."""

    name: str
    target: str
    meant_s: float
    settings: Mapping[str, str] | None = None

    @property
    def judged(self) -> bool:
        """Whether the promise covers requests of this length."""
        return self.meant_s >= FROM_S


@dataclass(frozen=True, slots=True)
class Markers:
    """Mean seconds a stage marker takes: while recording, of all requests and of the observed ones, and otherwise."""

    recording_s: float
    observed_s: float
    others_s: float
    idle_s: float


def works() -> list[Work]:
    """From 0.2 to 50 ms: pure Python, a sleep, convolutions, and many tiny operators."""
    names = {
        f"python_{text}": seconds
        for text, seconds in (("200us", 0.0002), ("1ms", 0.001), ("5ms", 0.005), ("50ms", 0.05))
    }
    names |= {"sleep_1ms": 0.001, "sleep_5ms": 0.005, "asyncio_5ms": 0.005, "socket_5ms": 0.005}
    callables = [Work(name.replace("_", " "), f"bench.workloads:{name}", seconds) for name, seconds in names.items()]
    return [
        *callables,
        Work("conv 5 ms", str(conv()), 0.005, ONE_THREAD),
        Work("600 tiny operators", str(tiny()), 0.0002, ONE_THREAD),
    ]


def conv() -> Path:
    """Two convolutions, some 4 ms on one thread."""
    return models.model("conv3x3.short", lambda networks: networks.conv3x3(2))


def tiny() -> Path:
    """600 operators in 0.15 ms."""
    return models.model("tiny", lambda networks: networks.tiny_operators(600))


def run(settings: Settings) -> Report:
    """Every target with recording on and off, the markers, and the other profilers."""
    began = time.monotonic()
    tables, claims = [], []
    figures: dict[str, Json] = {}
    for part in (_recordings, _markers, _rivals):
        table, found, numbers = part(settings)
        tables += [table] if table.rows else []
        claims += found
        figures |= numbers
    title = "LIGHT: median latency with recording on against off, interleaved (95 % intervals)"
    return Report("light", title, tuple(tables), tuple(claims), figures, time.monotonic() - began)


def _recordings(settings: Settings) -> tuple[Table, list[Claim], dict[str, Json]]:
    rows, claims, figures = [], [], {}
    for work in (each for each in works() if settings.wants(each.name)):
        settings.progress(f"light: {work.name}")
        seconds = settings.budget_s * SECONDS_PER_BUDGET
        found = tried(
            partial(arms.recording_overhead, work.target, seconds, work.settings),
            partial(_judged, work),
            settings.retries,
        )
        cost, latency = found.value
        said = (signed(cost.value), interval(cost))
        rows.append((work.name, milliseconds(latency), *said, noise_text(found.noise), found.status))
        if work.judged:
            claims.append(Claim(work.name, f"at most {signed(OVERHEAD)}", " in ".join(said), found.status))
        figures[work.name] = _figures(found)
    return Table(("pinchpoint on", "ms", "overhead", "95 %", "noise", "status"), tuple(rows)), claims, figures


def _judged(work: Work, found: tuple[Quantity, float]) -> Status:
    return overhead_status(found[0]) if work.judged else "shown"


def overhead_status(cost: Quantity) -> Status:
    """Holds if the whole interval is within the promise, violated if none of it is."""
    if cost.high <= OVERHEAD:
        return "holds"
    return "violated" if cost.low > OVERHEAD else "inconclusive"


def _markers(settings: Settings) -> tuple[Table, list[Claim], dict[str, Json]]:
    if not settings.wants("marker"):
        return Table((), ()), [], {}
    settings.progress("light: stage markers")
    found = tried(partial(marker_cost, settings.budget_s), _markers_judged, settings.retries)
    cost, noise = found.value, noise_text(found.noise)
    microseconds = [f"{s * 1e6:.2f}" for s in (cost.recording_s, cost.observed_s, cost.others_s, cost.idle_s)]
    table = Table(
        ("a stage marker, us", "recording", "observed", "others", "not recording", "noise", "status"),
        (("mean", *microseconds, noise, found.status),),
    )
    said = f"{microseconds[0]} and {microseconds[3]} us"
    claim = Claim(
        "stage marker", f"{MARKER_ON_S * 1e6:g} us recording, {MARKER_OFF_S * 1e6:g} us otherwise", said, found.status
    )
    numbers: Json = {
        "recording_s": cost.recording_s, "observed_s": cost.observed_s, "others_s": cost.others_s, "idle_s": cost.idle_s,
        "foreign_cpu": found.noise.foreign, "status": found.status,
    }  # fmt: skip
    return table, [claim], {"marker": numbers}


def _markers_judged(cost: Markers) -> Status:
    return "holds" if cost.recording_s <= MARKER_ON_S and cost.idle_s <= MARKER_OFF_S else "violated"


def marker_cost(budget_s: float) -> Markers:
    """Record requests that are nothing but stages, and time stages where nothing listens."""
    with scratch() as folder:
        log = folder / "log"
        with log.open("wb") as file:
            file.truncate(stopwatch.LOG_BYTES)
        os.environ[stopwatch.LOG_VARIABLE] = str(log)
        try:
            recorded = api.record("bench.pipelines:markers", budget_s=budget_s, out=folder).folder
        finally:
            del os.environ[stopwatch.LOG_VARIABLE]
        assert recorded is not None
        observed = store.load(recorded).requests.observed
        each = read_log(log)[: len(observed), 0] / pipelines.MARKERS  # after these come those of small arms beside
    return Markers(float(each.mean()), float(each[observed].mean()), float(each[~observed].mean()), idle_marker_s())


def idle_marker_s() -> float:
    """Seconds that a marker takes in a process that nobody records: the median of many loops less that of empty ones."""
    marked, empty = [], []
    for _ in range(IDLE_REPEATS):
        start = time.perf_counter()
        for _ in range(IDLE_MARKERS):
            with pinchpoint.stage("model"):
                pass
        middle = time.perf_counter()
        for _ in range(IDLE_MARKERS):
            pass
        marked.append(middle - start)
        empty.append(time.perf_counter() - middle)
    return (statistics.median(marked) - statistics.median(empty)) / IDLE_MARKERS


def _rivals(settings: Settings) -> tuple[Table, list[Claim], dict[str, Json]]:
    rows = []
    figures: dict[str, Json] = {}
    for rival in (each for each in rivals.rivals(conv(), tiny()) if settings.wants(each.name)):
        settings.progress(f"light: {rival.name}")
        if rival.missing:
            rows.append((rival.name, rival.work, rival.missing, "", ""))
            continue
        found = tried(partial(rival.measure, settings.budget_s * RIVAL_PER_BUDGET), lambda _: "shown", settings.retries)
        cost = found.value
        rows.append((rival.name, rival.work, signed(cost.value), interval(cost), noise_text(found.noise)))
        figures[f"{rival.name} on {rival.work}"] = [cost.value, cost.low, cost.high]
    return Table(("others", "on", "overhead", "95 %", "noise"), tuple(rows)), [], figures


def interval(cost: Quantity) -> str:
    """An interval of relative costs."""
    return f"{cost.low * 100:.1f} to {cost.high * 100:.1f} %"


def _figures(found: Tried[tuple[Quantity, float]]) -> Json:
    cost, latency = found.value
    return {
        "status": found.status, "trials": found.trials, "foreign_cpu": found.noise.foreign, "steal": found.noise.steal,
        "latency_s": latency, "overhead": [cost.value, cost.low, cost.high],
    }  # fmt: skip
