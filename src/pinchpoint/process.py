"""The child process as the parent sees it: started, asked, watched, and survived."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from pinchpoint.domain.run import Ints
from pinchpoint.errors import BadInput, TargetFailed, interrupts_held

CHILD = Path(__file__).parent / "child" / "__main__.py"
HEADER_COLUMNS = 3
MAGIC = 0x70696E6368
OUTPUT_KEPT_BYTES = 1 << 20
REPLY_BYTES = 64 << 20
LINES, LAST_WORDS = 20, 200  # looked at for the last words, and how much of them is repeated
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of its own is made there by mkdtemp
SHARED_MEMORY_NEEDED_BYTES = 256 << 20
POLL_S = 0.1
START_S = 60.0  # an interpreter that has not said hello by then is none
QUIT_S = 2.0
OLDEST_PYTHON = (3, 9)
CONNECTION_LOST = 93  # child.commands exits with it
BELONGS_TO = "PINCHPOINT_CHILD"  # the variable by which a child and all that it starts are known
KILL_ROUNDS = 10
TOLD = ("ended", "failed", "first_error")  # the parts of a reply that quote the target
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL", re.IGNORECASE)
SECRET_CHARACTERS = 6

Reply = Mapping[str, Any]


class Ended(Exception):  # not an error of the conversation, but how it ended
    """The child stopped answering: in words, why. What it recorded is still there."""


class Child:
    """A target's process: `ask` it something, read what it recorded, `close` it.

    However this process ends, the child, all that it started and its shared memory are gone then.
    """

    def __init__(self, python: str | None) -> None:
        interpreter = python or sys.executable
        self._buffer, self._hung_up = b"", False
        self._oom_kills = _oom_kills()
        self._output = _Output()
        self.spawned_ns = time.perf_counter_ns()  # one clock for all processes
        with interrupts_held():
            self.records = _records_folder()
            self._socket, theirs = socket.socketpair()
            try:
                self._process = _started(interpreter, theirs, self.records.name)
            except (OSError, ValueError) as error:
                self._socket.close()
                self.records.rmdir()
                reason = getattr(error, "strerror", None) or str(error)
                raise _no_interpreter(f"cannot start this interpreter: {reason}", interpreter) from None
            finally:
                theirs.close()
            self._end = weakref.finalize(self, _end, self._process, self._socket, self.records)
        assert self._process.stdout is not None
        self._drain = threading.Thread(target=self._output.keep, args=(self._process.stdout,), daemon=True)
        self._drain.start()
        self._await_hello(interpreter)

    def _await_hello(self, interpreter: str) -> None:
        """BadInput unless a Python that is new enough comes up."""
        try:
            self._answer(START_S, lambda: None, progress=False)
        except Ended as ended:
            self._end()
            raise _no_interpreter(_why_not(interpreter, ended), interpreter) from None
        except BaseException:
            self._end()
            raise

    @property
    def output(self) -> bytes:
        """The last of what the target printed."""
        return self._output.kept

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._process.pid

    def ask(
        self,
        command: Mapping[str, object],
        timeout_s: float,
        tick: Callable[[], None] = lambda: None,
        *,
        progress: bool = False,
    ) -> Reply:
        """Send a command and wait for its reply, calling `tick` ten times a second.

        Raises BadInput where the child says that the target cannot be used, and Ended when it dies, exits, or makes no
        progress for `timeout_s` (with `progress`, each finished request counts as progress).
        """
        try:
            self._socket.sendall(json.dumps(command).encode() + b"\n")
        except OSError:
            raise Ended(self._how_it_ended()) from None
        return self._answer(timeout_s, tick, progress=progress)

    def _answer(self, timeout_s: float, tick: Callable[[], None], *, progress: bool) -> Reply:
        """The next line from the child, understood; Ended when none will come."""
        quiet_since, seen = time.monotonic(), -1
        while True:
            line = self._line(POLL_S)
            over = line is None and (self._hung_up or self._process.poll() is not None)
            if over:
                line = self._line(0)  # what it said just before
            if line is not None:
                return self._understood(line)
            if over:
                raise Ended(self._how_it_ended())
            tick()
            count = self.served() if progress else 0
            if count != seen:
                quiet_since, seen = time.monotonic(), count
            if time.monotonic() - quiet_since > timeout_s:
                self.kill()
                raise Ended(f"it did not answer for {timeout_s:g} s and was stopped")

    def rows(self, name: str, columns: int) -> Ints:
        """All complete rows of a stream, shape (rows, columns), readable also after the child has died."""
        parts = []
        for path in sorted(self.records.glob(f"{name}.*")):
            words = np.fromfile(path, dtype=np.int64)
            if len(words) < HEADER_COLUMNS or words[0] != MAGIC or words[1] != columns:
                continue
            count = min(int(words[2]), (len(words) - HEADER_COLUMNS) // columns)
            parts.append(words[HEADER_COLUMNS : HEADER_COLUMNS + count * columns].reshape(count, columns))
        return np.concatenate(parts) if parts else np.empty((0, columns), dtype=np.int64)

    def names(self) -> tuple[str, ...]:
        """The span names that the child noted, in the order of their numbers."""
        found: list[str] = []
        with contextlib.suppress(OSError, ValueError):  # a last line that is cut short has no span yet
            lines = (self.records / "names").read_text("utf-8", "replace").splitlines()
            found.extend(str(json.loads(line)) for line in lines)
        return tuple(found)

    def served(self) -> int:
        """How many requests the child has finished so far."""
        segments = sorted(self.records.glob("requests.*"))
        if not segments:
            return 0
        header = np.fromfile(segments[-1], dtype=np.int64, count=HEADER_COLUMNS)
        return len(segments) << 40 | int(header[2]) if len(header) == HEADER_COLUMNS else 0

    def kill(self) -> None:
        """End the child and every process that it started, whatever session they have moved to."""
        _kill(self._process, self.records.name)

    def close(self) -> None:
        """Ask the child to quit, end what is left of it, and remove the shared memory."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError, Ended, BadInput, TargetFailed):
                self.ask({"do": "quit"}, timeout_s=QUIT_S)
        self._end()
        self._drain.join(timeout=1.0)

    def _line(self, wait_s: float) -> bytes | None:
        """One complete line from the child, if one arrives within `wait_s`."""
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._socket], [], [], wait_s)
            if not ready:
                return None
            try:
                received = self._socket.recv(1 << 16)
            except OSError:
                received = b""
            if not received:
                self._hung_up = True
                return None
            self._buffer += received
            if len(self._buffer) > REPLY_BYTES:
                self.kill()
                raise Ended("its process sent an answer without end")
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _understood(self, line: bytes) -> Reply:
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict):
            raise Ended("its process sent an answer that makes no sense")
        if "bad" in reply:
            what, where, todo = (without_secrets(str(reply["bad"][part])) for part in ("what", "where", "todo"))
            raise BadInput(what=what, where=where, todo=todo)
        return reply | {part: without_secrets(reply[part]) for part in TOLD if isinstance(reply.get(part), str)}

    def _how_it_ended(self) -> str:
        """In words, how the child ended; one that has hung up without ending is ended now."""
        try:
            code = self._process.wait(QUIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = CONNECTION_LOST
        if code == CONNECTION_LOST:
            return "it closed file descriptors that are not its own (the connection to pinchpoint) and was stopped"
        if code == -signal.SIGKILL:
            short = _oom_kills() != self._oom_kills
            return f"its process was killed (signal 9){', most likely because memory ran out' if short else ''}"
        if code < 0:
            name = signal.Signals(-code).name if -code in signal.valid_signals() else "unknown"
            return f"its process was ended by signal {-code}, {name}"
        last = self._last_words()
        return f"its process exited with status {code}" + (f": {last}" if last else "")

    def _last_words(self) -> str:
        self._drain.join(timeout=0.5)
        printed = self.output.decode("utf-8", "replace").splitlines()
        lines = [line for line in ("".join(filter(str.isprintable, each)).strip() for each in printed[-LINES:]) if line]
        return without_secrets(lines[-1])[:LAST_WORDS] if lines else ""


class _Output:
    """What the target prints: drained so that it never blocks, and the last of it kept."""

    def __init__(self) -> None:
        self.kept = b""

    def keep(self, stream: IO[bytes]) -> None:
        """Read until nobody holds the other end any more."""
        with stream:
            while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]  # a BufferedReader
                self.kept = (self.kept + chunk)[-OUTPUT_KEPT_BYTES:]


