"""A real server while it runs: on loopback, in a session of its own, in a folder that holds all that it writes, and then stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.plants.cgroups import cgroup, granting, joining
from bench.real_servers.install import FOLDER, missing
from bench.real_servers.servers import SERVERS, Knobs, Start

STARTS_S, STOPS_S, POLL_S = 90.0, 20.0, 0.1
SHARED = Path("/dev/shm")
SHOWN = 2000  # characters of a log
TRACKER = "multiprocessing.resource_tracker"  # removes what killed processes shared, and then ends
LEFT_OUT = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}  # of our environment: theirs is another


class DidNotStart(Exception):
    """A server is not installed, ended, or never became ready; in words, with the end of its log."""


class Running:
    """A server that answers: `url` takes the JSON in the file `body` as a POST, `target` is what pinchpoint is given.

    `metrics` is where it tells its counters, where that is a port of its own. It can die as in a crash, and begin again where it was.
    """

    def __init__(self, name: str, folder: Path, knobs: Knobs, prefix: Sequence[str]) -> None:
        self._start = SERVERS[name].start((FOLDER / name).resolve(), folder.resolve(), knobs)
        self.url, self.target, self.metrics = (
            self._start.url,
            self._start.target or self._start.url,
            self._start.metrics,
        )
        self.body, self.log = folder / "body.json", folder / "server.log"
        self.body.write_text(json.dumps(self._start.body), "utf-8")
        self._command, self._within = (*prefix, *self._start.command), self._start.within or folder
        self._variables = _environment(name, folder.resolve(), knobs, self._start)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its first process, which leads the session of all of them."""
        assert self._process is not None
        return self._process.pid

    def begin(self) -> None:
        """Start it, and wait until it is ready; DidNotStart where it never is."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, cwd=self._within, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
                env=self._variables,
            )  # fmt: skip
        _wait_until_ready(self._process, self._start, self.log)

    def die(self) -> None:
        """Kill all of its processes, unasked."""
        _end(self._process, (signal.SIGKILL,))

    def stop(self) -> None:
        """End all of its processes, asking first."""
        _end(self._process, (signal.SIGTERM, signal.SIGKILL))
        for each in SHARED.glob(f"{self._start.shares}*") if self._start.shares else ():
            each.unlink(missing_ok=True)


@contextlib.contextmanager
def running(name: str, folder: Path, **knobs: Any) -> Iterator[Running]:  # noqa: ANN401  # those of Knobs
    """A server, ready, in an empty folder; DidNotStart where it is not, and none of its processes are left afterwards."""
    if why := missing(name):
        raise DidNotStart(why)
    (folder / "tmp").mkdir(parents=True)
    asked = Knobs(**knobs)
    with contextlib.ExitStack() as around:
        prefix = joining(around.enter_context(cgroup("cpu", granting(asked.quota)))) if asked.quota else ()
        server = Running(name, folder, asked, prefix)
        around.callback(server.stop)
        server.begin()
        yield server


def _environment(name: str, folder: Path, knobs: Knobs, start: Start) -> dict[str, str]:
    ours = {key: value for key, value in os.environ.items() if key not in LEFT_OUT}
    path = f"{(FOLDER / name / 'bin').resolve()}{os.pathsep}{os.environ.get('PATH', '')}"
    threads = {"OMP_NUM_THREADS": "1"}
    return {**ours, "PATH": path, "TMPDIR": str(folder / "tmp"), **threads, **knobs.variables(), **start.variables}


def _wait_until_ready(server: subprocess.Popen[bytes], start: Start, log: Path) -> None:
    """Until it says so, and a request is answered."""
    end = time.monotonic() + STARTS_S
    while time.monotonic() < end:
        if server.poll() is not None:
            raise DidNotStart(f"it ended with {server.returncode}:\n{_tail(log)}")
        if _answers(start.ready) and _answers(start.url, json.dumps(start.body).encode()):
            return
        time.sleep(POLL_S)
    raise DidNotStart(f"it was not ready within {STARTS_S:.0f} s:\n{_tail(log)}")


def _answers(url: str, body: bytes | None = None) -> bool:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-SHOWN:]


def _end(server: subprocess.Popen[bytes] | None, how: Sequence[signal.Signals]) -> None:
    """Send each signal in turn to what is left, until nothing is."""
    if server is None:
        return
    family = _family(server.pid)
    for each in how:
        for process in _alive(family):
            with contextlib.suppress(psutil.NoSuchProcess):
                if TRACKER not in " ".join(process.cmdline()):
                    process.send_signal(each)
        end = time.monotonic() + STOPS_S
        while time.monotonic() < end and (server.poll() is None or _alive(family)):
            time.sleep(POLL_S)
            family |= _family(server.pid)
    server.wait()


def _family(pid: int) -> set[psutil.Process]:
    """The processes of its session, and those that it started, some of them in sessions of their own (BentoML's workers)."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == pid:
                found.add(process)
    with contextlib.suppress(psutil.NoSuchProcess):
        found.update(psutil.Process(pid).children(recursive=True))
    return found


def _alive(family: set[psutil.Process]) -> list[psutil.Process]:
    """Those that still run."""
    found = []
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
