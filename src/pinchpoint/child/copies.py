"""What a request copies: calls whose job is to move bytes, timed one by one in the request's own thread.

Methods of arrays and buffers are seen by a profile function, which Python calls before and after each call into C with the
object that the method belongs to. It is not told arguments, so functions (`numpy.array`) are replaced, wherever a module
holds them, by ones that look at what goes in and what comes out. Both last as long as the arm. No part of Python tells of
copies that syntax makes (slices of bytes, `a[:] = b`, `+`), that a type makes (`bytes(x)`), or that other threads make.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import io
import resource
import sys
import threading
import time
from types import FrameType
from typing import Any, Callable, Dict, List, Optional, Tuple

from pinchpoint.child.phases import is_foreign
from pinchpoint.child.recorder import MARKED
from pinchpoint.stages import listen

LEAST_BYTES = 1 << 16  # what fits into a core's own caches costs next to nothing
FASTEST_BYTES_PER_NS = 100  # no memory copies faster: a call that would have done so made a view
LEAST_UNSIZED_NS = 20_000  # of a call that does not tell how much it copied: 64 KiB at a slow 3 GB/s
UNSIZED, BY_POSITION = -1, -2
FEWEST, MOST = 3, 12  # requests
LATE = 4.0  # times the arm's seconds, after which a request is left alone
EVENTS_A_LOOK = 4096
ENTRIES_KEPT, PARTS, DEPTH = 500, 4096, 4
OF_ARRAYS = ("copy", "__copy__", "__deepcopy__", "tobytes", "flatten", "ravel", "reshape", "clone", "contiguous")
OF_BUFFERS = ("read", "write", "getvalue", "join", "extend")
METHODS = frozenset((*OF_ARRAYS, *OF_BUFFERS))
FUNCTIONS = {
    "numpy": ("array", "asarray", "ascontiguousarray", "asfortranarray", "concatenate", "copyto"),
    "torch": ("cat", "concat", "stack", "clone", "tensor", "as_tensor"),
}
ARRAYS = {"numpy": "ndarray", "torch": "Tensor"}

Entry = Dict[str, Any]
Stack = Tuple[Tuple[str, int], ...]
_clock, _cpu, _ident = time.perf_counter_ns, time.thread_time_ns, threading.get_ident
_usage, _THREAD = resource.getrusage, resource.RUSAGE_THREAD
_stack: "contextvars.ContextVar[Stack]" = contextvars.ContextVar("pinchpoint_copies", default=())


def of_requests(ask: Callable[[Any], Any], payloads: List[Any], seconds: float) -> Dict[str, Any]:
    """What each of a few requests copies; requests that fail are passed over."""
    if sys.getprofile() is not None:
        return {"missing": "the target has a profile function of its own"}
    found: List[Dict[str, Any]] = []
    begin = _clock()
    deadline = begin + int(seconds * 1e9)
    with _Watch(begin + int(seconds * LATE * 1e9)) as watch:
        for number in range(MOST):
            if (number >= FEWEST and _clock() > deadline) or watch.over:
                break
            payload = payloads[number % len(payloads)]
            try:
                ask(payload)
            except Exception:  # the target's own, which the requests that count have told of
                watch.entries_of_request()
                continue
            entries = watch.entries_of_request()
            if entries is not None:
                found.append({"payload_bytes": held_bytes(payload, DEPTH), "entries": entries})
    if not found:
        return {"missing": "no request ended while it was watched"}
    return {"copies": found}


def held_bytes(value: Any, depth: int) -> int:
    """Bytes of the arrays and buffers in a payload."""
    size = _bytes_of(value)
    if size == 0 and depth and type(value) in (list, tuple, dict) and len(value) <= PARTS:
        parts = value.values() if type(value) is dict else value
        return sum(held_bytes(part, depth - 1) for part in parts)
    return size


class _Watch:
    """Watches this thread: a context manager that puts everything back as it was, and listens to stages meanwhile.

    Past `late_ns` it gives up, in the midst of a request if need be.
    """

    def __init__(self, late_ns: int) -> None:
        self._entries: List[Entry] = []
        self._complete = True
        self._here: Dict[Tuple[Any, ...], Entry] = {}
        self._late, self._events = late_ns, 0
        self._thread = _ident()
        self._open: Optional[Tuple[FrameType, str, Any, int, int, int, int]] = None
        self._replaced: List[Tuple[Dict[str, Any], str, Any, Any]] = []
        self._arrays: Tuple[type, ...] = ()

    def __enter__(self) -> "_Watch":
        loaded = {name: sys.modules[name] for name in ARRAYS if name in sys.modules}
        self._arrays = tuple(getattr(module, ARRAYS[name]) for name, module in loaded.items())
        self._replace(
            {
                id(original): (original, self._timed(original, "%s.%s" % (name, function)))
                for name, module in loaded.items()
                for function in FUNCTIONS[name]
                if (original := getattr(module, function, None)) is not None
            }
        )
        listen(self)
        sys.setprofile(self._seen)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.over:
            sys.setprofile(None)
        listen(None)
        for names, name, original, ours in self._replaced:
            if names.get(name) is ours:
                names[name] = original
        self._thread = -1  # what the target kept of ours measures nothing any more

    @property
    def over(self) -> bool:
        """Whether it was given up, or the target has set a profile function of its own."""
        return sys.getprofile() != self._seen

    def entries_of_request(self) -> Optional[List[Entry]]:
        """What was seen since the last call; None where it is not all.

        The copies in their order, those at one place within one stretch of a stage as one, and between them the beginnings
        of stages; the fields are told by `pinchpoint.domain.aside.Copying`.
        """
        entries, complete = self._entries, self._complete and not self.over
        self._entries, self._here, self._complete, self._open = [], {}, True, None
        return entries if complete else None

    # -- stages, as their listener ---------------------------------------------------------------------------------
    def begin(self, name: str, kind: int = MARKED) -> None:
        """A stage begins in this thread or task, or in another, whose copies are not seen."""
        _stack.set((*_stack.get(), (name, kind)))
        if _ident() == self._thread:
            self._here = {}
            self._keep(_entry("", "", 0))

    def end(self) -> None:
        """The innermost stage ends."""
        _stack.set(_stack.get()[:-1])
        if _ident() == self._thread:
            self._here = {}

    # -- methods, as the thread's profile function -----------------------------------------------------------------
    def _seen(self, frame: FrameType, event: str, argument: Any) -> None:
        """Nothing that goes wrong here may reach the target."""
        try:
            if event == "c_call":
                if self._open is None and getattr(argument, "__name__", "") in METHODS:
                    self._begin(frame, argument)
            elif self._open is not None:
                self._finish(frame, event, argument)
            self._events += 1
            if self._events % EVENTS_A_LOOK == 0 and _clock() > self._late:
                sys.setprofile(None)
        except Exception:
            self._open = None

    def _begin(self, frame: FrameType, method: Any) -> None:
        owner, name = method.__self__, method.__name__
        size = self._size(owner, name)
        if size >= LEAST_BYTES or size in (UNSIZED, BY_POSITION):
            self._open = (frame, name, owner, size, _position(owner), _usage(_THREAD).ru_minflt, _cpu())

    def _finish(self, frame: FrameType, event: str, method: Any) -> None:
        """The method returned, or Python code ran inside of it: then it did more than copy."""
        now = _cpu()
        assert self._open is not None
        (caller, name, owner, size, before, faults, start), self._open = self._open, None
        if event != "c_return" or frame is not caller or method.__name__ != name:
            return
        if size == BY_POSITION:
            size = _position(owner) - before
        faulted = _usage(_THREAD).ru_minflt - faults
        self._add("%s.%s" % (type(owner).__name__, name), frame, size, now - start, faulted)

    def _size(self, owner: Any, name: str) -> int:
        """Bytes that a method copies, if it copies; 0 for methods that are not known to."""
        kind = type(owner)
        if kind is io.BytesIO:
            return BY_POSITION if name in ("read", "write") else _length(owner) if name == "getvalue" else 0
        if name == "join":
            return UNSIZED if kind in (bytes, bytearray) else 0
        if name == "extend":
            return BY_POSITION if kind is bytearray else 0
        if kind in (bytearray, memoryview) or isinstance(owner, self._arrays):
            return _bytes_of(owner)
        return 0

    # -- functions, in place of the originals ----------------------------------------------------------------------
    def _replace(self, wanted: Dict[int, Tuple[Any, Any]]) -> None:
        """Put ours into every module that holds an original."""
        for module in list(sys.modules.values()):
            with contextlib.suppress(Exception):  # anything may be in sys.modules
                names = object.__getattribute__(module, "__dict__")  # one that is imported lazily stays as it is
                for name, value in list(names.items()):
                    original, ours = wanted.get(id(value), (None, None))
                    if original is not None and value is original:
                        names[name] = ours
                        self._replaced.append((names, name, original, ours))

    def _timed(self, original: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if _ident() != self._thread:
                return original(*args, **kwargs)
            faults, start = _usage(_THREAD).ru_minflt, _cpu()
            answer = original(*args, **kwargs)
            took = _cpu() - start
            try:
                faulted = _usage(_THREAD).ru_minflt - faults
                self._add(name, sys._getframe(1), _moved(args, answer), took, faulted)
            except Exception:  # objects of the target's own may refuse anything
                self._open = None
            return answer

        return timed

    # -- what was seen ---------------------------------------------------------------------------------------------
    def _add(self, function: str, frame: FrameType, size: int, took_ns: int, faults: int) -> None:
        """Note a copy, unless it was small or made none."""
        small = took_ns < LEAST_UNSIZED_NS if size == UNSIZED else size < LEAST_BYTES
        if small or took_ns * FASTEST_BYTES_PER_NS < size:
            return
        file, line = _own_line(frame)
        key = (function, file, line, size == UNSIZED, _stack.get())
        entry = self._here.get(key)
        if entry is None:
            entry = self._here[key] = _entry(function, file, line)
            self._keep(entry)
        entry["times"] += 1
        entry["size_bytes"] = UNSIZED if size == UNSIZED else entry["size_bytes"] + size
        entry["cpu_s"] += took_ns / 1e9
        entry["faults"] += faults
        entry["largest_bytes"] = max(entry["largest_bytes"], size)

    def _keep(self, entry: Entry) -> None:
        if len(self._entries) < ENTRIES_KEPT:
            self._entries.append(entry)
        else:
            self._complete = False


def _entry(function: str, file: str, line: int) -> Entry:
    entry: Entry = {"function": function, "file": file, "line": line, "stages": _stack.get()}
    return dict(entry, times=0, size_bytes=0, cpu_s=0.0, faults=0, largest_bytes=0)


def _bytes_of(value: Any) -> int:
    """Bytes that an array, tensor or buffer holds in the CPU's memory; 0 for anything else."""
    if type(value) in (bytes, bytearray):
        return len(value)
    device = getattr(value, "device", None)
    if getattr(device, "type", "cpu") != "cpu":
        return 0
    size = getattr(value, "nbytes", 0)
    return size if type(size) is int else 0


