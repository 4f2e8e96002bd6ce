"""What pinchpoint itself uses while it watches a server: its own process and all that it started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from pinchpoint.listeners import descendants

UTIME, STIME, CUTIME, CSTIME = 11, 12, 13, 14  # behind the name in /proc/PID/stat


class ToolProbe:
    """CPU seconds (`cpu_s`) of our own process, of those that it started and that are there, and of those that ended, in ticks of
    10 ms.
    """

    name = "tool"

    def open(self, pid: int) -> None:
        """Nothing to find: it is we."""
        del pid
        self._tick = 1 / os.sysconf("SC_CLK_TCK")
        self._most = 0.0

    def read(self) -> Mapping[str, float]:
        """Current counts, which never fall."""
        ticks = self._ticks(os.getpid(), UTIME, STIME, CUTIME, CSTIME)
        ticks += sum(self._ticks(pid, UTIME, STIME, CUTIME, CSTIME) for pid in descendants(os.getpid()))
        self._most = max(self._most, ticks * self._tick)
        return {"cpu_s": self._most}

    def _ticks(self, pid: int, *columns: int) -> int:
        with contextlib.suppress(OSError, IndexError, ValueError):
            counts = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return sum(int(counts[column]) for column in columns)
        return 0

    def close(self) -> None:
        """Nothing is held."""
