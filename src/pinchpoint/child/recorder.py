"""Clocks of requests and stages, read inside the target's process and written to shared memory."""

from __future__ import annotations

import contextvars
import gc
import os
import resource
import threading
import time
from json import dumps as _encode  # bound before the target's json is wrapped
from typing import Any, Dict, List, Optional, Tuple

from pinchpoint.child.streams import Abandoned, Stream

FAILED, OBSERVED, SECOND, NEW_SHAPE = 1, 2, 4, 16
MARKED, WRAPPED, HANDED = 0, 1, 2
COLLECTION = 0
LEAST_COLLECTION_NS = 20_000
SPANS_PER_REQUEST = 2000
OBSERVED_BEFORE_THINNING = 20_000
UNREADABLE = -1
NAME_KEPT = 200
NAMES_KEPT = 4096  # a target that makes up names would fill the memory
OTHER_NAMES = "stages of further names"
CALIBRATION_SPANS = 200
NEGLIGIBLE_NS = 1_500
FAULTLESS_NS = 10_000  # of CPU time: room for a few page faults at most, which are then counted with what comes next

_clock = time.perf_counter_ns  # these names are bound before the target can change what they stand for
_thread_cpu = time.thread_time_ns
_process_cpu = time.process_time_ns
_pread = os.pread
_ident = threading.get_ident
_native_ident = threading.get_native_id
_usage = resource.getrusage
_THREAD = resource.RUSAGE_THREAD

# The open span of this thread or task: request, name, kind, clocks at its begin, the span around it, and its begin.
_innermost: "contextvars.ContextVar[Optional[Tuple[Any, ...]]]" = contextvars.ContextVar(
    "pinchpoint_stage", default=None
)


