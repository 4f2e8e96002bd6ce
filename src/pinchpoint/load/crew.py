"""Plan -> workers in processes of their own: they are started, told what to send, watched, drained and ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from pinchpoint.errors import AnalysisFailed, Interrupts, PinchpointError, TargetFailed, interrupts_held
from pinchpoint.load import records
from pinchpoint.load.histogram import BUCKETS, bucketed

ROW = np.dtype(list(records.COLUMNS))
TIMING = np.dtype(list(records.TIMING_COLUMNS))
POLL_S = 0.05
LEAD_S = 0.02  # from the order to its moment: all workers have read it by then
KEPT_ROWS = 2_000_000  # of one level: 128 MB
START_S = 30.0  # for the workers to be there
PATIENCE_S = 5.0  # for a worker to end, or to answer beyond what it was told to wait
WHERE = "pinchpoint load"
TOO_LONG = "it did not end in time"
INTERRUPTED = "interrupted"

Rows = npt.NDArray[np.void]


@dataclass(slots=True)
class Seen:
    """What has come of a level so far: kept rows, counts of all, and the client's own cost."""

    rows: list[Rows] = field(default_factory=list)
    kept: int = 0
    thinned: int = 1
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))
    outcomes: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(records.OUTCOMES), np.int64))
    statuses: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    begin_ns: int = 0
    end_ns: int = 0
    counters: dict[int, int] = field(default_factory=dict)
    stopped: str = ""
    recent: Rows = field(default_factory=lambda: np.empty(0, ROW))
    taken: int = 0
    timings: list[Rows] = field(default_factory=list)  # stages that answers told, with one request in flight

    @property
    def done(self) -> int:
        """Requests that ended, however they did; those that we gave up ourselves aside."""
        return int(self.outcomes.sum()) - int(self.outcomes[records.CUT_OFF])

    @property
    def failed(self) -> int:
        """Requests that failed."""
        return self.done - int(self.outcomes[records.OK])

    def take(self, rows: Rows) -> None:
        """More rows: all are counted; once there are too many to keep, one in two, in four, ... is."""
        self.recent = rows
        self.outcomes += np.bincount(rows["outcome"], minlength=len(records.OUTCOMES))
        answered = rows[rows["outcome"] == records.OK]
        self.counts += bucketed((answered["done_ns"] - answered["due_ns"]) / 1e9)
        for status, count in zip(
            *np.unique(rows["status"][rows["outcome"] == records.STATUS], return_counts=True), strict=True
        ):
            self.statuses[int(status)] = self.statuses.get(int(status), 0) + int(count)
        kept = rows[-self.taken % self.thinned :: self.thinned]  # each k-th of all, not of each call
        self.rows.append(kept.copy() if self.thinned > 1 else kept)
        self.taken += len(rows)
        self.kept += len(self.rows[-1])
        while self.kept > KEPT_ROWS:
            self.rows = [np.concatenate(self.rows)[::2]]
            self.kept, self.thinned = len(self.rows[0]), self.thinned * 2

    def all_rows(self) -> Rows:
        """The kept rows, in the order in which requests ended."""
        joined = np.concatenate(self.rows) if self.rows else np.empty(0, ROW)
        return joined[np.argsort(joined["done_ns"], kind="stable")]

    def all_timings(self) -> Rows:
        """What answers told of their stages, in the order in which they came."""
        return np.concatenate([np.empty(0, TIMING), *self.timings])


Watch = Callable[[Seen, float], str]  # what was seen and for how long; a reason to stop, or ""


