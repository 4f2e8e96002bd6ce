"""CPU time of the processes that the target starts: of those that ended and were waited for, and of those that run."""

from __future__ import annotations

import contextlib
import os
import resource
from typing import Iterator

MOST = 64  # processes that run
# Fields of /proc/PID/stat behind the name: its own two clocks, and those of children that ended.
USER, CHILDREN_SYSTEM = 11, 14
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_usage, _pid = resource.getrusage, os.getpid


def cpu_s() -> float:
    """Seconds so far. Those of processes that run come in ticks of 10 ms; one that nobody waits for is lost as it ends."""
    ended = _usage(resource.RUSAGE_CHILDREN)
    seconds, waiting = ended.ru_utime + ended.ru_stime, list(_children(_pid()))
    for _ in range(MOST):
        if not waiting:
            break
        each = waiting.pop()
        seconds += _ticks(each) * _TICK_S
        waiting += _children(each)
    return seconds


def _ticks(process: str) -> int:
    """Of a process that runs and of its children that ended; 0 where it is gone."""
    with contextlib.suppress(OSError, ValueError), open("/proc/%s/stat" % process, "rb") as file:
        return sum(map(int, file.read().rpartition(b")")[2].split()[USER : CHILDREN_SYSTEM + 1]))
    return 0


def _children(process: object) -> Iterator[str]:
    """Numbers of the processes that a process started, by any of its threads."""
    folder = "/proc/%s/task" % process
    with contextlib.suppress(OSError):
        for thread in os.listdir(folder):
            with contextlib.suppress(OSError), open("%s/%s/children" % (folder, thread)) as file:
                yield from file.read().split()
