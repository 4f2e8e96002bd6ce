"""What the Python threads of a server are executing, seen by py-spy from outside without stopping them (`--nonblocking`).

A look takes some seconds; what it costs the server is measured, since requests are sent meanwhile as without it. Arguments of
processes, which py-spy would tell, are left out, and of a file's path only what says whose it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pinchpoint.domain.service import ACTIVE, ALL, HOLDING, IDLE, Stack, StackLook

RATE_PER_S, LEAST_PER_S = 100, 10
READ_S, FRAME_S = 3e-4, 2e-5  # CPU time of py-spy for a process, and for each frame of its threads, idle ones too
MOST_SHARE = 0.6  # of a CPU: with many threads it looks less often, and ends in time
MOST_DUMPED = 8  # processes whose frames are counted; others are taken to have as many
KINDS = {IDLE: ("--idle",), ALL: ("--idle",), ACTIVE: (), HOLDING: ("--gil",)}
ALWAYS = ("--nonblocking", "--subprocesses", "--full-filenames", "--format", "raw")
MOST_STACKS, MOST_FRAMES = 120, 28  # of a look; the innermost ones
MOST_BYTES = 32 << 20
PATIENCE_S = 15.0  # to find out about an interpreter, beyond the time of the look
NAME_KEPT = 80
_FRAME = re.compile(r"(?P<function>.*?) \((?P<file>.*?)(?::(?P<line>\d+))?\)$")
_STANDARD = re.compile(r"/lib/python3\.\d+t?/(?P<rest>.*)$|^<frozen (?P<frozen>[^>]*)>")
_BEGINS, _ARGUMENTS_END = "process ", '";'
_PROCESS = re.compile(r'process (\d+):"')
_RUNS = ("run_forever", "run_until_complete", "Runner.run", "|run")  # functions of asyncio that end with its loop
OWN_PARTS = 3  # of a path of the user's own


def program() -> str | None:
    """Where py-spy is: beside the interpreter that runs us, else on the path."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def is_python(process: int) -> bool:
    """Whether a process is a Python interpreter, or has one inside."""
    with contextlib.suppress(OSError):
        if os.path.basename(os.readlink(f"/proc/{process}/exe")).startswith("python"):
            return True
    with contextlib.suppress(OSError):
        return "libpython3" in Path(f"/proc/{process}/maps").read_text(errors="replace")
    return False


@dataclass(slots=True)
class _Look:
    """A look under way at one process and those that it started."""

    process: subprocess.Popen[str]
    file: Path


@dataclass(slots=True)
class StackReader:
    """Looks at Python processes by the topmost of each tree (`roots`), as often as a share of a CPU pays for; `begin` does not
    wait for what is seen, `end` does.
    """

    roots: Sequence[int]
    processes: Sequence[int]
    most_share: float = MOST_SHARE
    _running: list[_Look] = field(default_factory=list)
    _folder: tempfile.TemporaryDirectory[str] | None = None
    _rate_per_s: int = RATE_PER_S

    def begin(self, kind: str, seconds: int) -> None:
        """Start to look for so many seconds; does nothing without py-spy or a Python process."""
        tool = program()
        if tool is None or not self.roots:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="pinchpoint-stacks-")
        self._rate_per_s = self._affordable(kind)
        for root in self.roots:
            file = Path(self._folder.name) / str(root)
            asked = {"rate": self._rate_per_s, "duration": seconds, "output": file, "pid": root}
            options = [f"--{name}={value}" for name, value in asked.items()]
            command = [tool, "record", *ALWAYS, *KINDS[kind], *options]
            with contextlib.suppress(OSError):
                started = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                    start_new_session=True,
                )  # fmt: skip
                self._running.append(_Look(started, file))

    def end(self, kind: str, load: int, seconds: int) -> tuple[tuple[Stack, ...], StackLook]:
        """What was seen of a kind at a load; the look says why where nothing was."""
        counts: Counter[tuple[str, ...]] = Counter()
        moments, reason = 0, self._unable()
        for look in self._running:
            try:
                said, _ = look.process.communicate(timeout=seconds + PATIENCE_S)
            except subprocess.TimeoutExpired:
                look.process.kill()
                said, _ = look.process.communicate()
                reason = "py-spy did not end in time"
            if look.process.returncode == 0 and look.file.exists() and look.file.stat().st_size <= MOST_BYTES:
                moments = self._rate_per_s * seconds
                text = look.file.read_text(errors="replace")
                counts.update(parsed(text, of_those_that_stay=kind == HOLDING))
            else:
                reason = reason or f"py-spy: {_last_words(said)}"
        self._running = []
        self.stop()
        seen = tuple(Stack(kind, load, count, frames) for frames, count in counts.most_common(MOST_STACKS))
        return seen, StackLook(kind, load, moments, len(self.processes), "" if moments else reason)

    def stop(self) -> None:
        """Give up what is under way; nothing where it has ended."""
        for look in self._running:
            look.process.kill()
            look.process.communicate()
        self._running = []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _affordable(self, kind: str) -> int:
        """How often a second it may look. Of those that hold the interpreter one stack is read, else those of all threads."""
        counted = [] if kind == HOLDING else self.processes[:MOST_DUMPED]
        frames = [sum(map(len, dumped(process).values())) for process in counted] or [0]
        each_s = (READ_S + FRAME_S * statistics.fmean(frames)) * len(self.processes)
        return int(min(max(self.most_share / each_s, LEAST_PER_S), RATE_PER_S))

    def _unable(self) -> str:
        if not self.roots:
            return "no process of the server is a Python interpreter"
        return "" if program() else "py-spy is not installed"


