"""The child process as the parent sees it: started, asked, watched, and survived."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from pinchpoint.domain.run import Ints
from pinchpoint.errors import BadInput, TargetFailed

CHILD = Path(__file__).parent / "child" / "__main__.py"
HEADER_COLUMNS = 3
MAGIC = 0x70696E6368
OUTPUT_KEPT_BYTES = 1 << 20
REPLY_BYTES = 64 << 20
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of its own is made there by mkdtemp
SHARED_MEMORY_NEEDED_BYTES = 256 << 20
POLL_S = 0.1

Reply = Mapping[str, Any]


class Ended(Exception):  # not an error of the conversation, but how it ended
    """The child stopped answering: in words, why. What it recorded is still there."""


class Child:
    """A target's process: `ask` it something, read what it recorded, `close` it."""

    def __init__(self, python: str | None) -> None:
        self.records = Path(tempfile.mkdtemp(prefix="pinchpoint-", dir=_records_home()))
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._buffer = b""
        self.output = b""
        try:
            self._process = subprocess.Popen(
                [python or sys.executable, "-u", str(CHILD), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise BadInput(
                what=f"cannot start this interpreter: {error.strerror}",
                where=str(python),
                todo="Name a Python 3.9 or newer",
            ) from None
        finally:
            theirs.close()
        assert self._process.stdout is not None
        self._drain = threading.Thread(target=self._keep_output, args=(self._process.stdout,), daemon=True)
        self._drain.start()

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
        quiet_since, seen = time.monotonic(), -1
        while True:
            line = self._line(POLL_S)
            if line is not None:
                return self._understood(line)
            tick()
            if self._process.poll() is not None and self._line(0) is None:
                raise Ended(self._how_it_ended())
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
        try:
            lines = (self.records / "names").read_text("utf-8", "replace").splitlines()
            return tuple(str(json.loads(line)) for line in lines)
        except (OSError, ValueError):
            return ()

    def served(self) -> int:
        """How many requests the child has finished so far."""
        segments = sorted(self.records.glob("requests.*"))
        if not segments:
            return 0
        header = np.fromfile(segments[-1], dtype=np.int64, count=HEADER_COLUMNS)
        return len(segments) << 40 | int(header[2]) if len(header) == HEADER_COLUMNS else 0

    def kill(self) -> None:
        """End the child and every process that it started in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Ask the child to quit, end what is left of it, and remove the shared memory."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError, Ended, BadInput, TargetFailed):
                self.ask({"do": "quit"}, timeout_s=2.0)
        self.kill()
        self._drain.join(timeout=1.0)
        self._socket.close()
        for path in self.records.iterdir():
            path.unlink(missing_ok=True)
        self.records.rmdir()

    def _line(self, wait_s: float) -> bytes | None:
        """One complete line from the child, if one arrives within `wait_s`."""
        if b"\n" not in self._buffer:
            ready, _, _ = select.select([self._socket], [], [], wait_s)
            if not ready:
                return None
            with contextlib.suppress(OSError):
                received = self._socket.recv(1 << 16)
                self._buffer += received
                if not received:
                    time.sleep(wait_s)
        if len(self._buffer) > REPLY_BYTES:
            self.kill()
            raise Ended("its process sent an answer without end")
        if b"\n" not in self._buffer:
            return None
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _understood(self, line: bytes) -> Reply:
        try:
            reply = json.loads(line)
        except ValueError:
            raise Ended("its process sent an answer that makes no sense") from None
        if not isinstance(reply, dict):
            raise Ended("its process sent an answer that makes no sense")
        if "bad" in reply:
            bad = reply["bad"]
            raise BadInput(what=str(bad["what"]), where=str(bad["where"]), todo=str(bad["todo"]))
        return reply

    def _how_it_ended(self) -> str:
        self._process.wait()
        code = self._process.returncode
        if code == -signal.SIGKILL:
            return "its process was killed (signal 9), most likely because memory ran out"
        if code < 0:
            name = signal.Signals(-code).name if -code in signal.valid_signals() else "unknown"
            return f"its process crashed (signal {-code}, {name})"
        last = self._last_words()
        return f"its process exited with status {code}" + (f": {last}" if last else "")

    def _last_words(self) -> str:
        self._drain.join(timeout=0.5)
        lines = self.output.decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else ""

    def _keep_output(self, stream: IO[bytes]) -> None:
        """Drain what the target prints, so that it never blocks; keep the last of it."""
        with stream:
            while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]  # a BufferedReader
                self.output = (self.output + chunk)[-OUTPUT_KEPT_BYTES:]


def _records_home() -> str | None:
    """Shared memory where there is enough of it, else the temporary folder."""
    try:
        free = os.statvfs(SHARED_MEMORY)
    except OSError:
        return None
    enough = free.f_bavail * free.f_frsize > SHARED_MEMORY_NEEDED_BYTES and os.access(SHARED_MEMORY, os.W_OK)
    return str(SHARED_MEMORY) if enough else None
