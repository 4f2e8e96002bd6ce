"""A bad day for tests: a folder to work in, the program run in it as a user would, and what holds on any day."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from pinchpoint import store

PROGRAM = [sys.executable, "-P", "-m", "pinchpoint"]  # without the current folder on its path, as the script runs
PYENV = Path("/root/.pyenv/versions")
LONGEST_S = 180
WORK = "def handle(): return sum(range(10_000))\n"
slow = pytest.mark.slow


@dataclass(frozen=True)
class Done:
    """What came of a run of the program."""

    code: int
    out: str
    err: str

    def said(self, code, *words):
        """It ended with `code`, and with one line that has these words."""
        assert self.code == code, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self
        assert lines[0].startswith("pinchpoint: "), self
        assert all(word in lines[0] for word in words), self
        return lines[0]


class Day:
    """A folder to work in, and the program run in it."""

    def __init__(self, folder):
        self.folder = folder / "day"
        self.temporary = folder / "tmp"
        self.mark = uuid.uuid4().hex
        for each in (self.folder, self.temporary):
            each.mkdir()

    def write(self, source, name="app.py"):
        path = self.folder / name
        path.write_text(textwrap.dedent(source))
        return path

    def start(self, *arguments, program=PROGRAM, env=None, **more):
        variables = {**os.environ, "TMPDIR": str(self.temporary), "A_DAY": self.mark, **(env or {})}
        streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE) | {"stdin": subprocess.DEVNULL}
        options = streams | {"cwd": self.folder, "env": variables, "text": True, "errors": "replace"} | more
        options.setdefault("preexec_fn", heeds_interrupts)
        return subprocess.Popen([*program, *map(os.fspath, arguments)], **options)

    def end(self, process):
        try:
            out, err = process.communicate(timeout=LONGEST_S)
        finally:
            process.kill()
        self.check_clean(process.pid)
        done = Done(process.returncode, out or "", err or "")
        assert "Traceback" not in done.out + done.err, done
        return done

    def meanwhile(self, act, *arguments, wait_for, then_s=0.0, **more):
        """Start the program, wait until progress says a word and for a while, and do something; then what came of it, and its own
        lines on stderr.
        """
        with (self.folder.parent / "progress").open("w+") as progress:
            process = self.start(*arguments, stderr=progress, **more)
            deadline = time.monotonic() + LONGEST_S
            while process.poll() is None and time.monotonic() < deadline:
                progress.seek(0)
                if wait_for in progress.read():
                    break
                time.sleep(0.02)
            time.sleep(then_s)
            act(process)
            done = self.end(process)
            progress.seek(0)
            told = progress.read()
        assert "Traceback" not in told, told
        lines = [line for line in told.splitlines() if line.startswith("pinchpoint: ")]
        return Done(done.code, done.out, "\n".join(lines))

    def run(self, *arguments, **more):
        return self.end(self.start(*arguments, **more))

    def diagnose(self, target="app.py:handle", *arguments, verb="diagnose", **more):
        return self.run(verb, "--quiet", "--budget", "300ms", *arguments, "--", target, **more)

    def record(self, target="app.py:handle", *arguments, **more):
        return self.diagnose(target, *arguments, verb="record", **more)

    def runs(self, out="pinchpoint-runs"):
        """All runs, as they were saved."""
        return [store.load(path) for path in sorted((self.folder / out).glob("*"))]

    def check_clean(self, pid):
        deadline = time.monotonic() + 5
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.1)  # a process that was killed takes a moment to go
        assert not left
        assert not list(Path("/dev/shm").glob(f"pinchpoint-{pid}-*"))
        assert not [each for each in os.listdir(self.temporary) if each.startswith("pinchpoint-")]
        for folder in self.folder.glob("pinchpoint-runs*"):
            assert list(folder.iterdir()), "an empty folder of runs"
            for run in folder.iterdir():
                assert store.is_run(run), run
                kept = {each.name for each in run.iterdir() if each.suffix not in (".json", ".parquet")}
                assert kept <= {"report.html"}

    def left(self):
        """Processes of this day that still run."""
        found = []
        for each in Path("/proc").iterdir():
            if each.name.isdigit():
                with contextlib.suppress(OSError):
                    if self.mark.encode() in (each / "environ").read_bytes():
                        found.append((each / "cmdline").read_bytes())
        return found


def counted(what, at=1000):
    """A callable that does something bad at its request number `at`."""
    return f"import os, sys, time, threading\nn = [0]\ndef handle():\n    n[0] += 1\n    if n[0] == {at}:\n        {what}\n"


def heeds_interrupts():
    """Undo what a shell does to what it starts in the background, where SIGINT is ignored, and nohup, where SIGHUP is."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def permitted(*command):
    """Whether this system lets us do that."""
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def python(version):
    """A Python of this version, if there is one here."""
    found = sorted(PYENV.glob(f"{version}.*/bin/python")) or [shutil.which(f"python{version}")]
    if found[0] is None:
        pytest.skip(f"no Python {version} here")
    return str(found[0])
