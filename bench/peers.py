"""Peers: `pinchpoint load` beside perf_analyzer, which the makers of Triton measure with, on one Triton in the same minute.

Both send the same input as bytes, one request in flight, the same number of requests, in turns; who is first alternates. Percentiles of
both come from each request's own time, with the same interval. Needs `make servers NAMES="triton perf_analyzer"`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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

PAIRS, REQUESTS, WITHIN, OVERLAPS = 10, 1000, 0.03, 9
NAMES = ("triton", "perf_analyzer")
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Found:
    """Percentiles in seconds, of at least 459 requests, and requests a second."""

    p50: Quantity
    p99: Quantity
    rate: float


Ask = Callable[[Path, Running], Found]


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
            found = {ask: ask(folder, server) for ask in (asking if number % 2 else asking[::-1])}
            pairs.append((found[ours], found[theirs]))
    headings = ("pair", "p50 ms", "theirs", "off", "rate /s", "off", "p99 ms", "theirs")
    rows = tuple(_row(number + 1, *pair) for number, pair in enumerate(pairs))
    title = "PEERS: pinchpoint load beside perf_analyzer, Triton, one request in flight"
    return Report("peers", title, (Table(headings, rows),), tuple(_claims(pairs)), {}, time.monotonic() - began)


def _claims(pairs: list[tuple[Found, Found]]) -> list[Claim]:
    medians = float(np.median([ours.p50.value / theirs.p50.value for ours, theirs in pairs])) - 1
    rates = float(np.median([ours.rate / theirs.rate for ours, theirs in pairs])) - 1
    overlap = sum(ours.p99.low <= theirs.p99.high and theirs.p99.low <= ours.p99.high for ours, theirs in pairs)
    limit, needed = f"within {WITHIN:.0%}", f"{OVERLAPS} of {PAIRS}"
    return [
        Claim("p50, median of the pairs", limit, signed(medians), _status(abs(medians) <= WITHIN)),
        Claim("throughput, median of the pairs", limit, signed(rates), _status(abs(rates) <= WITHIN)),
        Claim("p99 intervals overlap", needed, f"{overlap} of {PAIRS}", _status(overlap >= OVERLAPS)),
    ]


def _status(good: bool) -> Status:
    return "holds" if good else "violated"


def _row(number: int, ours: Found, theirs: Found) -> tuple[str, ...]:
    return (
        str(number), f"{ours.p50.value * 1e3:.2f}", f"{theirs.p50.value * 1e3:.2f}", signed(ours.p50.value / theirs.p50.value - 1),
        f"{ours.rate:.1f}", signed(ours.rate / theirs.rate - 1), _ms(ours.p99), _ms(theirs.p99),
    )  # fmt: skip


def _ms(found: Quantity) -> str:
    return f"{found.value * 1e3:.1f} ({found.low * 1e3:.1f}-{found.high * 1e3:.1f})"


def ours(folder: Path, server: Running, count: int = REQUESTS) -> Found:
    """What `pinchpoint load` finds with one request in flight."""
    options = ["--count", str(count), "--json", "load.json", "--out", "runs", "--quiet"]
    command = [sys.executable, "-m", "pinchpoint", "load", server.target, *options]
    before = set((folder / "runs").glob("*"))
    subprocess.run(command, cwd=folder, capture_output=True, timeout=LIMIT_S, check=True)
    (made,) = set((folder / "runs").glob("*")) - before
    sends = store.load_traffic(made).sends
    return _found(sends.due_ns, sends.done_ns)


def theirs(folder: Path, server: Running, count: int = REQUESTS) -> Found:
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
    times = [(each["timestamp"], each["response_timestamps"][-1]) for each in experiment["requests"]]
    return _found(*np.array(times).T)


def _found(sent_ns: np.ndarray, done_ns: np.ndarray) -> Found:
    p50, p99 = (stats.quantile_interval((done_ns - sent_ns) / 1e9, q) for q in (0.5, 0.99))
    assert p50 is not None
    assert p99 is not None
    return Found(p50, p99, len(done_ns) / ((done_ns.max() - sent_ns.min()) / 1e9))
