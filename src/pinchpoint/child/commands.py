"""The child's side of the conversation: one JSON line a command, one a reply."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from pinchpoint.child import sessions
from pinchpoint.child.loading import CannotLoad, Loaded, describe, innermost_line, load_onnx, load_python
from pinchpoint.child.pacing import Pacer, is_async
from pinchpoint.child.recorder import SECOND, Recorder

HUGE_PAGE = 2 << 20


def obey(control: int) -> None:
    """Serve commands from the parent until it hangs up."""
    _offer_to_oom_killer()
    with socket.socket(fileno=control) as connection, connection.makefile("rb") as lines:
        child = _Child()
        for line in lines:
            reply = child.handle(json.loads(line))
            connection.sendall(json.dumps(reply).encode() + b"\n")
            if reply.get("bye"):
                break
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that the target left running must not keep the process


class _Child:
    """What one child holds: the loaded target and its recorder."""

    def __init__(self) -> None:
        self._loaded: Optional[Loaded] = None
        self._recorder: Optional[Recorder] = None
        self._pacer: Optional[Pacer] = None
        self._twins: Dict[int, sessions.ProfiledTwin] = {}
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._commands: Dict[str, Callable[[Dict[str, Any]], Dict[str, Any]]] = {
            "load": self._load,
            "pace": self._pace,
            "runtime": self._runtime,
            "sessions": self._sessions,
            "profile": self._profile,
            "optimise": self._optimise,
            "dump": self._dump,
            "measure": self._measure,
            "touch": self._touch,
            "quit": lambda _: {"bye": True},
        }

    def handle(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Carry out one command; what the target raises becomes part of the reply."""
        try:
            return self._commands[command["do"]](command)
        except CannotLoad as error:
            return {"bad": {"what": error.what, "where": error.where, "todo": error.todo}}
        except SystemExit as error:
            return {"ended": "it called sys.exit(%r)%s" % (error.code, innermost_line(error)), **self._progress()}
        except OSError as error:
            if error.errno == 28:
                return {"ended": "the shared memory for records is full", **self._progress()}
            return {"failed": describe(error), **self._progress()}
        except MemoryError:
            return {"failed": "out of memory", **self._progress()}
        except BaseException as error:  # the parent must hear of everything
            return {"failed": describe(error) + innermost_line(error), **self._progress()}

    def _load(self, command: Dict[str, Any]) -> Dict[str, Any]:
        spec = command["spec"]
        self._loaded = load_onnx(spec) if spec["kind"] == "onnx" else load_python(spec)
        self._recorder = Recorder(command["records"])
        self._pacer = Pacer(self._recorder, command["seed"])
        return {
            "phases": self._loaded.phases,
            "payloads": len(self._loaded.payloads),
            "asynchronous": is_async(self._loaded.call),
            "thread": threading.get_native_id(),
            "span_cost_ns": self._recorder.span_cost_ns(),
            "interpreter": "%s %s" % (platform.python_implementation(), platform.python_version()),
        }

    def _pace(self, command: Dict[str, Any]) -> Dict[str, Any]:
        assert self._loaded is not None
        assert self._pacer is not None
        flag = command["flag"]
        payloads = self._loaded.second if flag & SECOND else self._loaded.payloads
        call, pacer = self._loaded.call, self._pacer
        arguments = (call, payloads, command["seconds"], command["count"], command["observe"], flag)
        if is_async(call):
            if self._loop is None:  # one for all arms: the target may keep things that belong to it
                self._loop = asyncio.new_event_loop()
                asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(pacer.drive_async(*arguments))
        else:
            pacer.drive(*arguments)
        return self._progress()

    def _runtime(self, _: Dict[str, Any]) -> Dict[str, Any]:
        """Which runtime the interpreter has to measure ceilings with; null where it has none."""
        try:
            import onnxruntime
        except ImportError:
            return {"version": None}
        return {"version": onnxruntime.__version__}

    def _progress(self) -> Dict[str, Any]:
        if self._pacer is None or self._recorder is None:
            return {}
        first = self._pacer.first_error
        return {
            "served": self._pacer.served,
            "failed_requests": self._pacer.failed,
            "errors": self._pacer.errors,
            "first_error": describe(first) + innermost_line(first) if first is not None else None,
            "dropped_spans": self._recorder.dropped_spans,
        }

    def _sessions(self, _: Dict[str, Any]) -> Dict[str, Any]:
        return {"sessions": [dict(known.facts(), ran=known.feeds is not None) for known in sessions.captured]}

    def _profile(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """A visit to a session's profiled twin: opened at the first, closed and reported at the last."""
        number = command["session"]
        known = sessions.captured[number]
        if known.feeds is None:
            return {}
        if number not in self._twins:
            self._twins[number] = sessions.ProfiledTwin(known, command["prefix"])
        self._twins[number].visit(command["seconds"], command["most_runs"])
        return {"profile": self._twins.pop(number).close()} if command["last"] else {}

    def _optimise(self, command: Dict[str, Any]) -> Dict[str, Any]:
        known = sessions.captured[command["session"]]
        return {"path": sessions.fully_optimised_kinds(known, command["prefix"])}

    def _dump(self, command: Dict[str, Any]) -> Dict[str, Any]:
        sessions.dump(sessions.captured[command["session"]], command["path"])
        return {}

    def _measure(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Time runs of a micro-model: the ceilings are measured by the runtime that the target uses."""
        loaded = load_onnx(command["spec"])
        known = sessions.captured[-1]
        call, payload = loaded.call, loaded.payloads[0]
        call(payload)
        if command.get("profiled"):
            twin = sessions.ProfiledTwin(known, command["prefix"])
            twin.visit(command["seconds"], command["most_runs"])
            return {"profile": twin.close()}
        times: List[float] = []
        deadline = time.perf_counter() + command["seconds"]
        while len(times) < command["most_runs"] and (time.perf_counter() < deadline or len(times) < 3):
            start = time.perf_counter()
            call(payload)
            times.append(time.perf_counter() - start)
        return {"seconds": times}

    def _touch(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Time the first write to fresh pages: the cost of a minor fault, in seconds a page."""
        import mmap

        costs: List[float] = []
        for _ in range(command["repeats"]):
            with mmap.mmap(-1, command["pages"] * mmap.PAGESIZE) as area:
                start = time.perf_counter()
                for offset in range(0, len(area), mmap.PAGESIZE):
                    area[offset] = 1
                first = time.perf_counter() - start
                start = time.perf_counter()
                for offset in range(0, len(area), mmap.PAGESIZE):
                    area[offset] = 1
                costs.append((first - (time.perf_counter() - start)) / command["pages"])
        return {"seconds": costs, "huge_seconds": _huge_touches(command["repeats"])}


def _huge_touches(repeats: int) -> List[float]:
    """Seconds of the first touch of a huge page, where the kernel gives them to those that ask; else empty."""
    import mmap

    costs: List[float] = []
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
            if "[never]" in file.read():
                return costs
        for _ in range(repeats):
            with mmap.mmap(-1, 4 * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
                area.madvise(mmap.MADV_HUGEPAGE)
                for offset in range(HUGE_PAGE, 3 * HUGE_PAGE, HUGE_PAGE):
                    start = time.perf_counter()
                    area[offset] = 1
                    costs.append(time.perf_counter() - start)
    except (OSError, AttributeError, ValueError):
        return []
    return costs


def _offer_to_oom_killer() -> None:
    """Be the first to go when memory runs out, so that the tool can tell the tale."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass  # not on this kernel: the kernel then chooses by size, which is this process too
