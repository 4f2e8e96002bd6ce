"""Bytes on the wire of the network namespace that the target is in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pinchpoint.probes.held import HeldFiles, text

RECEIVED, SENT = 0, 8  # columns of a line of /proc/PID/net/dev, after the name
LOOPBACK = b"lo"


class NetworkProbe:
    """Bytes received and sent since the namespace began, from /proc/PID/net/dev, by everyone in it.

    Columns `received_bytes` and `sent_bytes` of all interfaces but the loopback, `loopback_bytes` of that one (a byte there
    is sent and received once each, and counted once). The kernel keeps no such counts by process.
    """

    name = "network"

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc = root / "proc"
        self._files = HeldFiles()

    def open(self, pid: int) -> None:
        """Open the counters; OSError where the kernel has none."""
        try:
            self._dev = self._files.open(self._proc / str(pid) / "net" / "dev")
        except OSError as error:
            raise OSError(f"network counters cannot be read: {error.strerror}") from error

    def read(self) -> Mapping[str, float]:
        """Current totals in bytes."""
        received = sent = loopback = 0
        for line in text(self._dev).splitlines():
            name, colon, counts = line.partition(b":")
            if not colon:
                continue
            columns = counts.split()
            if name.strip() == LOOPBACK:
                loopback += int(columns[SENT])
            else:
                received, sent = received + int(columns[RECEIVED]), sent + int(columns[SENT])
        return {"received_bytes": float(received), "sent_bytes": float(sent), "loopback_bytes": float(loopback)}

    def close(self) -> None:
        """Close the file."""
        self._files.close()