class Recorder:
    """Records requests, their counters and their stages; a listener of `pinchpoint.stages` while a request is observed."""

    def __init__(self, folder: str) -> None:
        self._requests = Stream(folder, "requests", 4)
        self._probes = Stream(folder, "probes", 14)
        self._spans = Stream(folder, "spans", 12)
        self._events = Stream(folder, "events", 4)
        self._collecting = 0
        self._main = threading.get_ident()
        self._main_native = threading.get_native_id()
        self._lock = threading.Lock()
        self._schedstat = _open_schedstat()
        self._names: Dict[str, int] = {}
        self._names_file = open(os.path.join(folder, "names"), "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._finished: List[Tuple[int, ...]] = []
        self._request = -1
        self._idle, self._delay = 0, self._run_delay()
        self._faults_at, self._faults = 0, 0
        self.dropped_spans = 0
        self.observed = 0

    # -- stages, called from any thread or task of the target ------------------------------------------------------
    def begin(self, name: str, kind: int = MARKED) -> None:
        """A stage begins: clocks are read last, so that reading them is not part of the stage."""
        number = self._names.get(name)
        if number is None:
            number = self._number(name)
        around = _innermost.get()
        if around is not None and around[0] != self._request:
            around = None  # left open by an earlier request
        if _ident() == self._main:
            cpu = _thread_cpu()
            faults = self._faults_now(cpu)
            delay = self._run_delay_now(_clock(), cpu)
        else:
            delay = faults = UNREADABLE
            cpu = _thread_cpu()
        _innermost.set((self._request, number, kind, cpu, delay, faults, around, _clock()))

    def end(self) -> None:
        """The innermost stage of this thread or task ends: clocks are read first."""
        now, cpu = _clock(), _thread_cpu()
        span = _innermost.get()
        if span is None or span[0] != self._request:
            return
        request, number, kind, begin_cpu, begin_delay, begin_faults, around, begin = span
        _innermost.set(around)
        if _ident() == self._main:
            thread, delay, faults = self._main_native, self._run_delay_now(now, cpu), self._faults_now(cpu)
        else:
            thread, delay, faults = _native_ident(), UNREADABLE, UNREADABLE
        if len(self._finished) < SPANS_PER_REQUEST:
            self._finished.append(
                (request, number, kind, thread, begin, now, begin_cpu, cpu, begin_delay, delay, begin_faults, faults)
            )
        else:
            self.dropped_spans += 1

    def _number(self, name: str) -> int:
        """The number of a name seen for the first time, noted where the parent finds it whatever happens to us."""
        with self._lock:
            if len(self._names) >= NAMES_KEPT:
                name = OTHER_NAMES
            if name not in self._names:
                self._names_file.write(_encode(name[:NAME_KEPT]) + "\n")
                self._names[name] = len(self._names)
            return self._names[name]

    def span_cost_ns(self) -> int:
        """What recording one stage adds around it, on the clock of its surroundings: the median of many empty ones."""
        self.open_request(0)
        costs: List[int] = []
        for _ in range(CALIBRATION_SPANS):
            self._faults_at = 0  # as for a stage that computes
            before = _clock()
            self.begin("calibration")
            self.end()
            took = _clock() - before
            last = self._finished[-1]
            costs.append(took - (last[5] - last[4]))
        self._finished.clear()
        self._request = -1
        median: int = sorted(costs)[len(costs) // 2]
        return median

    # -- the interpreter ---------------------------------------------------------------------------------------------
    def watch_collections(self) -> None:
        """Note garbage collections from now on; they stop every thread of Python."""
        gc.callbacks.append(self._collection)

    def _collection(self, phase: str, info: Dict[str, int]) -> None:
        now = _clock()
        if phase == "start":
            self._collecting = now
        elif now - self._collecting >= LEAST_COLLECTION_NS:
            self._events.append(self._collecting, now, COLLECTION, info["generation"])

    # -- requests, called from the pacing loop only ----------------------------------------------------------------
    def request(self, index: int, start_ns: int, end_ns: int, flags: int) -> None:
        """Note a finished request."""
        self._requests.append(index, start_ns, end_ns, flags)

    def counters(self) -> Tuple[int, ...]:
        """Counters of this thread and process, read before and after an observed request, cheapest clocks last."""
        own = _usage(resource.RUSAGE_SELF)
        thread = _usage(_THREAD)
        self._faults_at, self._faults = _thread_cpu(), thread.ru_minflt + thread.ru_majflt
        return (
            _process_cpu(),
            self._run_delay(),
            thread.ru_minflt,
            thread.ru_majflt,
            thread.ru_nvcsw,
            thread.ru_nivcsw,
            own.ru_inblock * 512,
            own.ru_oublock * 512,
            int(thread.ru_stime * 1e9),
        )

    def open_request(self, index: int) -> None:
        """Stages that begin from now on belong to request `index`."""
        self._request = index

    def close_request(self, begin_cpu: int, end_cpu: int, before: Tuple[int, ...], after: Tuple[int, ...]) -> None:
        """Write the counters and the stages of the observed request; outside its latency."""
        index, self._request = self._request, -1
        moved = [late - early for early, late in zip(before, after)]
        self._probes.append(index, end_cpu - begin_cpu, *moved, begin_cpu, before[1], before[2] + before[3])
        finished, self._finished = self._finished, []
        for span in finished:
            self._spans.append(*span)
        self.observed += 1

    def disown(self) -> None:
        """In a copy of the process: record nothing, and end it where its request ends."""
        if self._collection in gc.callbacks:
            gc.callbacks.remove(self._collection)
        self._requests = self._probes = self._spans = Abandoned()

    def close(self) -> None:
        """Unmap the streams."""
        self._names_file.close()
        if self._collection in gc.callbacks:
            gc.callbacks.remove(self._collection)
        for stream in (self._requests, self._probes, self._spans, self._events):
            stream.close()

    def _run_delay_now(self, now: int, cpu: int) -> int:
        """The run-queue clock of the request's thread; read only where wall time passed without CPU time since the last
        reading, since a thread that ran throughout waited for nothing.
        """
        idle = now - cpu
        if idle - self._idle > NEGLIGIBLE_NS:
            self._delay = self._run_delay()
        self._idle = idle
        return self._delay

    def _faults_now(self, cpu: int) -> int:
        """Page faults of the request's thread so far, minor and major; read only where it has computed since the last reading."""
        if cpu - self._faults_at > FAULTLESS_NS:
            usage = _usage(_THREAD)
            self._faults_at, self._faults = cpu, usage[6] + usage[7]
        return self._faults

    def _run_delay(self) -> int:
        """Nanoseconds that the request's thread was runnable and did not run; -1 where the kernel does not tell."""
        if self._schedstat is None:
            return UNREADABLE
        return int(_pread(self._schedstat, 64, 0).split()[1])


def _open_schedstat() -> Optional[int]:
    try:
        return os.open("/proc/self/task/%d/schedstat" % threading.get_native_id(), os.O_RDONLY)
    except OSError:
        return None
