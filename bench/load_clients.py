"""Clients that are compared: each in a process of its own, `python -m bench.load_clients KIND PORT COUNT [REQUEST]`, 16 in flight.

One says in JSON how much CPU its requests took. The Python clients read their own clocks after a warm-up, so that their start
is not in it; wrk is charged its whole process, of whose start a run of seconds feels nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from shutil import which
from typing import Any

from bench.load_servers import on
from bench.report import REPOSITORY
from bench.tool import ToolFailed

IN_FLIGHT = 16
WARM_UP = 0.1  # of the count
METHOD = "inference.GRPCInferenceService/ModelInfer"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of so many requests, their median latency, and of pinchpoint the part of the sending process alone."""

    cpu_s: float
    requests: int
    p50_s: float
    worker_s: float = 0.0

    @property
    def each_s(self) -> float:
        """CPU seconds a request."""
        return self.cpu_s / self.requests


def missing(package: str) -> str | None:
    """Why a client cannot be run; None if it can."""
    if package == "wrk":
        return None if which("wrk") else "wrk is not installed (apt install wrk)"
    try:
        version(package)
    except PackageNotFoundError:
        return f"{package} is not installed (group bench of the project)"
    return None


def cost(kind: str, port: int, count: int, cpus: Sequence[int], request: str = "") -> Cost:
    """What a Python client says of itself."""
    command = [sys.executable, "-m", "bench.load_clients", kind, str(port), str(count), request]
    with on(cpus):
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate()
    if process.returncode:
        raise ToolFailed(f"{kind}: {(err.strip().splitlines() or ['no word'])[-1]}"[:200])
    return Cost(**json.loads(out.splitlines()[-1]))


def wrk(port: int, seconds: float, cpus: Sequence[int]) -> Cost:
    """What wrk with one thread took, in so many whole seconds."""
    command = ["wrk", "-t1", f"-c{IN_FLIGHT}", f"-d{max(1, round(seconds))}s", "--latency", f"http://127.0.0.1:{port}/"]
    with on(cpus):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    return Cost(usage.ru_utime + usage.ru_stime, *wrk_said(said))


def wrk_said(text: str) -> tuple[int, float]:
    """How many requests wrk made, and their median latency."""
    requests = re.search(r"(\d+) requests in", text)
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)\b", text)
    if not requests or not p50 or "Non-2xx" in text:
        raise ToolFailed(f"wrk said {text.strip()[-100:]!r}")
    return int(requests[1]), float(p50[1]) * _UNITS[p50[2]]


# --- in the process of a client ------------------------------------------------------------------------------------
async def _kept_in_flight(ask: Callable[[], Awaitable[None]], count: int) -> list[float]:
    """`count` requests, 16 in flight; the latency of each."""
    left, took = count, []

    async def slot() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            begin = time.perf_counter()
            await ask()
            took.append(time.perf_counter() - begin)

    await asyncio.gather(*(slot() for _ in range(IN_FLIGHT)))
    return took


async def _measured(ask: Callable[[], Awaitable[None]], count: int) -> Cost:
    await _kept_in_flight(ask, max(IN_FLIGHT, int(count * WARM_UP)))
    begin = time.process_time()
    took = await _kept_in_flight(ask, count)
    return Cost(time.process_time() - begin, len(took), statistics.median(took))


async def _aiohttp(port: int, count: int, _request: str) -> Cost:
    import aiohttp

    url = f"http://127.0.0.1:{port}/"
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask() -> None:
            async with session.get(url) as answer:
                await answer.read()

        return await _measured(ask, count)


async def _tritonclient(port: int, count: int, _request: str) -> Cost:
    from tritonclient.grpc import aio

    client = aio.InferenceServerClient(f"127.0.0.1:{port}")
    given, outputs = asked()

    async def ask() -> None:
        await client.infer("m", given, outputs=outputs)

    try:
        return await _measured(ask, count)
    finally:
        await client.close()


def asked() -> tuple[list[Any], list[Any]]:
    """What tritonclient sends: 224 x 16 floats, and the name of one output."""
    import numpy as np
    from tritonclient import grpc

    given = grpc.InferInput("x", [1, 16, 224], "FP32")
    given.set_data_from_numpy(np.ones((1, 16, 224), np.float32))
    return [given], [grpc.InferRequestedOutput("y")]


def messages() -> tuple[bytes, bytes]:
    """The same request as bytes, and an answer with a thousand floats."""
    from tritonclient.grpc import service_pb2
    from tritonclient.grpc._utils import _get_inference_request

    request = _get_inference_request(
        model_name="m", inputs=asked()[0], model_version="", request_id="", outputs=asked()[1], sequence_id=0,
        sequence_start=False, sequence_end=False, priority=0, timeout=None, parameters=None,
    )  # fmt: skip
    answer = service_pb2.ModelInferResponse(model_name="m", model_version="1")
    answer.outputs.add(name="y", datatype="FP32", shape=[1, 1000])
    answer.raw_output_contents.append(bytes(4000))
    return request.SerializeToString(), answer.SerializeToString()


def _pinchpoint(port: int, count: int, request: str) -> Cost:
    """Both processes: the worker's own count, and the one above it, of whose start and end a short run is subtracted."""
    few = max(count // 20, IN_FLIGHT)
    small, large = _driven(port, few, request), _driven(port, count, request)
    above_s = (large.cpu_s - large.worker_s - small.cpu_s + small.worker_s) * count / (count - few)
    return Cost(large.worker_s + above_s, large.requests, large.p50_s, large.worker_s)


def _driven(port: int, count: int, request: str) -> Cost:
    import numpy as np

    from pinchpoint import __version__, environment
    from pinchpoint.driving import LoadOptions, understood
    from pinchpoint.load import engine

    url = f"grpc://127.0.0.1:{port}/{METHOD}" if request else f"http://127.0.0.1:{port}/"
    files = (request,) if request else ()
    traffic, sending = understood(LoadOptions(url, concurrency=str(IN_FLIGHT), count=count, input=files))
    naming = engine.Naming("bench", "", __version__, environment.read(None, None))
    begin = time.process_time()
    run = engine.drive(traffic, sending, naming, lambda _: None)
    above_s, level = time.process_time() - begin, run.levels[0]
    if level.failures or run.ended != "complete":
        raise ToolFailed(f"{run.ended}, {level.failures}")
    return Cost(level.cpu_s + above_s, level.done, float(np.median(run.sends.latency_s)), level.cpu_s)


def main(kind: str, port: str, count: str, request: str = "") -> None:
    if kind == "pinchpoint":
        found = _pinchpoint(int(port), int(count), request)
    else:
        import uvloop

        client = {"aiohttp": _aiohttp, "tritonclient": _tritonclient}[kind]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(client(int(port), int(count), request))
    print(json.dumps({name: getattr(found, name) for name in Cost.__slots__}))


if __name__ == "__main__":
    main(*sys.argv[1:])
