"""What `record --pid N --passive` costs a server that is watched: `python bench/watching_cost.py`.

A uvicorn server computes the same in each request. Slices with and without watching in the order A B B A; the ratios of the medians and
of the server's CPU time a request are taken within each such four.
"""

from __future__ import annotations

import http.client
import math
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil

from bench.live_servers import FASTAPI, serving, uvicorn
from bench.tool import scratch
from pinchpoint import stats

ROUNDS, SLICE_S, STARTING_S = 8, 6.0, 4.0
WORK = """
    import sys
    STEPS = 40_000
    def work():
        total = 0
        for number in range(STEPS):
            total += number * number
        return total
"""
ROUTE = """
    @app.get("/")
    def predict():
        return {"y": work()}
"""


@dataclass(frozen=True, slots=True)
class Slice:
    """Seconds a request: of the median one, and of the server's CPUs."""

    median_s: float
    cpu_s: float


def main() -> None:
    found: list[tuple[list[Slice], list[Slice]]] = []
    with scratch() as folder, serving(folder / "server", "\n".join((WORK, FASTAPI, ROUTE)), uvicorn) as port:
        server = _listening(port)
        _slice(port, server)
        for number in range(ROUNDS):
            plain, watched = [_slice(port, server)], []
            with subprocess.Popen(
                _watch(server.pid), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as tool:
                time.sleep(STARTING_S)
                watched += [_slice(port, server), _slice(port, server)]
                assert tool.poll() is None, "it ended before the slices did"
            plain += [_slice(port, server)]
            found.append((plain, watched))
            print(
                f"{number + 1} of {ROUNDS}: {_ratio(found[-1], 'median_s'):.4f} {_ratio(found[-1], 'cpu_s'):.4f}",
                flush=True,
            )
    for words, name in (("median latency", "median_s"), ("the server's CPU time a request", "cpu_s")):
        each = stats.mean_interval([math.log(_ratio(one, name)) for one in found])
        low, value, high = (math.expm1(end) for end in (each.low, each.value, each.high))
        print(f"{words}: {value:+.2%} ({low:+.2%} to {high:+.2%}, {len(found)} times A B B A)")


def _ratio(found: tuple[list[Slice], list[Slice]], name: str) -> float:
    plain, watched = (statistics.fmean(getattr(each, name) for each in slices) for slices in found)
    return watched / plain


def _watch(pid: int) -> list[str]:
    budget = STARTING_S + 2 * SLICE_S + 2.0
    return [sys.executable, "-m", "pinchpoint", "record", "--pid", str(pid), "--passive", "--budget", str(budget)]


def _listening(port: int) -> psutil.Process:
    """The process that serves the port."""
    found = next(
        each.pid for each in psutil.net_connections("tcp") if each.laddr.port == port and each.status == "LISTEN"
    )
    return psutil.Process(found)


def _slice(port: int, server: psutil.Process) -> Slice:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    seconds, before, end = [], _cpu_s(server), time.monotonic() + SLICE_S
    while time.monotonic() < end:
        began = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - began)
    connection.close()
    return Slice(statistics.median(seconds), (_cpu_s(server) - before) / len(seconds))


def _cpu_s(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
