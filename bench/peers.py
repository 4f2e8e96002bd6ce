"""Peers: `pinchpoint load` beside perf_analyzer, which the makers of Triton measure with, on one Triton in the same minute.

Both send the same input as bytes, one request in flight, the same number of requests. A pair is four turns, A B B A, so that what
drifts within its minute is in both; who is A alternates. Percentiles of both come from each request's own time, with the same interval.
How far the two turns of one tool are apart is what this machine does by itself. Needs `make servers NAMES="triton perf_analyzer"`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from bench.noise import Status
from bench.real_servers import debian
from bench.real_servers.install import FOLDER, missing
from bench.real_servers.running import Running, running
from bench.real_servers.servers import MODEL, ROW
from bench.report import Claim, Report, Table, signed
from bench.settings import Settings
from bench.tool import scratch
from pinchpoint import stats, store
from pinchpoint.domain.quantity import Quantity

PAIRS, REQUESTS, WITHIN, OVERLAPS = 10, 500, 0.03, 9
NAMES = ("triton", "perf_analyzer")
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Found:
    """Percentiles in seconds, of at least 459 requests, and requests a second; and the p50 of the second turn over that of the first."""

    p50: Quantity
    p99: Quantity
    rate: float
    apart: float


Times: TypeAlias = np.ndarray  # (2, requests): when each was sent and answered, in ns
Ask = Callable[[Path, Running], Times]


def run(settings: Settings) -> Report:
    """Ten pairs."""
    began = time.monotonic()
    if why := "; ".join(filter(None, map(missing, NAMES))):
        return Report("peers", f"PEERS: {why}", (), (), {}, time.monotonic() - began)
    pairs: list[tuple[Found, Found]] = []
    with scratch() as folder, running("triton", folder / "triton") as server:
        asking: tuple[Ask, Ask] = (ours, theirs)
        for number in range(PAIRS):
            settings.progress(f"peers: pair {number + 1} of {PAIRS}")
            first, second = asking if number % 2 else asking[::-1]
            turns: dict[Ask, list[Times]] = {ours: [], theirs: []}
            for ask in (first, second, second, first):
                turns[ask].append(ask(folder, server))
            pairs.append((_found(turns[ours]), _found(turns[theirs])))
    headings = ("pair", "p50 ms", "theirs", "off", "rate /s", "off", "p99 ms", "theirs", "own turns apart", "theirs")
    rows = tuple(_row(number + 1, *pair) for number, pair in enumerate(pairs))
    title = "PEERS: pinchpoint load beside perf_analyzer, Triton, one request in flight"
    return Report("peers", title, (Table(headings, rows),), tuple(_claims(pairs)), {}, time.monotonic() - began)


def _claims(pairs: list[tuple[Found, Found]]) -> list[Claim]:
    medians = float(np.median([ours.p50.value / theirs.p50.value for ours, theirs in pairs])) - 1
    rates = float(np.median([ours.rate / theirs.rate for ours, theirs in pairs])) - 1
    worst = max((off for pair in pairs for off in _off(*pair)), key=abs)
    own = max((each.apart for _, each in pairs), key=abs)
    overlap = sum(ours.p99.low <= theirs.p99.high and theirs.p99.low <= ours.p99.high for ours, theirs in pairs)
    limit, needed = f"within {WITHIN:.0%}", f"{OVERLAPS} of {PAIRS}"
    return [
        Claim("p50, median of the pairs", limit, signed(medians), _status(abs(medians) <= WITHIN)),
        Claim("throughput, median of the pairs", limit, signed(rates), _status(abs(rates) <= WITHIN)),
        Claim(
            "p50 and throughput, the pair that is furthest off",
            f"{limit} (perf_analyzer itself: {signed(own)})",
            signed(worst),
            "holds" if abs(worst) <= WITHIN else "inconclusive" if abs(worst) <= abs(own) else "violated",
        ),
        Claim("p99 intervals overlap", needed, f"{overlap} of {PAIRS}", _status(overlap >= OVERLAPS)),
    ]


def _status(good: bool) -> Status:
    return "holds" if good else "violated"


def _off(ours: Found, theirs: Found) -> tuple[float, float]:
    """How much further p50 and throughput are than theirs."""
    return ours.p50.value / theirs.p50.value - 1, ours.rate / theirs.rate - 1


def _row(number: int, ours: Found, theirs: Found) -> tuple[str, ...]:
    latency, rate = _off(ours, theirs)
    return (
        str(number), f"{ours.p50.value * 1e3:.2f}", f"{theirs.p50.value * 1e3:.2f}", signed(latency), f"{ours.rate:.1f}", signed(rate),
        _ms(ours.p99), _ms(theirs.p99), signed(ours.apart), signed(theirs.apart),
    )  # fmt: skip


def _ms(found: Quantity) -> str:
    return f"{found.value * 1e3:.1f} ({found.low * 1e3:.1f}-{found.high * 1e3:.1f})"


def ours(folder: Path, server: Running, count: int = REQUESTS) -> Times:
    """What `pinchpoint load` finds with one request in flight."""
    options = ["--count", str(count), "--json", "load.json", "--out", "runs", "--quiet"]
    command = [sys.executable, "-m", "pinchpoint", "load", server.target, *options]
    before = set((folder / "runs").glob("*"))
    subprocess.run(command, cwd=folder, capture_output=True, timeout=LIMIT_S, check=True)
    (made,) = set((folder / "runs").glob("*")) - before
    sends = store.load_traffic(made).sends
    return np.stack([sends.due_ns, sends.done_ns])


def theirs(folder: Path, server: Running, count: int = REQUESTS) -> Times:
    """What perf_analyzer finds, asked for the same in the same way."""
    (folder / "input.json").write_text(json.dumps({"data": [{"x": ROW}]}))
    place, export = FOLDER / "perf_analyzer", folder / "export.json"
    program = str(place / "wheel/perf_analyzer/bin/perf_analyzer")
    start = debian.command(place / "debian", program, "/" + debian.LIBRARIES)
    options = {
        "-m": MODEL, "-u": server.url.split("/")[2], "--concurrency-range": 1, "--request-count": count,
        "--input-data": folder / "input.json", "--profile-export-file": export,
    }  # fmt: skip
    export.unlink(missing_ok=True)
    command = [*start, *(str(word) for pair in options.items() for word in pair)]
    # It fails (99) where its figures do not settle down to its liking, and exports the requests of the last measurement all the same.
    subprocess.run(command, cwd=folder, capture_output=True, timeout=LIMIT_S, check=False)
    (experiment,) = json.loads(export.read_text())["experiments"]
    return np.array([(each["timestamp"], each["response_timestamps"][-1]) for each in experiment["requests"]]).T


def _found(turns: list[Times]) -> Found:
    taken = [(done_ns - sent_ns) / 1e9 for sent_ns, done_ns in turns]
    p50, p99 = (stats.quantile_interval(np.concatenate(taken), q) for q in (0.5, 0.99))
    assert p50 is not None
    assert p99 is not None
    span_s = sum((done_ns.max() - sent_ns.min()) / 1e9 for sent_ns, done_ns in turns)
    first, second = (float(np.median(each)) for each in taken)
    return Found(p50, p99, sum(map(len, taken)) / span_s, second / first - 1)
