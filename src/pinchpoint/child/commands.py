"""The child's side of the conversation: one JSON line a command, one a reply."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import importlib
import inspect
import os
import platform
import shutil
import socket
import sys
import threading
import time
import traceback
from json import JSONDecoder, JSONEncoder
from typing import Any, Callable, Dict, List, Optional, Tuple

from pinchpoint.child import asides, copies, denormals, gil, sessions, torch_kernels, torch_models
from pinchpoint.child.crowd import Crowd
from pinchpoint.child.loading import Loaded, describe, innermost_line, load_onnx, load_python, load_torch
from pinchpoint.child.pacing import Pacer, is_async
from pinchpoint.child.phases import FIRST_REQUEST, Start, phase
from pinchpoint.child.recorder import SECOND, Recorder
from pinchpoint.child.refusals import CannotLoad
from pinchpoint.stages import listen

HUGE_PAGE = 2 << 20
CONNECTION_LOST = 93  # exit status: the target closed our descriptors; process.py knows it
OURS = {  # errors of the recording itself, in words
    errno.ENOSPC: "the shared memory for records is full",
    errno.EFBIG: "the shared memory for records is full",
    errno.EBADF: "it closed file descriptors that are not its own",
}

_encode, _decode = JSONEncoder().encode, JSONDecoder().decode  # kept from before the target changes json
_clock, _native_ident = time.perf_counter, threading.get_native_id


def obey(control: int, entered: Tuple[int, int]) -> None:
    """Say hello, and serve commands from the parent until it hangs up.

    `entered` is when the interpreter was up, and its CPU time until then, both in nanoseconds.
    """
    _offer_to_oom_killer()
    child, status = _Child(control, entered), 1
    try:
        status = _converse(child, control)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # such as a target's own sys.stdout; nothing of it is awaited any more
        if status == 1:
            traceback.print_exc()
    os._exit(status)  # threads that the target left running must not keep the process


def _converse(child: "_Child", control: int) -> int:
    """Command and reply, line by line; returns the exit status."""
    try:
        with socket.socket(fileno=control) as connection, connection.makefile("rb") as lines:
            connection.sendall(_encode({"hello": list(sys.version_info[:3])}).encode() + b"\n")
            for line in lines:
                reply = child.handle(_decode(line.decode()))
                connection.sendall(_encode(reply).encode() + b"\n")
                if reply.get("bye"):
                    return 0
    except (BrokenPipeError, ConnectionResetError):
        pass
    except OSError:
        return CONNECTION_LOST
    child.clean_up()  # the parent is gone
    return 0


class _Child:
    """What one child holds: the loaded target and its recorder."""

    def __init__(self, control: int, entered: Tuple[int, int]) -> None:
        self._control, self._entered = control, entered
        self._start: Optional[Start] = None
        self._records: Optional[str] = None
        self._uri = ""
        self._loaded: Optional[Loaded] = None
        self._recorder: Optional[Recorder] = None
        self._pacer: Optional[Pacer] = None
        self._twins: Dict[int, Any] = {}
        self._crowd: Optional[Crowd] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._commands: Dict[str, Callable[[Dict[str, Any]], Dict[str, Any]]] = {
            "load": self._load,
            "pace": self._pace,
            "runtime": self._runtime,
            "sessions": self._sessions,
            "profile": self._profile,
            "optimise": self._optimise,
            "dump": self._dump,
            "reopen": self._reopen,
            "visit": self._visit,
            "pauses": self._pauses,
            "again": self._again,
            "flush": self._flush,
            "copies": self._copies,
            "check": self._check,
            "measure": self._measure,
            "measure_numpy": self._measure_numpy,
            "measure_torch": self._measure_torch,
            "touch": self._touch,
            "quit": self._quit,
        }
        os.register_at_fork(after_in_child=self._disown)

    def clean_up(self) -> None:
        """Remove the records, which nobody will read."""
        if self._records is not None:
            shutil.rmtree(self._records, ignore_errors=True)

    def _disown(self) -> None:
        """In a copy of the process that the target has forked: it neither speaks nor records in our name."""
        listen(None)
        if self._recorder is not None:
            self._recorder.disown()
        with contextlib.suppress(OSError):
            os.close(self._control)

    def handle(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Carry out one command; what the target raises becomes part of the reply."""
        try:
            return self._commands[command["do"]](command)
        except CannotLoad as error:
            return {"bad": {"what": error.what, "where": error.where, "todo": error.todo}}
        except SystemExit as error:
            code = repr(error.code) if isinstance(error.code, (int, str, type(None))) else type(error.code).__name__
            return {"ended": "it called sys.exit(%s)%s" % (code, innermost_line(error)), **self._progress()}
        except OSError as error:
            if error.errno in OURS:
                return {"ended": OURS[error.errno], **self._progress()}
            return {"failed": describe(error) + innermost_line(error), **self._progress()}
        except MemoryError:
            return {"failed": "out of memory", **self._progress()}
        except BaseException as error:  # the parent must hear of everything
            return {"failed": describe(error) + innermost_line(error), **self._progress()}

    def _load(self, command: Dict[str, Any]) -> Dict[str, Any]:
        spec = command["spec"]
        self._uri, self._records = spec["uri"], command["records"]
        self._recorder = Recorder(command["records"])  # before the target can change what it needs
        self._pacer = Pacer(self._recorder, command["seed"])
        lock = gil.address()
        waiters = None if lock is None else gil.waiters(lock)
        self._start = Start(lines=bool(command.get("lines")), files=bool(command.get("files")))
        self._loaded = {"onnx": load_onnx, "torch": load_torch}.get(spec["kind"], load_python)(spec)
        self._recorder.watch_collections()
        return {
            "entered": self._entered,
            "facts": self._loaded.facts,
            "payloads": len(self._loaded.payloads),
            "payload_shapes": asides.shape_numbers(self._loaded.payloads),
            "asynchronous": is_async(self._loaded.call),
            "thread": _native_ident(),
            "uses_numpy": "numpy" in sys.modules,
            "span_cost_ns": self._recorder.span_cost_ns(),
            "gil": lock,
            "gil_waiters": waiters,
            "interpreter": "%s %s" % (platform.python_implementation(), platform.python_version()),
        }

    def _pace(self, command: Dict[str, Any]) -> Dict[str, Any]:
        assert self._loaded is not None
        assert self._pacer is not None
        flag = command["flag"]
        payloads = self._loaded.second if flag & SECOND else self._loaded.payloads
        call, pacer = self._loaded.call, self._pacer
        answers: List[Any] = []
        before = asides.mark(pacer.served)
        if command["count"] == 1 and not is_async(call):
            call = _kept(call, answers)
        arguments = (call, payloads, command["seconds"], command["count"], command["observe"], flag)
        with phase(FIRST_REQUEST):  # of a start; another one is none
            if is_async(call):
                self._event_loop().run_until_complete(pacer.drive_async(*arguments))
            else:
                pacer.drive(*arguments)
        if answers:
            _check_complete(answers[0], self._uri)
        return {**self._progress(), **self._started(), "stretch": (before, asides.mark(pacer.served))}

    def _started(self) -> Dict[str, Any]:
        """What was seen of the start, with the first answer."""
        if self._start is None:
            return {}
        start, self._start = self._start, None
        return {"start": start.finish()}

    def _event_loop(self) -> Any:
        """One for all arms: the target may keep things that belong to it. None where it needs none."""
        assert self._loaded is not None
        if self._loop is None and is_async(self._loaded.call):
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop

    def _pauses(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Requests with pauses between them, none of them recorded one by one."""
        assert self._loaded is not None
        payloads = self._loaded.payloads
        return {"pauses": asides.pauses(lambda number: self._ask(payloads[number % len(payloads)]), command)}

    def _again(self, command: Dict[str, Any]) -> Dict[str, Any]:
        assert self._loaded is not None
        return {"again": asides.again(self._ask, self._loaded.payloads, command)}

    def _flush(self, command: Dict[str, Any]) -> Dict[str, Any]:
        return denormals.in_turns(sessions.captured[command["session"]], command["seconds"])

    def _copies(self, command: Dict[str, Any]) -> Dict[str, Any]:
        assert self._loaded is not None
        return copies.of_requests(self._ask, self._loaded.payloads, command["seconds"])

    def _ask(self, payload: Any) -> None:
        """One request that is not recorded."""
        assert self._loaded is not None
        answer, loop = self._loaded.call(payload), self._event_loop()
        if loop is not None:
            loop.run_until_complete(answer)

    def _visit(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """A visit with several requests in flight, none of them recorded one by one."""
        if self._crowd is None:
            assert self._loaded is not None
            self._crowd = Crowd(self._loaded.call, self._loaded.payloads)
        visit = self._crowd.visit(command["load"], command["seconds"], self._event_loop(), command.get("begin_ns", 0))
        first = self._crowd.first_error
        return {"visit": visit, "error": describe(first) + innermost_line(first) if first is not None else None}

    def _check(self, command: Dict[str, Any]) -> Dict[str, Any]:
        assert self._crowd is not None
        return {"check": self._crowd.check(command["load"])}

    def _quit(self, _: Dict[str, Any]) -> Dict[str, Any]:
        """Run the target's exit functions, which remove its temporary files."""
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        return {"bye": True}

    def _runtime(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """The versions of what the interpreter has to measure ceilings with; null for what it lacks."""
        return {name: _version_of(name) for name in command.get("names", ("onnxruntime", "numpy"))}

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
        torch_models.stop_noticing()
        return {"sessions": [dict(known.facts(), ran=bool(known.feeds)) for known in sessions.captured]}

    def _profile(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """A visit to a session's profiled twin: opened at the first, closed and reported at the last."""
        number = command["session"]
        known = sessions.captured[number]
        if not known.feeds:
            return {}
        if number not in self._twins:
            if isinstance(known, torch_models.CapturedModule):
                self._twins[number] = torch_models.OperatorArm(known, command["prefix"], frozenset(command["whole"]))
            else:
                self._twins[number] = sessions.ProfiledTwin(known, command["prefix"])
        self._twins[number].visit(command["seconds"], command["most_runs"])
        return {"profile": self._twins.pop(number).close()} if command["last"] else {}

    def _optimise(self, command: Dict[str, Any]) -> Dict[str, Any]:
        known = sessions.captured[command["session"]]
        return {"path": sessions.fully_optimised_kinds(known, command["prefix"])}

    def _dump(self, command: Dict[str, Any]) -> Dict[str, Any]:
        sessions.dump(sessions.captured[command["session"]], command["path"])
        return {}

    def _reopen(self, command: Dict[str, Any]) -> Dict[str, Any]:
        return {"opened": sessions.reopened(sessions.captured[command["session"]])}

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
        return {"seconds": _times(lambda: call(payload), command)}

    def _measure_numpy(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Time numpy's own kernels: a square product, a maximum (reads only) or a sum of two (reads and writes)."""
        import numpy

        count = command["elements"]
        side = int(count**0.5)
        shape = (side, side) if command["kernel"] == "product" else (count,)
        first, second, result = (numpy.full(shape, value, numpy.float32) for value in (0.5, 0.25, 0.0))
        kernels: Dict[str, Callable[[], Any]] = {
            "product": lambda: numpy.matmul(first, second, out=result),
            "read": first.max,
            "add": lambda: numpy.add(first, second, out=result),
        }
        kernel = kernels[command["kernel"]]
        kernel()
        return {"seconds": _times(kernel, command)}

    def _measure_torch(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Time torch's own kernels, or what it charges for starting operators and calling modules."""
        import torch

        torch.set_num_threads(command["threads"])
        limits = (command["seconds"], command["most_runs"])
        with torch.inference_mode():
            if command["kernel"] == "start":
                return {"kinds": torch_kernels.times_of_starting(*limits, frozenset(command["whole"]))}
            if command["kernel"] == "call":
                return {"seconds": torch_kernels.times_of_calling(*limits)}
            if command["kernel"] == "reach":
                return {"seconds": torch_kernels.times_of_reaching(*limits)}
            kernel = torch_kernels.kernel(command["kernel"], command["elements"], command["dtype"])
            kernel()
            return {"seconds": _times(kernel, command)}

    def _touch(self, command: Dict[str, Any]) -> Dict[str, Any]:
        """Time the first write to fresh pages: the cost of a minor fault, in seconds a page."""
        import mmap

        costs: List[float] = []
        for _ in range(command["repeats"]):
            with mmap.mmap(-1, command["pages"] * mmap.PAGESIZE) as area:
                start = _clock()
                for offset in range(0, len(area), mmap.PAGESIZE):
                    area[offset] = 1
                first = _clock() - start
                start = _clock()
                for offset in range(0, len(area), mmap.PAGESIZE):
                    area[offset] = 1
                costs.append((first - (_clock() - start)) / command["pages"])
        return {"seconds": costs, "huge_seconds": _huge_touches(command["repeats"], command["huge_pages"])}


def _times(call: Callable[[], Any], command: Dict[str, Any]) -> List[float]:
    """Seconds of each run, at least three, until the command's seconds or runs are used up."""
    times: List[float] = []
    deadline = _clock() + command["seconds"]
    while len(times) < command["most_runs"] and (_clock() < deadline or len(times) < 3):
        start = _clock()
        call()
        times.append(_clock() - start)
    return times


def _version_of(name: str) -> Optional[str]:
    try:
        return str(importlib.import_module(name).__version__)
    except ImportError:
        return None


def _huge_touches(repeats: int, pages: int) -> List[float]:
    """Seconds of the first touch of each of so many huge pages, where the kernel gives them to those that ask; else empty."""
    import mmap

    costs: List[float] = []
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
            if "[never]" in file.read():
                return costs
        for _ in range(repeats):
            with mmap.mmap(-1, (pages + 2) * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
                area.madvise(mmap.MADV_HUGEPAGE)
                for offset in range(HUGE_PAGE, (pages + 1) * HUGE_PAGE, HUGE_PAGE):
                    start = _clock()
                    area[offset] = 1
                    costs.append(_clock() - start)
    except (OSError, AttributeError, ValueError):
        return []
    return costs


def _kept(call: Callable[[Any], Any], answers: List[Any]) -> Callable[[Any], Any]:
    """`call`, its answers kept in `answers`."""

    def kept(payload: Any) -> Any:
        answers.append(call(payload))

    return kept


def _check_complete(answer: Any, uri: str) -> None:
    """CannotLoad where the answer only promises one: what it costs would not be measured."""
    if inspect.isawaitable(answer):
        todo = "Make it `async def`, and await the answer in it"
    elif inspect.isgenerator(answer) or inspect.isasyncgen(answer):
        todo = "Name a function that returns when the answer is complete"
    else:
        return
    raise CannotLoad("it returned a %s before anything was computed" % type(answer).__name__, uri, todo)


def _offer_to_oom_killer() -> None:
    """Be the first to go when memory runs out, so that the tool can tell the tale."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass  # not on this kernel: the kernel then chooses by size, which is this process too
