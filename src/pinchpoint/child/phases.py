"""What a start spends its time on: an account by phase, in which each moment of the main thread belongs to one phase."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import sysconfig
import threading
import time
from _thread import allocate_lock, start_new_thread
from importlib.machinery import ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

IMPORT, LIBRARIES, OWN_CODE = "import", "libraries", "own code"
SESSION, INPUTS, FIRST_REQUEST = "session", "inputs", "first request"
NOT_COUNTED = ("", "")
UNREADABLE = -1
ROWS_KEPT, OTHERS = 24, "others"
LINES_KEPT, LINES_TOLD, LOOK_EVERY_S = 1000, 8, 0.02
FILES_KEPT = 10_000
ELSEWHERE = ("/proc/", "/sys/", "/dev/", "/etc/", "/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/usr/share/")
FOREIGN = tuple(
    sorted({os.path.join(path, "") for name, path in sysconfig.get_paths().items() if name not in ("scripts", "data")})
)
INSTALLED = ("site-packages", "dist-packages")
OURS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")

_clock, _process_cpu, _pread, _ident = time.perf_counter_ns, time.process_time_ns, os.pread, threading.get_ident
_usage = resource.getrusage

Reading = Tuple[int, ...]  # wall ns, CPU ns of all threads, bytes from storage, bytes read at all, major faults


class Account:
    """Time, CPU, bytes and major faults by (phase, detail); what begins inside a phase interrupts it."""

    def __init__(self) -> None:
        self._thread = _ident()
        self._io = _open("/proc/self/io")
        self._stack: List[Tuple[str, str]] = [NOT_COUNTED]
        self._sums: Dict[Tuple[str, str], List[int]] = {}
        self._last = self._read()

    def enter(self, phase: str, detail: str = "") -> bool:
        """A phase begins in this thread; False, and nothing noted, in another one."""
        if _ident() != self._thread:
            return False
        self._settle()
        self._stack.append((phase, detail))
        return True

    def leave(self, *, entered: bool) -> None:
        """The innermost phase ends."""
        if entered:
            self._settle()
            self._stack.pop()

    @property
    def innermost(self) -> Tuple[str, str]:
        """The phase that is under way."""
        return self._stack[-1]

    def rows(self) -> List[Tuple[Any, ...]]:
        """(phase, detail, wall ns, CPU ns, bytes from storage, bytes read, major faults); small libraries in one row."""
        self._settle()
        found: List[Tuple[Any, ...]] = [
            (phase, detail, *sums) for (phase, detail), sums in self._sums.items() if (phase, detail) != NOT_COUNTED
        ]
        found.sort(key=lambda row: -row[2])
        kept = [row for at, row in enumerate(found) if at < ROWS_KEPT or row[0] not in (LIBRARIES, OWN_CODE)]
        for phase in (LIBRARIES, OWN_CODE):
            small = [row[2:] for row in found if row[0] == phase and row not in kept]
            if small:
                kept.append((phase, OTHERS, *(_sum(column) for column in zip(*small))))
        return kept

    def _settle(self) -> None:
        """Give what passed since the last reading to the phase that was under way."""
        now = self._read()
        sums = self._sums.setdefault(self._stack[-1], [0] * len(now))
        for at, (value, before) in enumerate(zip(now, self._last)):
            sums[at] = UNREADABLE if value == UNREADABLE or sums[at] == UNREADABLE else sums[at] + value - before
        self._last = now

    def _read(self) -> Reading:
        stored, read = _bytes_read(self._io)
        return _clock(), _process_cpu(), stored, read, _usage(resource.RUSAGE_SELF).ru_majflt


_current: List[Account] = []  # the account of the start that is under way, if any


@contextlib.contextmanager
def phase(name: str, detail: str = "") -> Iterator[None]:
    """A phase of the start, where one is under way."""
    account = _current[0] if _current else None
    entered = account.enter(name, detail) if account is not None else False
    try:
        yield
    finally:
        if account is not None:
            account.leave(entered=entered)


class Start:
    """A start under way, from the load until the first answer: its account, and on demand the lines and files it spends it on."""

    def __init__(self, *, lines: bool, files: bool) -> None:
        self.account = Account()
        self._files: Dict[str, None] = {}
        self._watching, self._lines = files, _Lines(self.account) if lines else None
        self._undo = _watch_imports(self.account)
        _current[:] = [self.account]
        if files:
            sys.addaudithook(self._opened)

    def finish(self) -> Dict[str, Any]:
        """The first answer is there: what was seen; nothing is watched any more."""
        self._watching = False
        del _current[:]
        self._undo()
        lines = self._lines.stop() if self._lines is not None else []
        return {"phases": self.account.rows(), "lines": lines, "files": [*self._files, *_mapped(self._files)]}

    def _opened(self, event: str, arguments: Tuple[Any, ...]) -> None:
        """Note a file that is opened to be read; an audit hook stays for ever, so it is quiet after the start."""
        if not self._watching or event != "open" or len(self._files) >= FILES_KEPT:
            return
        path, mode = arguments[0], arguments[1]
        with contextlib.suppress(Exception):  # what is raised here would be raised in the target
            path = os.path.abspath(os.fsdecode(path)) if not isinstance(path, int) else ""
            if path and (mode is None or "r" in mode) and not is_foreign(path):
                self._files[path] = None


def is_foreign(path: str) -> bool:
    """Whether a file is part of Python, of an installed package, of pinchpoint, or no file at all."""
    return path.startswith(("<", OURS, *ELSEWHERE, *FOREIGN)) or any(name in path for name in INSTALLED)


def _watch_imports(account: Account) -> Callable[[], None]:
    """Make the loaders of modules tell the account whose code they run; returns what undoes it."""
    changed = [
        (loader, name)
        for loader in (SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader)
        for name in (("exec_module", "create_module") if loader is ExtensionFileLoader else ("exec_module",))
    ]
    for loader, name in changed:
        setattr(loader, name, _accounted(getattr(loader, name), account))

    def undo() -> None:
        for loader, name in changed:
            setattr(loader, name, getattr(loader, name)._original)

    return undo


def _accounted(execute: Callable[..., Any], account: Account) -> Callable[..., Any]:
    def accounted(loader: Any, module: Any) -> Any:
        name, file = str(getattr(loader, "name", "")), str(getattr(loader, "path", ""))
        package = name.partition(".")[0]
        detail = (LIBRARIES, package) if is_foreign(file) else (OWN_CODE, file)
        inside = account.innermost[0] in (LIBRARIES, INPUTS, "")  # what a library imports is that library's
        entered = not inside and account.enter(*detail)
        try:
            return execute(loader, module)
        finally:
            account.leave(entered=entered)

    accounted._original = execute  # type: ignore[attr-defined]
    return accounted


class _Lines:
    """Looks now and then, from a thread of its own, at which line of the target's own code a start is.

    The thread is a bare one, which needs nothing that the target may change in `threading`.
    """

    def __init__(self, account: Account) -> None:
        self._account, self._main = account, _ident()
        self._seconds: Dict[Tuple[str, str, int], float] = {}
        self._over, self._ended = allocate_lock(), allocate_lock()
        self._over.acquire()
        self._ended.acquire()
        start_new_thread(self._look, ())

    def _look(self) -> None:
        """Each look stands for the time since the one before."""
        before = _clock()
        while not self._over.acquire(timeout=LOOK_EVERY_S):
            frame = sys._current_frames().get(self._main)
            now, name = _clock(), self._account.innermost[0]
            while frame is not None and is_foreign(frame.f_code.co_filename):
                frame = frame.f_back
            if frame is not None and name:
                key = (name, frame.f_code.co_filename, frame.f_lineno)
                if key in self._seconds or len(self._seconds) < LINES_KEPT:
                    self._seconds[key] = self._seconds.get(key, 0.0) + (now - before) / 1e9
            before = now
        self._ended.release()

    def stop(self) -> List[Tuple[str, str, int, float]]:
        """(phase, file, line, seconds) of the lines with most of them."""
        self._over.release()
        self._ended.acquire(timeout=1.0)
        most = sorted(self._seconds.items(), key=lambda item: -item[1])[:LINES_TOLD]
        return [(name, file, number, seconds) for (name, file, number), seconds in most]


def _mapped(known: Dict[str, None]) -> List[str]:
    """Files of the target's own that are mapped into memory now, as runtimes map weights."""
    found: Dict[str, None] = {}
    with contextlib.suppress(OSError), open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            path = line.split(None, 5)[5].rstrip("\n") if line.count("/") else ""
            library = ".so" in os.path.basename(path) or os.path.realpath(sys.executable) == path
            if path.startswith("/") and not library and not is_foreign(path) and path not in known:
                found[path] = None
    return list(found)


def _open(path: str) -> Optional[int]:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


def _bytes_read(descriptor: Optional[int]) -> Tuple[int, int]:
    """Bytes that came from storage, and bytes read at all; -1 each where the kernel does not tell."""
    if descriptor is None:
        return UNREADABLE, UNREADABLE
    try:
        fields = dict(line.split(b": ") for line in _pread(descriptor, 1024, 0).splitlines())
        return int(fields[b"read_bytes"]), int(fields[b"rchar"])
    except (OSError, ValueError, KeyError):
        return UNREADABLE, UNREADABLE


def _sum(column: Tuple[int, ...]) -> int:
    return UNREADABLE if UNREADABLE in column else sum(column)
