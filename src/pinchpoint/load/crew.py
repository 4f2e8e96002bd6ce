"""Plan -> workers in processes of their own: they are started, told what to send, watched, drained and ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from pinchpoint.errors import AnalysisFailed
from pinchpoint.load import records
from pinchpoint.load.histogram import BUCKETS, bucketed

ROW = np.dtype(list(records.COLUMNS))
POLL_S = 0.05
LEAD_S = 0.02  # from the order to its moment: all workers have read it by then
KEPT_ROWS = 2_000_000  # of one level: 128 MB
PATIENCE_S = 5.0  # for a worker to end, or to answer beyond what it was told to wait
OUT_OF_TURN = "a worker of the load engine ended"

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
        self.rows.append(rows[:: self.thinned].copy() if self.thinned > 1 else rows)
        self.kept += len(self.rows[-1])
        while self.kept > KEPT_ROWS:
            self.rows = [np.concatenate(self.rows)[::2]]
            self.kept, self.thinned = len(self.rows[0]), self.thinned * 2

    def all_rows(self) -> Rows:
        """The kept rows, in the order in which requests ended."""
        joined = np.concatenate(self.rows) if self.rows else np.empty(0, ROW)
        return joined[np.argsort(joined["done_ns"], kind="stable")]


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
                [sys.executable, "-m", "pinchpoint.load.worker", *told], pass_fds=(self._ring_fd, orders, answers),
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
        self._read = 0
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

    def gone(self) -> AnalysisFailed:
        """The error that says how it ended."""
        self._process.wait(PATIENCE_S)
        assert self._process.stderr is not None
        words = self._process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        what = f"{OUT_OF_TURN} with exit code {self._process.returncode}: {words[-1] if words else 'no word'}"
        return AnalysisFailed(what=what, where="pinchpoint.load.worker", todo="")

    def new_rows(self) -> tuple[Rows, int]:
        """The rows since the last call, and how many were overwritten before they could be read."""
        written = self.ring.head[records.WRITTEN]
        lost = max(written - self._read - records.ROWS, 0)
        begin = self._read + lost
        first, count = begin % records.ROWS, written - begin
        whole = np.frombuffer(self.ring.memory, ROW, records.ROWS, records.HEAD_BYTES)
        rows = np.concatenate([whole[first : first + count], whole[: max(first + count - records.ROWS, 0)]])
        del whole
        lost_meanwhile = max(self.ring.head[records.WRITTEN] - begin - records.ROWS, 0)
        self._read = written
        return rows[lost_meanwhile:], lost + lost_meanwhile

    def close(self) -> None:
        """End it: by closing its pipe, and if it does not listen, by force."""
        for fd in (self._orders, self.answers):
            with contextlib.suppress(OSError):
                os.close(fd)
        try:
            self._process.wait(PATIENCE_S / 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self.ring.close()
        os.close(self._ring_fd)


class Crew:
    """The workers of a run."""

    def __init__(self, plan: Mapping[str, Any], workers: int, cpus: Sequence[int] = ()) -> None:
        self._workers: list[_Worker] = []
        try:
            for number in range(workers):
                self._workers.append(_Worker(number, cpus[number] if number < len(cpus) else None))
            for number, worker in enumerate(self._workers):
                worker.order({"do": "plan", **plan, "worker": number, "workers": workers})
            self._wait(PATIENCE_S * 6, lambda: "")
        except BaseException:
            self.close()
            raise

    def drive(self, level: Mapping[str, Any], watch: Watch, patience_s: float) -> Seen:
        """Drive one level and return what was seen. `watch` is called about every 50 ms; what it says stops the level.

        An interrupt stops it too, gently; what was seen is kept, and the interrupt raised as `Seen.stopped`.
        """
        seen = Seen()
        for worker in self._workers:
            worker.order({"do": "prepare", **level})
        self._wait(patience_s, lambda: "")
        before = self._counters()
        seen.begin_ns = monotonic_ns() + int(LEAD_S * 1e9)
        for worker in self._workers:
            worker.order({"do": "run", **level, "start_ns": seen.begin_ns})

        def look() -> str:
            self._drain(seen)
            now = self._counters()
            seen.counters = {key: now[key] - before[key] for key in now}
            return watch(seen, (monotonic_ns() - seen.begin_ns) / 1e9)

        limit = (level["seconds"] or 1e9) + patience_s
        seen.stopped = self._wait(limit, look)
        look()
        seen.end_ns = max(monotonic_ns(), seen.begin_ns + 1)
        return seen

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _drain(self, seen: Seen) -> None:
        for worker in self._workers:
            rows, lost = worker.new_rows()
            seen.lost += lost
            if len(rows):
                seen.take(rows)

    def _counters(self) -> dict[int, int]:
        """The workers' counters, added up."""
        return {key: sum(worker.ring.head[key] for worker in self._workers) for key in range(records.DELAY_NS + 1)}

    def _wait(self, limit_s: float, look: Callable[[], str]) -> str:
        """Until every worker has answered; the reason where `look` gave one, an interrupt came, or the time was up."""
        waited = {worker.answers: worker for worker in self._workers}
        end, reason = time.monotonic() + limit_s, ""
        while waited:
            try:
                for fd in _readable(list(waited)):
                    if waited[fd].answered():
                        del waited[fd]
                found = look()
            except KeyboardInterrupt:
                found = "interrupted"
            if (found and not reason) or time.monotonic() > end:
                if reason == "no end":
                    raise AnalysisFailed(what="a worker of the load engine does not answer", where="", todo="")
                reason = found or "no end"
                end = time.monotonic() + PATIENCE_S
                for worker in self._workers:
                    worker.order({"do": "stop"})
        return reason


def _readable(descriptors: list[int]) -> Iterator[int]:
    """Those of `descriptors` that can be read now, after at most POLL_S."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    yield from (descriptor for descriptor, _ in poll.poll(POLL_S * 1000))
