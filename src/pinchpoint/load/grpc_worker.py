"""gRPC in place of HTTP/1.1: calls with a request of raw bytes over one channel a worker, each slot one call at a time."""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import Any

import grpc
from grpc import aio

from pinchpoint.load import records
from pinchpoint.load.grpc_tls import Trust, channel
from pinchpoint.load.protobuf import Malformed
from pinchpoint.load.streamed_messages import error_of, holds_outputs
from pinchpoint.load.wire import MOST_BYTES
from pinchpoint.load.worker import Worker

OPTIONS = (("grpc.max_receive_message_length", MOST_BYTES), ("grpc.max_send_message_length", MOST_BYTES * 4),
           ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))  # fmt: skip
_OUTCOMES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: records.TIMEOUT,
    grpc.StatusCode.UNAVAILABLE: records.RESET,
    grpc.StatusCode.RESOURCE_EXHAUSTED: records.STATUS,
}


class Slot:
    """A place for one call at a time; to the worker it looks like a connection."""

    __slots__ = (
        "_call",
        "_worker",
        "busy",
        "bytes",
        "due",
        "events",
        "first",
        "gap",
        "open",
        "payload",
        "sent",
        "server",
        "tokens",
    )  # fmt: skip

    def __init__(self, worker: GrpcWorker) -> None:
        self._worker = worker
        self._call: Any = None
        self.open, self.busy = True, False
        self.due = self.sent = self.first = self.payload = self.bytes = self.events = self.gap = self.server = (
            self.tokens
        ) = 0

    def send(self, due_ns: int, payload: int) -> None:
        """Send a request that was due at `due_ns`."""
        self.due, self.payload, self.busy = due_ns, payload, True
        self.first = self.bytes = self.events = self.gap = 0
        self.sent = monotonic_ns()
        self._call = self._worker.loop.create_task(self._answer(payload))

    async def _answer(self, payload: int) -> None:
        worker = self._worker
        try:
            answer = await worker.ask(worker.requests[payload], metadata=worker.metadata)
        except aio.AioRpcError as error:
            self._finish(*_failure(error))
            return
        except asyncio.CancelledError:  # given up, and ended there: a task that had not begun would not get here
            return
        self.first = monotonic_ns()
        self.bytes = len(answer)
        self._finish(self._outcome(payload, answer), 0)

    def _outcome(self, payload: int, answer: bytes) -> int:
        """Whether it is as expected."""
        check = self._worker.check
        return records.OK if check is None or check(payload, answer) else records.UNEXPECTED

    def abort(self, outcome: int) -> None:
        """Give up the call under way."""
        self._call.cancel()
        self._finish(outcome, 0)

    def close(self) -> None:
        """The slot takes no more calls."""
        self.open = False
        self._worker.lost(self)  # type: ignore[arg-type]  # it looks like a connection

    def _finish(self, outcome: int, status: int) -> None:
        self.busy = False
        self._worker.ended(self, outcome, status, monotonic_ns())  # type: ignore[arg-type]


class Streaming(Slot):
    """The same for calls that are answered by several messages, until the server ends them: each with outputs is an event."""

    __slots__ = ()

    async def _answer(self, payload: int) -> None:
        worker = self._worker
        call = worker.ask(worker.requests[payload], metadata=worker.metadata)
        try:
            outcome, status = await self._taken(call, payload)
        except aio.AioRpcError as error:
            outcome, status = _failure(error)
        except Malformed:
            outcome, status = records.MALFORMED, 0
        except asyncio.CancelledError:
            return
        finally:
            call.cancel()
        self.first = self.first or monotonic_ns()
        self._finish(outcome, status)

    async def _taken(self, call: Any, payload: int) -> tuple[int, int]:  # noqa: ANN401  # grpc has no types
        """What came of a call that the server ended, and its status."""
        failed, last, kept = False, 0, []
        async for answer in call:
            now = monotonic_ns()
            self.bytes += len(answer)
            if self.bytes > MOST_BYTES:
                return records.TOO_LARGE, 0
            failed = failed or bool(error_of(answer))
            if holds_outputs(answer):
                self.first = self.first or now
                self.gap = max(self.gap, now - last) if self.events else 0
                self.events, last = self.events + 1, now
            if self._worker.check is not None:
                kept.append(answer)
        if failed:
            return records.STATUS, grpc.StatusCode.UNKNOWN.value[0]
        return self._outcome(payload, b"".join(kept)), 0


def _failure(error: aio.AioRpcError) -> tuple[int, int]:
    """The outcome of a call that failed, and its status code."""
    code = error.code()
    words = (error.details() or "").lower()
    if code is grpc.StatusCode.UNAVAILABLE and "refused" in words:
        return records.REFUSED, 0
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in words:
        return records.TOO_LARGE, 0
    return _OUTCOMES.get(code, records.STATUS), code.value[0]


class GrpcWorker(Worker):
    """Drives levels over gRPC."""

    def __init__(self, plan: dict[str, Any], ring: records.Ring, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(plan, ring, loop)
        host = f"[{plan['host']}]" if ":" in plan["host"] else plan["host"]
        trusted = Trust(plan["roots"].encode("latin-1"), plan["name"])
        self._channel = channel(aio, f"{host}:{plan['port']}", trusted, OPTIONS)
        self.ask = (self._channel.unary_stream if plan["stream"] else self._channel.unary_unary)(plan["target"])
        self._slot = Streaming if plan["stream"] else Slot
        self.metadata = tuple((name, value) for name, value in plan["metadata"]) or None

    async def _connected(self) -> Any:  # noqa: ANN401  # a slot that looks like a connection
        return self._slot(self)
