"""What `record --pid N --passive` costs a server that is watched: `python -m bench.watching_cost`.

A uvicorn server computes the same in each request. The watcher with all that it started is stopped and goes on again, in short slices
in the order A B B A, which a host that drifts disturbs alike; the ratios of latencies and of the server's CPU time a request are taken
within each such four. py-spy catches up on what it missed (stopped half of the time it took 799 of 800 samples), so it is asked for half
as many looks, and takes as many as it would while it goes on. Readings of clocks are caught up as well, so what they cost counts twice.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.live_servers import FASTAPI, serving, uvicorn
from bench.tool import scratch
from pinchpoint import stats

WATCHES, BUDGET_S, STARTING_S, SLICE_S, SETTLING_S = 12, 60.0, 4.0, 0.06, 0.005
HALVED = "import sys, pinchpoint.record_passive as it; from pinchpoint.cli import main; it.STACKS_SHARE /= 2; sys.exit(main())"
ENDS = (0, 3)  # of a run: its answer is complete, or it is not
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
    """Seconds a request: of the median one and the mean, and of the server's CPUs."""

    median_s: float
    mean_s: float
    cpu_s: float


def main() -> None:
    found: list[tuple[list[Slice], list[Slice]]] = []
    with scratch() as folder, serving(folder / "server", "\n".join((WORK, FASTAPI, ROUTE)), uvicorn) as port:
        server = _listening(port)
        _slice(port, server)
        for number in range(WATCHES):
            with subprocess.Popen(
                _watch(server.pid), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as tool:
                time.sleep(STARTING_S)
                end = time.monotonic() + BUDGET_S - 2 * STARTING_S
                while time.monotonic() < end:
                    assert tool.poll() is None, "it ended before the slices did"
                    slices = [_slice(port, server, tool.pid, on=on) for on in (False, True, True, False)]
                    found.append((slices[::3], slices[1:3]))
            ended = "" if tool.returncode in ENDS else f", and it ended with {tool.returncode}"
            print(f"{number + 1} of {WATCHES}: {len(found)} times A B B A{ended}", flush=True)
    for words, name in (
        ("median latency", "median_s"),
        ("mean latency", "mean_s"),
        ("the server's CPU time a request", "cpu_s"),
    ):
        each = stats.mean_interval([math.log(_ratio(one, name)) for one in found])
        low, value, high = (math.expm1(end) for end in (each.low, each.value, each.high))
        print(f"{words}: {value:+.2%} ({low:+.2%} to {high:+.2%}, {len(found)} times A B B A)")


def _ratio(found: tuple[list[Slice], list[Slice]], name: str) -> float:
    plain, watched = (statistics.fmean(getattr(each, name) for each in slices) for slices in found)
    return watched / plain


def _watch(pid: int) -> list[str]:
    return [sys.executable, "-c", HALVED, "record", "--pid", str(pid), "--passive", "--budget", str(BUDGET_S)]


def _listening(port: int) -> psutil.Process:
    """The process that serves the port."""
    found = next(
        each.pid for each in psutil.net_connections("tcp") if each.laddr.port == port and each.status == "LISTEN"
    )
    return psutil.Process(found)


def _slice(port: int, server: psutil.Process, watcher: int = 0, *, on: bool = True) -> Slice:
    """Requests one after the other, while the watcher goes on or is stopped; it goes on afterwards, whatever happens."""
    if watcher and not on:
        _signal(watcher, signal.SIGSTOP)
    try:
        return _requests(port, server)
    finally:
        if watcher:
            _signal(watcher, signal.SIGCONT)


def _requests(port: int, server: psutil.Process) -> Slice:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    time.sleep(SETTLING_S)
    seconds, before, end = [], _cpu_s(server), time.monotonic() + SLICE_S
    while time.monotonic() < end:
        began = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - began)
    connection.close()
    return Slice(statistics.median(seconds), statistics.fmean(seconds), (_cpu_s(server) - before) / len(seconds))


def _signal(watcher: int, what: signal.Signals) -> None:
    """To the watcher and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(watcher)
        for each in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(what)


def _cpu_s(server: psutil.Process) -> float:
    """By the scheduler's clock of each thread, which counts nanoseconds."""
    threads = Path(f"/proc/{server.pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text("ascii").split()[0]) for each in threads) / 1e9


if __name__ == "__main__":
    main()