def _position(owner: Any) -> int:
    """Where a stream or a growing buffer stands: what `BY_POSITION` copies is the difference that it makes."""
    if type(owner) is io.BytesIO:
        return owner.tell()
    return len(owner) if type(owner) is bytearray else 0


def _length(stream: io.BytesIO) -> int:
    at, end = stream.tell(), stream.seek(0, io.SEEK_END)
    stream.seek(at)
    return end


def _moved(arguments: Tuple[Any, ...], answer: Any) -> int:
    """Bytes that went from arrays or buffers into the answer, or into the first argument where there is no answer.

    0 where numbers were converted: from lists, or to another data type.
    """
    target, source = (arguments[0], arguments[1]) if answer is None else (answer, arguments[0])
    parts = source if type(source) in (list, tuple) else (source,)
    wanted = _dtype_name(target)
    alike = len(parts) <= PARTS and all(_dtype_name(part) in (wanted, "") for part in parts)
    return _bytes_of(target) if alike and sum(map(_bytes_of, parts)) >= LEAST_BYTES else 0


def _dtype_name(value: Any) -> str:
    """`float32`, of numpy as of torch; "" for what has bytes and no data type."""
    return str(getattr(value, "dtype", "")).rpartition(".")[2]


def _own_line(frame: FrameType) -> Tuple[str, int]:
    """The innermost line of the target's own code, or else of what called."""
    own: Optional[FrameType] = frame
    while own is not None and is_foreign(own.f_code.co_filename):
        own = own.f_back
    found = own or frame
    return found.f_code.co_filename, found.f_lineno