class _Worker:
    """One worker process with its ring and pipes."""

    def __init__(self, number: int, cpu: int | None) -> None:
        self._ring_fd = records.new_ring(f"pinchpoint load {number}")
        orders, self._orders = os.pipe()
        self.answers, answers = os.pipe()
        told = [str(fd) for fd in (self._ring_fd, orders, answers)]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pinchpoint.load.worker", *told], pass_fds=(self._ring_fd, orders, answers),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
                env=environment,
            )  # fmt: skip
        finally:
            os.close(orders)
            os.close(answers)
        if cpu is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(self._process.pid, {cpu})
        self.ring = records.Ring(self._ring_fd)
        self._read = self._heard = 0
        self._rest = b""

    def order(self, said: Mapping[str, object]) -> None:
        """Send one line."""
        data = json.dumps(said).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._orders, data) :]
        except BrokenPipeError:
            raise self.gone() from None

    def answered(self) -> bool:
        """Whether it answered; AnalysisFailed where it has ended instead."""
        data = os.read(self.answers, 4096)
        if not data:
            raise self.gone()
        return b"\n" in data

    def gone(self) -> PinchpointError:
        """The error that says how it ended: killed by somebody, or by a defect of ours."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE_S)
        code = self._process.returncode
        if code is not None and code < 0:
            what = f"a client process was killed by signal {-code}, {_signal_name(-code)}"
            todo = "Look who did it, such as the kernel for want of memory, and try again"
            return TargetFailed(what=what, where=WHERE, todo=todo)
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        words = (self._process.stderr.read() or b"").decode("utf-8", "replace").strip().splitlines()
        what = f"a client process ended with exit code {code}: {words[-1] if words else 'no word'}"
        return AnalysisFailed(what=what, where=WHERE, todo="")

    def new_rows(self) -> tuple[Rows, int]:
        """The rows since the last call, and how many were overwritten before they could be read."""
        rows, lost, self._read = records_since(self.ring, self._read)
        return rows, lost

    def new_timings(self) -> Rows:
        """What answers told of their stages since the last call."""
        rows, _, self._heard = records_since(self.ring, self._heard, TIMINGS)
        return rows

    def hang_up(self) -> None:
        """Close its pipes: it ends as soon as it notices."""
        for fd in (self._orders, self.answers):
            with contextlib.suppress(OSError):
                os.close(fd)

    def close(self) -> None:
        """End it, by force if it does not listen."""
        try:
            self._process.wait(PATIENCE_S / 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self.ring.close()
        os.close(self._ring_fd)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


@dataclass(frozen=True, slots=True)
class _Table:
    """A ring within the shared memory: its rows, how many, how many of them may be read, where, and who counts them."""

    row: np.dtype[np.void]
    rows: int
    readable: int
    at: int
    written: int


REQUESTS = _Table(ROW, records.ROWS, records.READABLE, records.HEAD_BYTES, records.WRITTEN)
TIMINGS = _Table(TIMING, records.TIMINGS, records.TIMINGS_READABLE, records.TIMINGS_AT, records.TIMINGS_WRITTEN)


def records_since(ring: records.Ring, read: int, table: _Table = REQUESTS) -> tuple[Rows, int, int]:
    """The rows of a ring from number `read` on, how many were overwritten before they could be read, and the number of the
    next one.

    The worker tells of rows in sets, so those that follow what it told may be written at any moment, over the oldest ones:
    they are read no more, and those that were written over while they were read are given up.
    """
    written = ring.head[table.written]
    begin = max(read, written - table.readable)
    whole = np.frombuffer(ring.memory, table.row, table.rows, table.at)
    first, count = begin % table.rows, written - begin
    rows = np.concatenate([whole[first : first + count], whole[: max(first + count - table.rows, 0)]])
    del whole
    spoilt = min(max(ring.head[table.written] - table.readable - begin, 0), len(rows))
    return rows[spoilt:], begin - read + spoilt, written


class Crew:
    """The workers of a run."""

    def __init__(self, plan: Mapping[str, Any], workers: int, cpus: Sequence[int] = ()) -> None:
        self._workers: list[_Worker] = []
        try:
            for number in range(workers):
                self._workers.append(_Worker(number, cpus[number] if number < len(cpus) else None))
            self._tell(plan)
        except BaseException:
            self.close()
            raise

    def _tell(self, plan: Mapping[str, Any]) -> None:
        for number, worker in enumerate(self._workers):
            worker.order({"do": "plan", **plan, "worker": number, "workers": len(self._workers)})
        with interrupts_held() as interrupts:
            reason = self._wait(START_S, lambda: "", interrupts)
        if reason == INTERRUPTED:
            raise KeyboardInterrupt
        if reason:
            raise AnalysisFailed(what="a client process did not start in time", where=WHERE, todo="")

    def drive(self, level: Mapping[str, Any], watch: Watch, patience_s: float) -> Seen:
        """Drive one level and return what was seen. `watch` is called about every 50 ms; what it says stops the level.

        An interrupt stops it too, gently: what was seen is kept, and `Seen.stopped` says so.
        """
        seen = Seen(begin_ns=monotonic_ns())
        try:
            with interrupts_held() as interrupts:
                before = interrupts.seen
                self._drive(seen, level, watch, patience_s, interrupts)
            interrupted = interrupts.seen and not before
        except KeyboardInterrupt:  # it was only noted meanwhile, or is the third in a row
            interrupted = True
        seen.stopped = INTERRUPTED if interrupted else seen.stopped
        return seen

    def _drive(
        self, seen: Seen, level: Mapping[str, Any], watch: Watch, patience_s: float, interrupts: Interrupts
    ) -> None:
        before = self._counters()

        def look() -> str:
            self._drain(seen)
            now = self._counters()
            seen.counters = {key: now[key] - before[key] for key in now}
            return watch(seen, (monotonic_ns() - seen.begin_ns) / 1e9)

        try:
            self._order({"do": "prepare", **level})
            seen.stopped = self._wait(patience_s, lambda: "", interrupts)
            if not seen.stopped:
                before, seen.begin_ns = self._counters(), monotonic_ns() + int(LEAD_S * 1e9)
                self._order({"do": "run", **level, "start_ns": seen.begin_ns})
                seen.stopped = self._wait((level["seconds"] or 1e9) + patience_s, look, interrupts)
                look()
        finally:
            seen.end_ns = max(monotonic_ns(), seen.begin_ns + 1)

    def _order(self, said: Mapping[str, object]) -> None:
        for worker in self._workers:
            worker.order(said)

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.hang_up()
        while self._workers:
            self._workers.pop().close()

    def _drain(self, seen: Seen) -> None:
        for worker in self._workers:
            rows, lost = worker.new_rows()
            seen.lost += lost
            if len(rows):
                seen.take(rows)
            seen.timings += [told] if len(told := worker.new_timings()) else []

    def _counters(self) -> dict[int, int]:
        """The workers' counters, added up."""
        return {key: sum(worker.ring.head[key] for worker in self._workers) for key in range(records.DELAY_NS + 1)}

    def _wait(self, limit_s: float, look: Callable[[], str], interrupts: Interrupts) -> str:
        """Until every worker has answered; the reason where `look` gave one, an interrupt came, or the time was up.

        Interrupts are held and looked for between two looks, so that no row is lost to one.
        """
        waited = {worker.answers: worker for worker in self._workers}
        end, reason, noted = time.monotonic() + limit_s, "", interrupts.seen
        while waited:
            for fd in _readable(list(waited)):
                if waited[fd].answered():
                    del waited[fd]
            found = look()
            if interrupts.seen and not noted:
                found = INTERRUPTED
            late = time.monotonic() > end
            if late and reason:
                raise AnalysisFailed(what="a client process does not answer", where=WHERE, todo="")
            if (found and not reason) or late:
                reason = found or TOO_LONG
                end = time.monotonic() + PATIENCE_S
                for worker in waited.values():
                    worker.order({"do": "stop"})
        return reason


def _readable(descriptors: list[int]) -> Iterator[int]:
    """Those of `descriptors` that can be read now, after at most POLL_S."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    yield from (descriptor for descriptor, _ in poll.poll(POLL_S * 1000))