def python_threads(process: int) -> frozenset[int]:
    """The threads of a process that its interpreter knows; none where that cannot be seen."""
    return frozenset(dumped(process))


def dumped(process: int) -> dict[int, tuple[str, ...]]:
    """What each thread of an interpreter does at this moment, as frames of a `Stack` with the outermost too; nothing where that
    cannot be seen.
    """
    tool = program()
    if tool is None:
        return {}
    command = [tool, "dump", "--nonblocking", "--json", "--pid", str(process)]
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True, stdin=subprocess.DEVNULL)
        threads = [each for each in json.loads(done.stdout[:MOST_BYTES]) if each["os_thread_id"]]
        return {int(each["os_thread_id"]): tuple(map(_told, _both_ends(each["frames"]))) for each in threads}
    return {}


def _both_ends(frames: Sequence[dict[str, object]]) -> Sequence[dict[str, object]]:
    """The frames, outermost first; of a deep stack those that began it and those that it is in."""
    ordered = frames[::-1]
    return ordered if len(ordered) <= 2 * MOST_FRAMES else [*ordered[:MOST_FRAMES], *ordered[-MOST_FRAMES:]]


def _told(frame: dict[str, object]) -> str:
    return _shown(str(frame["filename"]), str(frame["line"] or 0), str(frame["name"]))


def parsed(text: str, *, of_those_that_stay: bool = False) -> Counter[tuple[str, ...]]:
    """py-spy's raw lines (`outer;inner COUNT`) as frames that tell whose they are, with their counts; if asked, without those of
    processes that are gone: one that a request starts holds an interpreter's lock of its own, and not the server's.
    """
    found: Counter[tuple[str, ...]] = Counter()
    for process, line in _lines(text):
        if of_those_that_stay and process and not os.path.exists(f"/proc/{process}"):
            continue
        stack, _, count = line.rpartition(" ")
        frames = [shown for each in _split(stack) if (shown := _frame(each))]
        if frames and count.isdigit():
            found[tuple(frames[-MOST_FRAMES:])] += int(count)
    return found


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """The number of each line's process, where it is told, and the line without that process's arguments, which may hold anything
    and line breaks too: `process 7:"its arguments";process 8:"those of its child";outer;inner 5`.
    """
    process, inside = "", False
    for line in text.splitlines():
        told = list(_PROCESS.finditer(line)) if inside or line.startswith(_BEGINS) else []
        process = told[-1][1] if told else process
        inside = (inside or bool(told)) and line.rfind(_ARGUMENTS_END) < (told[-1].end() if told else 0)
        if not inside:
            yield process, line.rpartition(_ARGUMENTS_END)[2]
            process = ""


def _split(stack: str) -> list[str]:
    """The frames of a line; a semicolon inside of a name begins no frame."""
    parts: list[str] = []
    for part in stack.split(";"):
        if parts and not parts[-1].endswith(")"):
            parts[-1] += ";" + part
        else:
            parts.append(part)
    return parts


def _frame(text: str) -> str:
    """`origin|file|line|function` of a frame; empty for what is none."""
    found = _FRAME.match(text)
    return "" if found is None else _shown(found["file"], found["line"] or "0", found["function"])


def _shown(path: str, line: str, function: str) -> str:
    origin, file = _whose(path)
    return "|".join((origin, *(each.replace("|", "_")[:NAME_KEPT] for each in (file, line, function))))


def in_a_loop(frames: Sequence[str]) -> bool:
    """Whether a thread runs an event loop, as its stack tells: one that is never idle is not seen in its selector."""
    return any(each.startswith("std|asyncio/") and each.endswith(_RUNS) for each in frames)


def at_home(frames: Sequence[str]) -> bool:
    """Whether a thread waits for work, as its stack tells: nothing of the user's own is in it, and it sits in the library's."""
    return bool(frames) and frames[-1].startswith("std|") and not any(each.startswith("own|") for each in frames)


def _whose(path: str) -> tuple[str, str]:
    """Whether a file belongs to the standard library, an installed package or the user, and its path from there on."""
    for mark in ("/site-packages/", "/dist-packages/"):
        if mark in path:
            return "site", path.rpartition(mark)[2]
    found = _STANDARD.search(path)
    if found:
        return "std", found["rest"] or found["frozen"] or ""
    return "own", "/".join(path.strip("/").split("/")[-OWN_PARTS:])


def _last_words(said: str) -> str:
    """What it ended with: its error, not the frames below it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("Error:", "Reason:"))]
    return (errors or lines or ["it said nothing"])[-1][:200]