# --- how it begins -------------------------------------------------------------------------------------------------
def _started(interpreter: str, connection: socket.socket, mark: str) -> subprocess.Popen[bytes]:
    """The child's process, in a session of its own, marked as its own and all that it starts."""
    marks = [mark, *filter(None, [os.environ.get(BELONGS_TO)])]
    return subprocess.Popen(
        [interpreter, "-u", str(CHILD), str(connection.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[connection.fileno()],
        start_new_session=True,
        env={**os.environ, BELONGS_TO: ":".join(marks)},
    )


def _why_not(interpreter: str, ended: Ended) -> str:
    """Why an interpreter did not come up: too old, or none at all."""
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(
            [interpreter, "-c", version], stdin=subprocess.DEVNULL, capture_output=True, timeout=QUIT_S, check=False
        )
        found = re.fullmatch(r"(\d+)\.(\d+)", asked.stdout.decode("ascii", "replace").strip())
        if found and (int(found[1]), int(found[2])) < OLDEST_PYTHON:
            return f"Python {found[0]} is too old"
    return f"this did not start as Python: {ended}"


def _no_interpreter(what: str, interpreter: str) -> BadInput:
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return BadInput(what=what, where=interpreter, todo=f"Name a Python {oldest} or newer with --python")


# --- how it ends ---------------------------------------------------------------------------------------------------
def _oom_kills() -> int:
    """How often the kernel has killed for want of memory since it started; 0 where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _end(process: subprocess.Popen[bytes], connection: socket.socket, records: Path) -> None:
    """Nothing of a child is left after this; an interrupt waits for it."""
    with interrupts_held():
        _kill(process, records.name)
        connection.close()
        shutil.rmtree(records, ignore_errors=True)


def _kill(process: subprocess.Popen[bytes], mark: str) -> None:
    if process.poll() is None:  # not waited for yet, so the number is still its own
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for _ in range(KILL_ROUNDS):  # one that is being started may be missed by a round
        left = _marked(mark)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            return
        time.sleep(POLL_S / 10)


def _marked(mark: str) -> list[int]:
    """The living processes whose environment has the mark of a child: it, and what it or its like started."""
    found, wanted = [], f"{BELONGS_TO}=".encode()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            with contextlib.suppress(OSError):
                variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
                marks = [each[len(wanted) :] for each in variables if each.startswith(wanted)]
                if any(mark.encode() in each.split(b":") for each in marks):
                    found.append(int(name))
    return found


def without_secrets(text: str) -> str:
    """`text` of the target's with the values of environment variables that sound secret replaced by their names."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= SECRET_CHARACTERS:
            text = text.replace(value, f"${name}")
    return text


# --- shared memory -------------------------------------------------------------------------------------------------
def _records_folder() -> Path:
    """A new folder for the child's records, named after this process."""
    try:
        return Path(tempfile.mkdtemp(prefix=f"pinchpoint-{os.getpid()}-", dir=_records_home()))
    except OSError as error:
        where = error.filename or tempfile.tempdir or "temporary folder"
        raise BadInput(
            what=f"records cannot be written: {error.strerror}", where=str(where), todo="Set TMPDIR to another folder"
        ) from None


def _records_home() -> str | None:
    """Shared memory where there is enough of it, else the temporary folder."""
    try:
        free = os.statvfs(SHARED_MEMORY)
    except OSError:
        return None
    enough = free.f_bavail * free.f_frsize > SHARED_MEMORY_NEEDED_BYTES and os.access(SHARED_MEMORY, os.W_OK)
    return str(SHARED_MEMORY) if enough else None
