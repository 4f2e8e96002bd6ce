"""How long block devices were busy while a process used them: what the kernel counts, as `iostat` shows it.

A device is busy while at least one request is on its way; one that serves many at once can be busy all the time and still
have room, so that a full one counts only where throughput has stopped growing as well.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pinchpoint.domain.run import Held

DISKSTATS = Path("/proc/diskstats")
NAME, READS, WRITES, BUSY_MS = 2, 3, 7, 12
NOT_DISKS = ("ram", "zram", "sr")


class DiskWatch:
    """Devices' busy time between `begin` and `end`, if the process read from or wrote to storage at all."""

    def __init__(self, pid: int) -> None:
        self._io = Path(f"/proc/{pid}/io")
        self._devices: dict[str, tuple[int, int]] = {}
        self._bytes: int | None = None

    def begin(self) -> None:
        """Note what the counters say."""
        self._devices, self._bytes = _devices(), self._moved()

    def end(self) -> tuple[Held, ...]:
        """The device that was busy longest; nothing where the process did not use any, or nobody tells."""
        moved = self._moved()
        if moved is None or self._bytes is None or moved <= self._bytes:
            return ()
        now = _devices()
        used = [
            Held("disk", name, 1.0, (now[name][0] - busy) / 1e3, 0.0, now[name][1] - count)
            for name, (busy, count) in self._devices.items()
            if name in now
        ]
        busiest = max(used, key=lambda each: each.held_s, default=None)
        return (busiest,) if busiest is not None and busiest.held_s > 0 else ()

    def _moved(self) -> int | None:
        """Bytes that the process has read from and written to storage."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = dict(line.split(": ") for line in self._io.read_text("ascii").splitlines())
            return int(lines["read_bytes"]) + int(lines["write_bytes"])
        return None


def _devices() -> dict[str, tuple[int, int]]:
    """Milliseconds busy and requests served by device; a partition's are its disk's as well, so ties are broken by name."""
    found = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in DISKSTATS.read_text("ascii").splitlines():
            parts = line.split()
            if not parts[NAME].startswith(NOT_DISKS):
                found[parts[NAME]] = (int(parts[BUSY_MS]), int(parts[READS]) + int(parts[WRITES]))
    return dict(sorted(found.items()))
