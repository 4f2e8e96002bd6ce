"""How much the client itself can do: its workers against a server that does nothing, with the target's own request and answer."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pinchpoint import stats
from pinchpoint.domain.arrivals import CLOSED
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.traffic import Client
from pinchpoint.errors import AnalysisFailed
from pinchpoint.load import null_certificate, records
from pinchpoint.load.crew import Crew, Seen
from pinchpoint.load.null_server import LENGTH

SLICES, SLICE_S = 5, 0.12  # each is one observation of the cost
PATIENCE_S = 10.0
IN_FLIGHT = 16  # at most: with more, a worker's cost a request no longer falls
MODULES = {"http": "pinchpoint.load.null_server", "grpc": "pinchpoint.load.grpc_null_server"}
LEAST_REQUESTS = 20  # of a slice
CLOCK_BITS, SCHEDULED = 3, 2  # of the CPU clock of another process, as clock_getcpuclockid makes it


def client(plan: Mapping[str, Any], request: bytes, answer: bytes | None, in_flight: int, workers: int) -> Client:
    """The client's cost a request and its ceiling; without them and with the reason where they could not be measured."""
    if answer is None:
        return Client(workers, reason="the answer is too large to be played back")
    try:
        with null_server(plan, request, answer) as (port, _):
            costs = _costs(plan, port, min(in_flight, IN_FLIGHT))
    except (AnalysisFailed, OSError) as error:
        return Client(workers, reason=f"the server that does nothing failed: {error}")
    if len(costs) < 2:
        return Client(workers, reason="too few requests against the server that does nothing")
    cost = stats.independent_mean(costs)
    high = max(cost.high, cost.value)
    low = max(cost.low, cost.value / 2)
    ceiling = Quantity(workers / cost.value, workers / high, workers / low, cost.n)
    return Client(workers, Quantity(cost.value, low, high, cost.n), ceiling)


def round_trip(plan: Mapping[str, Any], request: bytes, answer: bytes | None) -> Quantity | None:
    """Seconds that one request alone takes to a server that does nothing and back, on a connection that stands, without that
    server's own CPU time; None where it could not be measured.
    """
    if answer is None:
        return None
    try:
        with null_server(plan, request, answer) as (port, process):
            seconds = _alone(plan, port, process)
    except (AnalysisFailed, OSError):
        return None
    if len(seconds) < 2:
        return None
    found = stats.independent_mean(seconds)
    return Quantity(found.value, max(found.low, 0.0), found.high, found.n)


def _alone(plan: Mapping[str, Any], port: int, process: int) -> list[float]:
    """Mean seconds of a request, one in flight, once for each slice; the first one warms up."""
    level = {"arrivals": {"loop": CLOSED, "concurrency": 1}, "seconds": SLICE_S, "count": 0}
    crew, found = Crew(_here(plan, port), 1), []
    try:
        for number in range(SLICES + 1):
            before = _ran_s(process)
            seen = crew.drive(level, _watched, PATIENCE_S)
            if seen.stopped == "interrupted":
                raise KeyboardInterrupt
            rows = seen.all_rows()
            rows = rows[(rows["outcome"] == records.OK) | (rows["outcome"] == records.STATUS)]
            if number and len(rows) >= LEAST_REQUESTS:
                mean_s = float((rows["done_ns"] - rows["sent_ns"]).mean()) / 1e9
                found.append(max(mean_s - (_ran_s(process) - before) / len(rows), 0.0))
    finally:
        crew.close()
    return found


def _ran_s(process: int) -> float:
    """CPU seconds of all threads of a process: gRPC has some beside the main one, which hand a request from one to the next."""
    return time.clock_gettime(~process << CLOCK_BITS | SCHEDULED)


def _here(plan: Mapping[str, Any], port: int) -> Mapping[str, Any]:
    """The plan's first request, to a port of this machine."""
    here = {"host": "127.0.0.1", "port": port, "unix": "", "insecure": True}
    if plan["tls"]:
        here |= {"roots": null_certificate.CERTIFICATE, "name": null_certificate.NAME}
    return {**plan, "requests": [plan["requests"][0]], "mix": [], **here}


def _costs(plan: Mapping[str, Any], port: int, in_flight: int) -> list[float]:
    """CPU seconds a request of one worker, once for each slice; the first one warms up."""
    level = {
        "arrivals": {"loop": CLOSED, "concurrency": max(in_flight, 1)},
        "seconds": SLICE_S,
        "count": 0,
    }
    crew, found = Crew(_here(plan, port), 1), []
    try:
        for number in range(SLICES + 1):
            seen = crew.drive(level, _watched, PATIENCE_S)
            if seen.stopped == "interrupted":
                raise KeyboardInterrupt
            answered = int(seen.outcomes[records.OK]) + int(seen.outcomes[records.STATUS])
            if number and answered >= LEAST_REQUESTS:
                found.append(seen.counters[records.CPU_NS] / 1e9 / answered)
    finally:
        crew.close()
    return found


def _watched(_seen: Seen, _seconds: float) -> str:
    return ""


@contextlib.contextmanager
def null_server(plan: Mapping[str, Any], request: bytes, answer: bytes) -> Iterator[tuple[int, int]]:
    """The port and the process of a server that does nothing; it ends with the block."""
    port_from, port_to = os.pipe()
    answer_from, answer_to = os.pipe()
    options = [name for name in ("tls", "stream") if plan[name]]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", MODULES[plan["kind"]], str(port_to), str(answer_from), *options],
        pass_fds=(port_to, answer_from), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    os.close(port_to)
    os.close(answer_from)
    try:
        data = LENGTH.pack(len(request)) + LENGTH.pack(len(answer)) + answer
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(answer_to, data) :]
        ready, _, _ = select.select([port_from], [], [], PATIENCE_S)
        told = os.read(port_from, LENGTH.size) if ready else b""
        if len(told) < LENGTH.size:
            raise AnalysisFailed(what="the server that does nothing did not start", where="", todo="")
        yield LENGTH.unpack(told)[0], process.pid
    finally:
        os.close(answer_to)
        os.close(port_from)
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
