"""What a request costs the client: pinchpoint beside wrk, aiohttp and tritonclient, in turn against one server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.load_clients import IN_FLIGHT, Cost, cost, messages, missing, wrk
from bench.load_servers import halves, serving
from bench.noise import Status, Tried, tried
from bench.ratios import at_most, ratio, said
from bench.report import Claim, Json, Table
from bench.settings import Settings
from bench.tool import ToolFailed, scratch
from bench.truth import noise_text

REPEATS = 15  # of each, in turn: of 15 ratios the fourth and the twelfth enclose the median with 96 %
HTTP_REQUESTS, AIOHTTP_REQUESTS, GRPC_REQUESTS, WRK_S = 100_000, 10_000, 5_000, 2.0
WRK, AIOHTTP, TRITON = 1.25, 1 / 5, 1.0  # pinchpoint's CPU a request over theirs: what the project promises
HEADINGS = ("client, 16 in flight", "us CPU", "p50 ms", "ours / its", "95 %", "at most", "noise", "status")

Costs = dict[str, list[Cost]]


@dataclass(frozen=True, slots=True)
class Rival:
    """Who is compared, and the most that pinchpoint's CPU a request may be of its."""

    name: str
    limit: float
    package: str


@dataclass(frozen=True, slots=True)
class Wire:
    """A protocol and who speaks it."""

    name: str
    rivals: tuple[Rival, ...]


WIRES = (
    Wire("http", (Rival("wrk", WRK, "wrk"), Rival("aiohttp", AIOHTTP, "aiohttp"))),
    Wire("grpc", (Rival("tritonclient", TRITON, "tritonclient"),)),
)

Found = tuple[list[Table], list[Claim], dict[str, Json]]


def run(settings: Settings) -> Found:
    """Both protocols."""
    rows, claims, figures = [], [], {}
    for wire in (each for each in WIRES if settings.wants(f"cost {each.name}")):
        settings.progress(f"load: CPU a request over {wire.name}")
        there = [rival for rival in wire.rivals if not missing(rival.package)]
        claims += [
            Claim(_name(r), _limit(r), missing(r.package) or "", "skipped") for r in wire.rivals if r not in there
        ]
        if not there:
            continue
        try:
            found = tried(partial(measured, wire, there), partial(judged, there), settings.retries)
        except ToolFailed as error:
            claims += [Claim(_name(rival), _limit(rival), str(error), "violated") for rival in there]
            continue
        rows += _rows(wire, there, found)
        claims += [_claim(rival, found) for rival in there]
        figures[wire.name] = _figures(found)
    return [Table(HEADINGS, tuple(rows))] if rows else [], claims, {"cost": figures}


def measured(wire: Wire, rivals: list[Rival]) -> Costs:
    """Each client's costs, in turn; every second round backwards."""
    found: Costs = {name: [] for name in ("pinchpoint", *(rival.name for rival in rivals))}
    with _clients(wire) as clients:
        for number in range(REPEATS):
            for name in reversed(found) if number % 2 else found:
                found[name].append(clients[name]())
    return found


@contextlib.contextmanager
def _clients(wire: Wire) -> Iterator[dict[str, Callable[[], Cost]]]:
    """What measures each client, with the server that all of them ask."""
    first, rest = halves()
    if wire.name == "http":
        with serving("http", cpus=first) as port:
            yield {
                "pinchpoint": partial(cost, "pinchpoint", port, HTTP_REQUESTS, rest),
                "wrk": partial(wrk, port, WRK_S, rest),
                "aiohttp": partial(cost, "aiohttp", port, AIOHTTP_REQUESTS, rest),
            }
        return
    with scratch() as folder:
        request, answer = folder / "request", folder / "answer"
        for path, content in zip((request, answer), messages(), strict=True):
            Path(path).write_bytes(content)
        with serving("grpc", str(answer), cpus=first) as port:
            yield {
                "pinchpoint": partial(cost, "pinchpoint", port, GRPC_REQUESTS, rest, str(request)),
                "tritonclient": partial(cost, "tritonclient", port, GRPC_REQUESTS, rest),
            }


def _each(costs: list[Cost]) -> list[float]:
    return [cost.each_s for cost in costs]


def _status(rival: Rival, costs: Costs) -> Status:
    return at_most(rival.limit, ratio(_each(costs["pinchpoint"]), _each(costs[rival.name])))


def judged(rivals: list[Rival], costs: Costs) -> Status:
    """All rivals together."""
    found = {_status(rival, costs) for rival in rivals}
    worst: list[Status] = ["violated", "inconclusive", "holds"]
    return next(status for status in worst if status in found)


def _rows(wire: Wire, rivals: list[Rival], found: Tried[Costs]) -> list[tuple[str, ...]]:
    costs = found.value
    ours = costs["pinchpoint"]
    worker_us = sorted(each.worker_s / each.requests * 1e6 for each in ours)[len(ours) // 2]
    rows: list[tuple[str, ...]] = [
        (f"pinchpoint, {wire.name}", *_medians(ours), "", "", "", noise_text(found.noise), "")
    ]
    rows.append(("  its sending process", f"{worker_us:.1f}", "", "", "", "", "", ""))
    for rival in rivals:
        found_ratio = ratio(_each(ours), _each(costs[rival.name]))
        interval = f"{found_ratio.low:.2f}-{found_ratio.high:.2f}"
        shown = (f"{found_ratio.value:.2f}", interval, f"{rival.limit:.2f}", "", _claim(rival, found).status)
        rows.append((f"  {rival.name}", *_medians(costs[rival.name]), *shown))
    return rows


def _medians(costs: list[Cost]) -> tuple[str, str]:
    middle = len(costs) // 2
    return f"{sorted(_each(costs))[middle] * 1e6:.1f}", f"{sorted(each.p50_s for each in costs)[middle] * 1e3:.3g}"


def _claim(rival: Rival, found: Tried[Costs]) -> Claim:
    ours, theirs = (_each(found.value[name]) for name in ("pinchpoint", rival.name))
    status = _status(rival, found.value)
    if status == "violated" and found.status != "violated":  # the machine was loud
        status = "inconclusive"
    return Claim(_name(rival), _limit(rival), f"{said(ratio(ours, theirs))} times", status)


def _name(rival: Rival) -> str:
    return f"CPU a request, {IN_FLIGHT} in flight, beside {rival.name}"


def _limit(rival: Rival) -> str:
    return f"{rival.limit:g} times"


def _figures(found: Tried[Costs]) -> Json:
    return {
        "status": found.status, "trials": found.trials, "foreign_cpu": found.noise.foreign, "steal": found.noise.steal,
        "costs": {
            name: [{key: getattr(each, key) for key in Cost.__slots__} for each in costs]
            for name, costs in found.value.items()
        },
    }  # fmt: skip
