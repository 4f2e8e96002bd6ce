"""A process that sends requests when they are due and writes what became of them into its ring.

The process above it speaks one line of JSON at a time over a pipe: what to send and where, then a level to drive at a given
moment, then an end. This one answers each line with one. It is kept small, since each of its microseconds is the client's:
asyncio on uvloop, no garbage collection while a level runs, a row of 80 bytes a request.

A connection that the server closes while it is idle is made anew. A request that was sent just as the server closed is a failure
of its kind (`closed`, `reset`) and is not sent again: inference is no idempotent method (RFC 9110, 9.2.2), a user's client would
see the same, and a second sending would hide it in latency.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import heapq
import itertools
import json
import os
import random
import resource
import signal
import ssl
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic_ns, process_time_ns
from typing import Any

from pinchpoint.domain.arrivals import CLOSED, Arrivals
from pinchpoint.load import records
from pinchpoint.load.arrivals import due_times, share
from pinchpoint.load.lines import Lines
from pinchpoint.load.pacing import SPIN_NS, Alarm
from pinchpoint.load.wire import At, Checked, Connection, Like, Same, Streamed, Timing, kind_of

TICK_S = 0.05
READY_CONNECTIONS = 16  # of an open loop, before it begins, if it is not told how many
MOST_CONNECTIONS = 4096
MOST_DIALS = 128  # at once before a level begins
MOST_WAITING = 1 << 17  # for one of them: 13 MB, half a ring; what is due beyond that is not sent
MOST_AT_ONCE = 64  # sends of one ring of the alarm: answers are taken in between
OTHER_DESCRIPTORS = 64  # of a worker
RETRY_NS = 50_000_000  # before a connection that could not be made is tried again
UNTIL_NEVER = 1 << 62
PUBLISHED = 63  # rows are told in sets of 64, and at each tick
WRITTEN = records.WRITTEN
_ROW, _ROWS, _HEAD, _SIZE = records.ROW, records.ROWS, records.HEAD_BYTES, records.ROW.size


class Worker:
    """Drives levels over HTTP; `wire.Driver` for its connections."""

    def __init__(self, plan: dict[str, Any], ring: records.Ring, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.ring = loop, ring
        self.requests = tuple(base64.b64decode(each) for each in plan["requests"])
        self._first = self.requests[0]
        self.keeps = bool(plan.get("keeps", True))
        self.statuses = frozenset(plan["statuses"])
        self.check: Callable[[int, bytes], bool] | None = _check(plan["check"])
        self._plan = plan
        self._number, self._workers = int(plan["worker"]), int(plan["workers"])
        self._kind = Streamed if plan["stream"] else Checked if self.check or plan.get("timed") else Connection
        self._tls = _tls(plan)
        self._timeout_ns = int(plan["timeout_s"] * 1e9)
        self._seed = self._level = plan["seed"]
        self._mix = list(itertools.accumulate(plan.get("mix") or [1.0] * len(self.requests)))
        self._pack, self._memory, self._head = _ROW.pack_into, ring.memory, ring.head
        self._written = self._sent = self._timings = 0
        self.like = Like()
        self.held_bytes = 0
        self._connections: set[Connection] = set()
        self._dialling = 0
        self._alarm = Alarm(loop, self._rung)  # before connections take all descriptors
        self._tasks: set[asyncio.Task[None]] = set()
        self._over: asyncio.Event | None = None
        self._next: Callable[[Connection, int], None] = self._idle_on
        self._begin(Arrivals(CLOSED))

    def _begin(self, arrivals: Arrivals) -> None:
        """Forget the level before."""
        self._arrivals = arrivals
        self._closed = arrivals.loop == CLOSED
        self._tells = bool(self._plan.get("timings")) and self._closed and arrivals.concurrency == 1
        self._most, self._until, self._sending, self._preparing = self._sent, 0, False, False
        self._idle: dict[Connection, None] = {}  # the last one is taken first
        self._waiting: deque[tuple[int, int]] = deque()
        self._thinking: list[int] = []  # when each slot of a closed loop sends again, as a heap
        self._slots = 0  # of a closed loop: how many requests are kept in flight
        self._generator = random.Random(f"{self._level} payloads {self._number}")  # noqa: S311  # a mix, not a secret
        self._mixed, self._straight = len(self.requests) > 1, False

    def _pick(self) -> int:
        """The payload of the next request."""
        return self._generator.choices(range(len(self.requests)), cum_weights=self._mix)[0]

    # --- a level ---------------------------------------------------------------------------------------------------
    async def prepare(self, level: dict[str, Any]) -> None:
        """Open the connections that the level begins with, a few at a time: a server's queue of new ones is short."""
        self._level = f"{self._seed} {level.get('number', 0)}"  # each level has arrivals and a mix of its own
        self._begin(Arrivals(**level["arrivals"]))
        self._preparing = True
        self._slots = share(self._arrivals.concurrency, self._number, self._workers)
        ready = self._arrivals.concurrency or READY_CONNECTIONS
        wanted = self._slots if self._closed else share(ready, self._number, self._workers)
        for connection in [each for each in self._connections if not each.busy][wanted:]:
            connection.close()
        kept = [each for each in self._connections if each.open]
        self._idle = dict.fromkeys(kept)
        missing = min(wanted, MOST_CONNECTIONS) - len(kept)
        while missing > 0 and self._preparing:
            before = len(self._connections)
            await asyncio.wait([self._dial_now() for _ in range(min(missing, MOST_DIALS))])
            missing -= MOST_DIALS
            if len(self._connections) == before:  # nobody is there: the level will find out why
                break
        gc.collect()
        gc.freeze()
        gc.disable()
        self._counters()  # what it cost to get here is not the level's

    async def run(self, level: dict[str, Any], start_ns: int) -> None:
        """Send from `start_ns` on until the level's time or count is over, and wait for what is in flight."""
        self._over = asyncio.Event()
        self._until = start_ns + int(level["seconds"] * 1e9) if level["seconds"] else UNTIL_NEVER
        count = level["count"]
        self._most = self._sent + (share(count, self._number, self._workers) if count else UNTIL_NEVER)
        self._space(level.get("spacing_s", 0.0), start_ns)
        self._next = self._closed_on if self._closed else self._open_on
        self._straight = self._closed and not (self._arrivals.think_s or self._spacing_ns or self._mixed)
        self._sending = True
        alarm = self._alarm
        tick = self.loop.create_task(self._tick())
        try:
            if self._closed:
                for _ in range(self._slots):
                    self._think(start_ns)
            else:
                self._due: Iterator[int] = due_times(self._arrivals, self._level, self._number, self._workers)
                self._start, self._coming = start_ns, start_ns + next(self._due)
                alarm.at(self._coming)
            await self._over.wait()
        finally:
            self._sending = False
            tick.cancel()
            self._counters()
            gc.enable()
            gc.unfreeze()

    def _space(self, gap_s: float, start_ns: int) -> None:
        """Keep a closed loop's requests at least `gap_s` apart: those of the workers that send any take turns."""
        turns = min(self._workers, self._arrivals.concurrency)
        self._spacing_ns, self._gate = int(gap_s * turns * 1e9), start_ns + int(gap_s * self._number * 1e9)

    def stop(self) -> None:
        """Send no more, and give up what is in flight, connections that are being made included."""
        self._most, self._preparing = self._sent, False
        self._end_sending()
        self._thinking.clear()
        for task in self._tasks:
            task.cancel()
        while self._waiting:
            self._unsent(*self._waiting.popleft(), records.CUT_OFF)
        for connection in [each for each in self._connections if each.busy]:
            connection.abort(records.CUT_OFF)
        self._finish_if_over()

    def close(self) -> None:
        """Close all connections."""
        self.stop()
        for connection in list(self._connections):
            connection.close()
        self._alarm.close()

    # --- as connections call it ------------------------------------------------------------------------------------
    def ended(self, connection: Connection, outcome: int, status: int, done: int) -> None:
        """A request ended: note it, and let the connection go on."""
        written = self._written
        self._pack(
            self._memory, _HEAD + (written % _ROWS) * _SIZE, connection.due, connection.sent, connection.first, done, outcome,
            status, connection.payload, connection.events, connection.bytes, connection.gap, connection.server,
            connection.tokens,
        )  # fmt: skip
        self._written = written + 1
        if not written & PUBLISHED:
            self._head[WRITTEN] = written + 1
        if self._tells and connection.timings:
            self._tell(connection.timings, done)
        self._next(connection, done)

    def _tell(self, timings: Sequence[Timing], done: int) -> None:
        """The stages that the head of an answer told."""
        for name, at, length in timings:
            place = records.TIMINGS_AT + (self._timings % records.TIMINGS) * records.TIMING.size
            records.TIMING.pack_into(self._memory, place, done, at, length, name)
            self._timings += 1
        self._head[records.TIMINGS_WRITTEN] = self._timings

    def alike(self, connection: Connection, done: int) -> None:
        """`ended` and `_closed_on` in one, for nearly all requests of most runs: here each call counts."""
        written, like = self._written, self.like
        self._pack(
            self._memory, _HEAD + (written % _ROWS) * _SIZE, connection.due, connection.sent, done, done, records.OK,
            like.status, connection.payload, 0, like.length, 0, 0, 0,
        )  # fmt: skip
        self._written = written + 1
        if not written & PUBLISHED:
            self._head[WRITTEN] = written + 1
        if self._straight and done < self._until and self._sent < self._most:
            self._sent += 1
            connection.due = connection.sent = done
            connection.write(self._first)
        else:
            connection.busy = False
            self._next(connection, done)

    def unasked(self) -> None:
        """Bytes came that nobody had asked for."""
        self._head[records.UNASKED] += 1

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)

    # --- closed loop -----------------------------------------------------------------------------------------------
    def _closed_on(self, connection: Connection, done: int) -> None:
        """Answer in, next request out."""
        if done >= self._until or self._sent >= self._most:
            self._idle_on(connection, done)
            self._finish_if_over()
        elif self._arrivals.think_s or self._spacing_ns:
            self._idle_on(connection, done)
            self._think(done + int(self._arrivals.think_s * 1e9))
        elif connection.open:
            self._sent += 1
            connection.send(done, self._pick() if self._mixed else 0)
        else:
            self._submit(done)

    def _think(self, at: int) -> None:
        """The next request of a slot comes at `at`, or later where the rate is capped."""
        if self._spacing_ns:
            at = max(at, self._gate)
            self._gate = at + self._spacing_ns
        heapq.heappush(self._thinking, at)
        if self._thinking[0] == at:
            self._alarm.at(at)

    # --- open loop -------------------------------------------------------------------------------------------------
    def _open_on(self, connection: Connection, _done: int) -> None:
        """Answer in: the connection takes what waits."""
        if connection.open:
            if self._waiting:
                connection.send(*self._waiting.popleft())
            else:
                self._idle[connection] = None
        elif self._waiting:
            self._dial_soon()
        self._finish_if_over()

    def _rung(self) -> None:
        """A request is due."""
        now, sent = monotonic_ns(), 0
        if self._closed:
            while self._thinking and self._thinking[0] <= now and sent < MOST_AT_ONCE:
                due = heapq.heappop(self._thinking)
                sent += 1
                if due < self._until and self._sent < self._most:
                    self._submit(due)
            if self._thinking:
                self._alarm.at(self._thinking[0])
            self._finish_if_over()
            return
        while sent < MOST_AT_ONCE and self._sent < self._most and self._coming < self._until:
            if now < self._coming:
                if self._coming - now > SPIN_NS:
                    break
                now = monotonic_ns()
                continue
            self._submit(self._coming)
            sent += 1
            self._coming = self._start + next(self._due)
            now = monotonic_ns()
        if self._sent < self._most and self._coming < self._until:
            self._alarm.at(self._coming)
        else:
            self._end_sending()
            self._finish_if_over()

    # --- both ------------------------------------------------------------------------------------------------------
    def _submit(self, due: int) -> None:
        """Send a request that is due, over a connection that has none under way; wait for one if need be."""
        self._sent += 1
        payload = self._pick() if self._mixed else 0
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.open:
                connection.send(due, payload)
                return
        if len(self._waiting) >= MOST_WAITING:
            self._unsent(due, payload, records.UNSENT)
            return
        self._waiting.append((due, payload))
        self._dial_soon()

    def _idle_on(self, connection: Connection, _done: int) -> None:
        if connection.open:
            self._idle[connection] = None

    def _unsent(self, due: int, payload: int, outcome: int) -> None:
        """A request that never left ended; in a closed loop its place is taken by another one, after a while."""
        at = _HEAD + (self._written % _ROWS) * _SIZE
        done = monotonic_ns()
        self._pack(self._memory, at, due, 0, 0, done, outcome, 0, payload, 0, 0, 0, 0, 0)
        self._written += 1
        if not self._written & PUBLISHED:
            self._head[WRITTEN] = self._written
        if self._closed and self._sending:
            self._think(done + RETRY_NS)

    def _end_sending(self) -> None:
        self._sending = False

    def _finish_if_over(self) -> None:
        """Say that the level is over once nothing is to be sent and nothing is in flight."""
        if self._closed and self._sending and (self._sent >= self._most or monotonic_ns() >= self._until):
            self._sending = False
            self._thinking.clear()
        if self._over is not None and not self._sending and self._sent == self._written:
            self._over.set()

    def _dial_soon(self) -> None:
        """Open one more connection for what waits."""
        if len(self._connections) + self._dialling < MOST_CONNECTIONS and self._dialling < len(self._waiting):
            self._dial_now()

    def _dial_now(self) -> asyncio.Task[None]:
        self._dialling += 1
        task = self.loop.create_task(self._dial())
        self._tasks.add(task)
        task.add_done_callback(self._dialled)
        return task

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # maybe before it began
            self._dialling -= 1

    async def _dial(self) -> None:
        """Make a connection; where that fails, the request that has waited longest failed."""
        self._head[records.CONNECTS] += 1
        try:
            connection = await self._connected()
        except (TimeoutError, OSError, ssl.SSLError, EOFError) as error:
            self._dialling -= 1
            if isinstance(error, TimeoutError):  # what waits is timed out when its own time is up
                self._dial_soon()
            elif self._waiting:
                self._failed_to_connect(kind_of(error))
            return
        self._dialling -= 1
        if not connection.open:  # the server took it and gave it up at once
            if self._waiting:
                self._failed_to_connect(connection.broken)
            return
        self._connections.add(connection)
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle[connection] = None

    def _failed_to_connect(self, outcome: int) -> None:
        self._unsent(*self._waiting.popleft(), outcome)
        self._dial_soon()
        self._finish_if_over()

    async def _connected(self) -> Connection:
        plan, make = self._plan, lambda: self._kind(self)
        async with asyncio.timeout(plan["timeout_s"]):
            if plan["unix"]:
                _, connection = await self.loop.create_unix_connection(make, plan["unix"])
            else:
                name = plan["name"] if self._tls else None
                _, connection = await self.loop.create_connection(
                    make, plan["host"], plan["port"], ssl=self._tls, server_hostname=name
                )
        return connection

    async def _tick(self) -> None:
        """Watch over time-outs and counters."""
        while True:
            await asyncio.sleep(TICK_S)
            late = monotonic_ns() - self._timeout_ns
            for connection in [each for each in self._connections if each.busy and each.due < late]:
                connection.abort(records.TIMEOUT)
            while self._waiting and self._waiting[0][0] < late:
                self._unsent(*self._waiting.popleft(), records.TIMEOUT)
            self._counters()
            self._finish_if_over()

    def _counters(self) -> None:
        head = self._head
        head[WRITTEN], head[records.SENT] = self._written, self._sent
        head[records.WAITING] = len(self._waiting)
        head[records.CPU_NS] = process_time_ns()
        with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/schedstat", "rb") as file:
            head[records.DELAY_NS] = int(file.read().split()[1])


