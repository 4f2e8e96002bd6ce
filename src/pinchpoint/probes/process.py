"""What the kernel counts for the target's process and its threads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pinchpoint.probes.held import HeldFiles, numbers, text
from pinchpoint.units import NS_PER_S

THREADS_HELD = 64  # threads whose files stay open; those of more threads are opened for each read (about 10 us each)
IO_COLUMNS = {
    b"read_bytes": "read_bytes",
    b"write_bytes": "write_bytes",
    b"rchar": "rchar_bytes",
    b"wchar": "wchar_bytes",
}
SWITCHES = (b"\nvoluntary_ctxt_switches:", b"\nnonvoluntary_ctxt_switches:")
# Fields of /proc/PID/stat behind the closing bracket of the name, counted from 0 (proc(5) counts from 3).
STATE, MINOR, MAJOR, USER, SYSTEM, THREADS, RSS = 0, 7, 9, 11, 12, 17, 21


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts of one thread since it started."""

    run_ns: int = 0
    delay_ns: int = 0
    voluntary: int = 0
    involuntary: int = 0

    def plus(self, other: _Counts) -> _Counts:
        """The sum, number by number."""
        return _Counts(
            self.run_ns + other.run_ns,
            self.delay_ns + other.delay_ns,
            self.voluntary + other.voluntary,
            self.involuntary + other.involuntary,
        )


class ProcessProbe:
    """CPU time, memory, faults, input and output of the process, and the scheduler's counts summed over its threads.

    Columns from /proc/PID: `cpu_s` and `system_s` in ticks of 10 ms, `rss_bytes`, `threads`, `minor_faults`,
    `major_faults`; where the kernel permits, `read_bytes` and `write_bytes` (storage), `rchar_bytes` and `wchar_bytes`
    (system calls). From its threads: `runnable_threads` (running or waiting for a CPU at that moment),
    `voluntary_switches`, `involuntary_switches`; with schedstats, `run_s` and `run_delay_s` to the nanosecond.

    Sums over threads never fall: a thread that ended keeps its last counts. What it did after the last read is lost,
    as are threads that lived between two reads. `run_delay_s` includes time throttled by a quota. Child processes are
    not included.
    """

    name = "process"

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc = root / "proc"
        self._files = HeldFiles()

    def open(self, pid: int) -> None:
        """Open the files of process `pid`; OSError if it is not there."""
        self._home = self._proc / str(pid)
        try:
            self._stat = self._files.open(self._home / "stat")
            self._tasks = self._files.open(self._home / "task")
            self._switches = SWITCHES[0].strip() in (self._home / "status").read_bytes()
        except OSError as error:
            self.close()
            raise OSError(f"process {pid} cannot be read: {error.strerror}") from error
        self._io = self._files.open_if_there(self._home / "io")
        self._schedstat = (self._home / "schedstat").exists()
        self._threads: dict[str, tuple[int, int | None]] = {}
        self._last: dict[str, _Counts] = {}
        self._ended = _Counts()

    def read(self) -> Mapping[str, float]:
        """Current counts; ProcessLookupError once the process is gone, a zombie included."""
        values = self._of_process(text(self._stat).rpartition(b")")[2].split())
        if self._io is not None:
            counted = numbers(text(self._io))
            values |= {name: float(counted[key]) for key, name in IO_COLUMNS.items()}
        return values | self._of_threads()

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def _of_process(self, stat: list[bytes]) -> dict[str, float]:
        if len(stat) <= RSS or (stat[STATE] in b"ZXx" and int(stat[THREADS]) <= 1):
            raise ProcessLookupError(f"process {self._home.name} is gone")
        tick = 1 / os.sysconf("SC_CLK_TCK")
        return {
            "cpu_s": (int(stat[USER]) + int(stat[SYSTEM])) * tick,
            "system_s": int(stat[SYSTEM]) * tick,
            "rss_bytes": float(int(stat[RSS]) * os.sysconf("SC_PAGE_SIZE")),
            "threads": float(stat[THREADS]),
            "minor_faults": float(stat[MINOR]),
            "major_faults": float(stat[MAJOR]),
        }

    def _of_threads(self) -> dict[str, float]:
        """The sums over threads, those that ended included."""
        present, runnable = self._listed(), 0
        for tid in self._last.keys() - present:
            self._retire(tid)
        for tid in present:
            try:
                state, counts = self._thread(tid)
            except (ProcessLookupError, FileNotFoundError):
                self._retire(tid)
            else:
                runnable += state == b"R"
                self._last[tid] = counts
        total = self._ended
        for counts in self._last.values():
            total = total.plus(counts)
        values = {"runnable_threads": float(runnable)}
        if self._switches:
            values["voluntary_switches"] = float(total.voluntary)
            values["involuntary_switches"] = float(total.involuntary)
        if self._schedstat:
            values |= {"run_s": total.run_ns / NS_PER_S, "run_delay_s": total.delay_ns / NS_PER_S}
        return values

    def _listed(self) -> set[str]:
        """The threads that there are now."""
        try:
            present = set(os.listdir(self._tasks))
        except FileNotFoundError:
            present = set()
        if not present:
            raise ProcessLookupError(f"process {self._home.name} is gone")
        return present

    def _thread(self, tid: str) -> tuple[bytes, _Counts]:
        """State and counts of one thread."""
        files = self._threads.get(tid)
        if files is None:
            files = self._threads[tid] = self._opened(self._home / "task" / tid)
        status = text(files[0])
        run = text(files[1]).split() if files[1] is not None else (b"0", b"0")
        if len(self._threads) > THREADS_HELD:
            self._drop(tid)
        at = status.find(b"\nState:")
        voluntary, involuntary = (_number_behind(status, label) for label in SWITCHES)
        return status[at + 7 : at + 12].strip()[:1], _Counts(int(run[0]), int(run[1]), voluntary, involuntary)

    def _opened(self, home: Path) -> tuple[int, int | None]:
        status = self._files.open(home / "status")
        try:
            return status, self._files.open(home / "schedstat") if self._schedstat else None
        except OSError:
            self._files.drop(status)
            raise

    def _retire(self, tid: str) -> None:
        """Keep the last counts of a thread that ended."""
        self._ended = self._ended.plus(self._last.pop(tid, _Counts()))
        self._drop(tid)

    def _drop(self, tid: str) -> None:
        for descriptor in self._threads.pop(tid, ()):
            if descriptor is not None:
                self._files.drop(descriptor)


def _number_behind(status: bytes, label: bytes) -> int:
    """The number on the line that begins with `label` (which carries the line break before it); 0 if there is none."""
    at = status.find(label)
    end = status.find(b"\n", at + 1)
    return int(status[at + len(label) : end if end > 0 else None]) if at >= 0 else 0
