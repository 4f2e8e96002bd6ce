"""Processes of ours beside the target: others that take the CPU, and a service that it calls."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HOG = """
import os
parent, x = os.getppid(), 1
while os.getppid() == parent:  # so that it never outlives who started it
    for _ in range(100_000):
        x = x * 3 % 1000003
"""


def cores() -> list[int]:
    """The CPUs that this process may use, in order."""
    return sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def hogs(count: int, cpu: int, prefix: tuple[str, ...] = ()) -> Iterator[None]:
    """Processes that compute on one CPU without end.

    Each has a session of its own, as the target's process has, so that the scheduler's autogroups treat all alike.
    """
    with contextlib.ExitStack() as undo:
        for _ in range(count):
            command = [*prefix, "taskset", "-c", str(cpu), sys.executable, "-c", HOG]
            process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
            undo.callback(_end, process)
        yield


@contextlib.contextmanager
def downstream(delay_s: float, drift_s_per_s: float = 0.0) -> Iterator[int]:
    """An HTTP service in another process on loopback that answers after `delay_s`; gives its port."""
    script = Path(__file__).with_name("profile_service.py")
    command = [sys.executable, str(script), str(delay_s), str(drift_s_per_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
