"""What the host does on the target's CPUs, and whether it swaps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pinchpoint.probes.held import HeldFiles, numbers, text

USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL = range(1, 9)  # columns of a `cpuN` line of /proc/stat
SWAP = {b"pswpin": "swap_in_bytes", b"pswpout": "swap_out_bytes"}


class HostProbe:
    """Seconds that the CPUs of the target's affinity were busy, stolen and idle, by everyone; swapping; load.

    Columns: `busy_s`, `steal_s`, `idle_s` (sums over these `cpus`, in ticks of 10 ms; idle includes waiting for I/O,
    which the kernel cannot tell apart reliably), `load_1min`; where the kernel swaps, `swap_in_bytes` and
    `swap_out_bytes` of the whole host; where it has huge pages, `huge_faults`, how often one was given at a fault.
    The affinity is the main thread's when the probe is opened. Inside a container all this is still the host's, unless
    lxcfs hides it.
    """

    name = "host"

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc = root / "proc"
        self._files = HeldFiles()

    def open(self, pid: int) -> None:
        """Open the host's files; OSError where /proc/stat cannot be read or knows none of the target's CPUs."""
        try:
            self._stat = self._files.open(self._proc / "stat")
        except OSError as error:
            raise OSError(f"/proc/stat cannot be read: {error.strerror}") from error
        self._load = self._files.open_if_there(self._proc / "loadavg")
        self._vmstat = self._files.open_if_there(self._proc / "vmstat")
        self._labels = frozenset(b"cpu%d" % cpu for cpu in affinity(self._proc / str(pid) / "status"))
        if not any(line.split(None, 1)[0] in self._labels for line in text(self._stat).splitlines()):
            self.close()
            raise OSError("/proc/stat does not list the target's CPUs")

    def read(self) -> Mapping[str, float]:
        """Current counts."""
        tick = 1 / os.sysconf("SC_CLK_TCK")
        busy = steal = idle = cpus = 0
        for line in text(self._stat, until=b"intr").splitlines():
            counts = line.split()
            if not counts[0].startswith(b"cpu"):
                break
            if counts[0] in self._labels:
                busy += sum(int(counts[column]) for column in (USER, NICE, SYSTEM, IRQ, SOFTIRQ))
                steal += int(counts[STEAL])
                idle += int(counts[IDLE]) + int(counts[IOWAIT])
                cpus += 1
        values = {"busy_s": busy * tick, "steal_s": steal * tick, "idle_s": idle * tick, "cpus": float(cpus)}
        if self._load is not None:
            values["load_1min"] = float(text(self._load).split()[0])
        if self._vmstat is not None:
            vmstat = text(self._vmstat, until=b"thp_fault_alloc")
            values |= _swapped(vmstat) | _huge(vmstat)
        return values

    def close(self) -> None:
        """Close the files."""
        self._files.close()


def affinity(status: Path) -> frozenset[int]:
    """The CPUs that the process of this status file may run on; OSError if it does not say."""
    for line in status.read_text("utf-8", "replace").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            return _cpus(line.partition(":")[2])
    raise OSError("the target's CPU affinity is not visible")


def _cpus(listed: str) -> frozenset[int]:
    """The numbers in a list such as `0-3,8`."""
    ends = [part.strip().partition("-") for part in listed.split(",") if part.strip()]
    return frozenset(cpu for first, _, last in ends for cpu in range(int(first), int(last or first) + 1))


def _swapped(vmstat: bytes) -> dict[str, float]:
    """Bytes swapped in and out since boot; nothing where the kernel does not swap."""
    at = vmstat.find(b"pswpin ")
    pages = numbers(vmstat[at : at + 80]) if at >= 0 else {}
    return {name: float(pages[key] * os.sysconf("SC_PAGE_SIZE")) for key, name in SWAP.items() if key in pages}


def _huge(vmstat: bytes) -> dict[str, float]:
    """Transparent huge pages given at page faults since boot; nothing where the kernel has none."""
    at = vmstat.find(b"thp_fault_alloc ")
    counted = numbers(vmstat[at : at + 60]) if at >= 0 else {}
    return {"huge_faults": float(counted[b"thp_fault_alloc"])} if b"thp_fault_alloc" in counted else {}
