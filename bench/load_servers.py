"""Servers that `bench.load` sends to, each in a process of its own: `python -m bench.load_servers KIND LOG ARGUMENT ...`.

One tells its port in a line, ends when its input ends, and then writes the times it knows of to LOG ("" for none), eight bytes
each, on the clock that the engine uses too. None of them shares code with the engine.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import random
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Any

from bench.report import REPOSITORY

BODY = b'{"model_name":"m","outputs":[{"name":"y","shape":[1,2],"data":[0.25,0.75]}]}'.ljust(80)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 80\r\n\r\n" + BODY
END = b"\r\n\r\n"
SPIN_S = 0.0002  # before a completion is due, on the only CPU: what the kernel's timers are late by at most
ROW = 3  # numbers a request in the log of a queue: arrival, service time, completion
BLOCK_BYTES = 1 << 16


# --- as the bench sees them ----------------------------------------------------------------------------------------
@contextlib.contextmanager
def serving(kind: str, *arguments: str, log: Path | None = None, cpus: Sequence[int] = ()) -> Iterator[int]:
    """The port of a server on `cpus` (all where empty); the log is complete once the block is left."""
    with on(cpus):
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.load_servers", kind, str(log or ""), *arguments],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def on(cpus: Sequence[int]) -> Iterator[None]:
    """What is started in the block runs on `cpus`; everywhere where empty."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cpus) or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def halves() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A CPU for the server and those for the client; the same one where there is no other."""
    mine = tuple(sorted(os.sched_getaffinity(0)))
    return mine[:1], mine[1:] or mine


# --- HTTP: at once, or after a while --------------------------------------------------------------------------------
class Answering(asyncio.Protocol):
    """Answers requests without a body, each `delay_s` after it came, and keeps when they came."""

    def __init__(self, came: array.array[int] | None, delay_s: float) -> None:
        self._came, self._delay_s = came, delay_s
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # uvloop's own classes
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        count = data.count(END)
        if self._came is not None:
            self._came.extend([monotonic_ns()] * count)
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._transport.write, ANSWER * count)
        else:
            self._transport.write(ANSWER if count == 1 else ANSWER * count)


async def _http(log: str, delay_s: str = "0") -> None:
    loop, came = asyncio.get_running_loop(), array.array("q") if log else None
    server = await loop.create_server(lambda: Answering(came, float(delay_s)), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await _end_of_input()
    server.close()
    if came is not None:
        Path(log).write_bytes(came.tobytes())


async def _end_of_input() -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(0, over.set)
    await over.wait()


# --- gRPC ----------------------------------------------------------------------------------------------------------
async def _grpc(_log: str, answer: str) -> None:
    """Every method answers with the bytes of a file."""
    import grpc
    from grpc import aio

    content = Path(answer).read_bytes()

    async def answered(_request: bytes, _context: object) -> bytes:
        return content

    class Anything(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
        def service(self, _details: object) -> object:
            return grpc.unary_unary_rpc_method_handler(answered)

    server = aio.server()
    server.add_generic_rpc_handlers((Anything(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await _end_of_input()
    await server.stop(0)


# --- a queue with known service times -------------------------------------------------------------------------------
def drawn(law: str, mean_s: float, seed: str) -> Iterator[float]:
    """Service times of a law, in seconds: `constant`, `exponential`, or `two_point` (one in ten takes half of all time)."""
    generator = random.Random(seed)
    while True:
        if law == "constant":
            yield mean_s
        elif law == "exponential":
            yield generator.expovariate(1 / mean_s)
        else:
            yield mean_s * (5.0 if generator.random() < 0.1 else 5.0 / 9)


class Queue:
    """One server, first come first served: a request is complete at max(its arrival, the completion before) + its service
    time, computed and not measured; the answer leaves at that moment. The loop never sleeps where the client has a CPU of its
    own: how long this one takes to wake up would be no part of the log, and of each latency.
    """

    def __init__(self, times_s: Iterator[float]) -> None:
        self._times_s = times_s
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._readers: list[Any] = [sys.stdin.buffer, self._listening]
        self._waiting: deque[tuple[int, socket.socket]] = deque()
        self._free_ns = 0
        self.log = array.array("q")
        self.port = self._listening.getsockname()[1]

    def serve(self) -> None:
        """Until the input ends."""
        while True:
            ready, _, _ = select.select(self._readers, [], [], self._idle_s())
            if sys.stdin.buffer in ready:
                return
            for each in ready:
                self._take(each)
            while self._waiting and self._waiting[0][0] <= monotonic_ns():
                with contextlib.suppress(OSError):  # the client has left
                    self._waiting.popleft()[1].sendall(ANSWER)

    def _idle_s(self) -> float:
        if (os.cpu_count() or 1) > 1:
            return 0.0
        return max((self._waiting[0][0] - monotonic_ns()) / 1e9 - SPIN_S, 0.0) if self._waiting else 1.0

    def _take(self, ready: socket.socket) -> None:
        if ready is self._listening:
            connection, _ = ready.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._readers.append(connection)
            return
        now = monotonic_ns()
        data = ready.recv(BLOCK_BYTES)
        if not data:
            self._readers.remove(ready)
            ready.close()
            return
        for _ in range(data.count(END)):
            service_ns = int(next(self._times_s) * 1e9)
            self._free_ns = max(now, self._free_ns) + service_ns
            self._waiting.append((self._free_ns, ready))
            self.log.extend((now, service_ns, self._free_ns))


def _queue(log: str, law: str, mean_s: str, seed: str) -> None:
    queue = Queue(drawn(law, float(mean_s), seed))
    print(queue.port, flush=True)
    queue.serve()
    Path(log).write_bytes(queue.log.tobytes())


def _hog(_log: str) -> None:
    """Takes a CPU."""
    print(0, flush=True)
    while not select.select([sys.stdin.buffer], [], [], 0)[0]:
        for _ in range(100_000):
            pass


def main(kind: str, log: str, *arguments: str) -> None:
    plain: dict[str, Callable[..., None]] = {"queue": _queue, "hog": _hog}
    if kind in plain:
        plain[kind](log, *arguments)
        return
    if kind == "grpc":
        asyncio.run(_grpc(log, *arguments))
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_http(log, *arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