def _check(said: list[str] | None) -> Callable[[int, bytes], bool] | None:
    """The check of answers: `["same"]` or `["at", path, text]`."""
    if not said:
        return None
    return Same() if said[0] == "same" else At(said[1], said[2])


def _tls(plan: dict[str, Any]) -> ssl.SSLContext | None:
    if not plan["tls"]:
        return None
    context = ssl.create_default_context(cafile=plan["ca"])
    if plan["insecure"]:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# --- the pipe ------------------------------------------------------------------------------------------------------
async def serve(ring: records.Ring, commands: int, answers: int) -> None:
    """Obey the lines that come until the other end closes the pipe."""
    loop = asyncio.get_running_loop()
    lines = Lines(loop, commands)
    worker: Any = None
    while (said := await lines.next()) is not None:
        if said["do"] == "plan":
            worker = _made(said, ring, loop)
            lines.stop = worker.stop
        elif said["do"] == "prepare" and not lines.stopped:
            await worker.prepare(said)
        elif said["do"] == "run" and not lines.stopped:
            await worker.run(said, said["start_ns"])
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
            os.write(answers, json.dumps({"did": said["do"]}).encode() + b"\n")
    if worker is not None:
        worker.close()


def _made(plan: dict[str, Any], ring: records.Ring, loop: asyncio.AbstractEventLoop) -> Any:  # noqa: ANN401  # either wire
    if plan["kind"] == "grpc":
        from pinchpoint.load.grpc_worker import GrpcWorker

        return GrpcWorker(plan, ring, loop)
    return Worker(plan, ring, loop)


def _raise_descriptors() -> None:
    """As many descriptors as connections may need, where that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OTHER_DESCRIPTORS
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    """Begin: `python -m pinchpoint.load.worker RING COMMANDS ANSWERS`, three descriptors."""
    import uvloop

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the process above decides; when it is gone, its pipe is
    os.set_blocking(sys.stderr.fileno(), False)  # nobody reads it while we live: what is too much is dropped
    _raise_descriptors()
    ring, commands, answers = map(int, sys.argv[1:4])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(records.Ring(ring), commands, answers))


if __name__ == "__main__":
    main()
