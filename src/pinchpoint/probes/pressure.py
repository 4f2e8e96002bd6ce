"""Pressure stall information: how long somebody on the host waited for CPU, memory or I/O."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pinchpoint.probes.held import HeldFiles, text

RESOURCES = ("cpu", "memory", "io")
MICROSECONDS = 1e-6


class PressureProbe:
    """Stall time since boot of the whole host, from /proc/pressure (Documentation/accounting/psi.rst).

    Columns `cpu_some_s`, `memory_some_s`, `io_some_s` (at least one task waited) and `..._full_s` (all of them did; the
    host's `cpu_full_s` is always 0). How much CPU pressure is much depends on how many CPUs are busy: judge none of it
    by a fixed threshold.
    """

    name = "pressure"

    def __init__(self, root: Path = Path("/")) -> None:
        self._folder = root / "proc" / "pressure"
        self._files = HeldFiles()

    def open(self, pid: int) -> None:  # noqa: ARG002  # the pressure is the host's, whatever the process
        """Open the files; OSError on a kernel without pressure stall information."""
        found = ((resource, self._files.open_if_there(self._folder / resource)) for resource in RESOURCES)
        self._opened = {resource: descriptor for resource, descriptor in found if descriptor is not None}
        if not self._opened:
            raise OSError("this kernel keeps no pressure stall information (/proc/pressure)")

    def read(self) -> Mapping[str, float]:
        """Current totals in seconds."""
        values = {}
        for resource, descriptor in self._opened.items():
            for line in text(descriptor).decode("ascii", "replace").splitlines():
                kind, _, total = line.partition(" ")[0], *line.rpartition("total=")[1:]
                values[f"{resource}_{kind}_s"] = int(total) * MICROSECONDS
        return values

    def close(self) -> None:
        """Close the files."""
        self._files.close()
