"""Who serves several requests at once: threads (or tasks) of the target's one process, or a process for each request."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import psutil

from pinchpoint.disks import DiskWatch
from pinchpoint.domain.run import QUANTILES, Asked, Floats, Visit
from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.interpreter_lock import LockReader
from pinchpoint.process import Child, Ended, Reply

FULL = 0.9  # of the memory that there is
TOGETHER_NS = 20_000_000  # by which all processes have heard that a visit begins
WARM_S = 0.1


class Crew(Protocol):
    """Keeps requests in flight; Ended where the target does not survive it."""

    def visit(self, load: int, seconds: float) -> tuple[Visit, str | None]:
        """A visit at this load, and what the first failed request said."""
        ...

    def wrong_answers(self) -> str:
        """What is wrong with answers of two at once, in words; empty where all are as they are alone."""
        ...

    def full(self, load: int) -> str:
        """Why this load would not fit into memory; empty where it would, or nobody knows."""
        ...


class Threads:
    """All requests in one process, whose interpreter lock is watched meanwhile."""

    def __init__(
        self,
        child: Child,
        *,
        gil: tuple[int | None, int | None],
        seed: int,
        timeout_s: float,
        memory_limit_bytes: int | None,
    ) -> None:
        self._child, self._timeout_s, self._memory_limit_bytes = child, timeout_s, memory_limit_bytes
        self._gil, self._disks = LockReader(child.pid, *gil, seed), DiskWatch(child.pid)
        self._asked: list[tuple[int, int, int, int]] = []

    def visit(self, load: int, seconds: float) -> tuple[Visit, str | None]:
        """Threads, or tasks of one event loop."""
        self._disks.begin()
        self._gil.begin()
        reply = _answered(self._child, {"do": "visit", "load": load, "seconds": seconds}, seconds + self._timeout_s)
        readings, held = self._gil.end()
        self._asked += [(load, *each) for each in reply["visit"]["asked"]]
        visit = _merged(load, [reply["visit"]])
        soft = (*visit.held, *self._disks.end())
        return replace(visit, held=soft, gil_probes=readings, gil_held=held), reply["error"]

    def wrong_answers(self) -> str:
        """Answers of two threads compared with those of one alone."""
        checked = _answered(self._child, {"do": "check", "load": 2}, self._timeout_s)["check"]
        if not checked["different"]:
            return ""
        return (
            f"{checked['different']} of {checked['compared']} answers with 2 in flight differ from those of one alone"
        )

    def full(self, load: int) -> str:
        """Threads share what is loaded; only what is in use by now is looked at."""
        limit = self._memory_limit_bytes
        resident = _resident_bytes(self._child.pid)
        return "memory is full" if limit and resident > FULL * limit and load > 1 else ""

    def asked(self) -> Asked:
        """Which payload the requests of all visits had."""
        return Asked(*np.array(self._asked, dtype=np.int64).reshape(-1, 4).T)

    def close(self) -> None:
        """Stop watching; the child goes on."""
        self._gil.close()


class Processes:
    """A process for each request in flight, each with the target loaded; they are started when they are first needed."""

    def __init__(self, child: Child, start: Callable[[], Child], *, timeout_s: float) -> None:
        self._children, self._start, self._timeout_s = [child], start, timeout_s

    def visit(self, load: int, seconds: float) -> tuple[Visit, str | None]:
        """One request in flight in each of `load` processes, all from the same moment on; 0 leaves one process alone."""
        missing = load - len(self._children)
        if missing > 0:
            with ThreadPoolExecutor(missing) as pool:
                started = list(pool.map(lambda _: self._started(), range(missing)))
            self._children += [each for each in started if isinstance(each, Child)]
            for failure in (each for each in started if not isinstance(each, Child)):
                raise failure
        serving = self._children[: max(load, 1)]
        begin = time.perf_counter_ns() + TOGETHER_NS
        command = {"do": "visit", "load": min(load, 1), "seconds": seconds, "begin_ns": begin}
        with ThreadPoolExecutor(len(serving)) as pool:
            asked = [pool.submit(_answered, each, command, seconds + self._timeout_s) for each in serving]
            replies = [each.result() for each in asked]
        error = next((reply["error"] for reply in replies if reply["error"]), None)
        return _merged(load, [reply["visit"] for reply in replies]), error

    def _started(self) -> Child | Ended:
        """A process that has answered; the reason where it did not come up."""
        child = None
        try:
            child = self._start()
            _answered(child, {"do": "visit", "load": 1, "seconds": WARM_S}, self._timeout_s)
        except (Ended, BadInput, TargetFailed) as error:
            if child is not None:
                child.close()
            return Ended(f"one more process did not start: {error}")
        return child

    def wrong_answers(self) -> str:
        """Processes share nothing."""
        return ""

    def full(self, load: int) -> str:
        """Whether as many more processes of this size fit into what is free."""
        more = load - len(self._children)
        each = _own_bytes(self._children[-1].pid)
        if more > 0 and each and more * each > FULL * psutil.virtual_memory().available:
            return f"memory is full: {load} processes of {each / 1e6:,.0f} MB do not fit"
        return ""

    def close(self) -> None:
        """End the processes that were started here."""
        for child in self._children[1:]:
            child.close()


def _merged(load: int, parts: Sequence[Mapping[str, Any]]) -> Visit:
    """One visit from those of its processes; percentiles from the latencies that each kept, weighted by how many it had."""
    latencies = np.concatenate([np.asarray(part["latencies_ns"], dtype=np.float64) for part in parts]) / 1e9
    weights = np.concatenate([
        np.full(len(part["latencies_ns"]), part["done"] / max(len(part["latencies_ns"]), 1)) for part in parts
    ])  # fmt: skip
    done = sum(int(part["done"]) for part in parts)
    held = parts[0]["held"] if len(parts) == 1 else ()
    visit = {
        "load": load,
        "begin_ns": min(part["begin_ns"] for part in parts),
        "end_ns": max(part["end_ns"] for part in parts),
        "done": done,
        "failed": sum(part["failed"] for part in parts),
        "cpu_s": sum(part["cpu_s"] for part in parts),
        "mean_s": sum(part["mean_s"] * part["done"] for part in parts) / done if done else 0.0,
        "quantiles_s": _quantiles(latencies, weights) if done else (),
        "held": held,
    }
    return msgspec.convert(visit, Visit)


def _quantiles(values: Floats, weights: Floats) -> tuple[float, ...]:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    ranks = np.minimum(np.searchsorted(reached, QUANTILES), len(values) - 1)
    return tuple(float(each) for each in values[order][ranks])


def _answered(child: Child, command: Mapping[str, object], timeout_s: float) -> Reply:
    reply = child.ask(command, timeout_s)
    if "ended" in reply or "failed" in reply:
        raise Ended(str(reply.get("ended") or reply.get("failed")))
    return reply


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _own_bytes(pid: int) -> int:
    """What a process has in memory, pages that it shares counted in part; all resident ones where the kernel does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident_bytes(pid)
