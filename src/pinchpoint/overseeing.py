"""The processes of a server on this host -> a time series of what they use, read a few times a second in a thread of its own."""

from __future__ import annotations

import contextlib
import heapq
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pinchpoint.contracts import Probe
from pinchpoint.domain.run import Floats, Telemetry
from pinchpoint.domain.served import Served
from pinchpoint.listeners import family, served_by
from pinchpoint.load.addresses import Address, is_local, resolved

EVERY_S = 0.2  # 0.2 ms of CPU each: more, or more often, and requests that the client sends meanwhile leave late
FAMILY_EVERY_S, OF_TIME = 2.0, 0.001  # all processes of the host are looked at again: at most this share of the time
MOST_THREADS = 1024  # of a process; a reading of each takes 10 us
THREADS_KEPT, THREADS_NOTED = 8, 32  # those that computed most: in the end, and in each reading
READ_BYTES, PAGE_BYTES = 256, os.sysconf("SC_PAGE_SIZE")
NS = 1_000_000_000
CPU, DELAY, THREADS, PROCESSES, RSS, OURS = "cpu_s", "delay_s", "threads", "processes", "rss_bytes", "ours.cpu_s"
UNSEEN, ENDED, OWN = "unseen.cpu_s", "ended.cpu_s", "own_bytes"
MINOR, MAJOR, SYSTEM = "minor_faults", "major_faults", "system_s"
RENAMED = {DELAY: "process.run_delay_s"} | {  # as a run has them
    each: f"process.{each}" for each in (CPU, RSS, OWN, THREADS, PROCESSES, ENDED, MINOR, MAJOR, SYSTEM)
}
COLLECTED = frozenset({"java", "node", "dotnet"})  # programs whose memory grows until a collector runs, far apart
SLACK_NS = 5_000_000  # between a thread's counter and our clock
TICK_S = 1 / os.sysconf("SC_CLK_TCK")  # of its own count of CPU time: so far ahead of its threads' no thread was missed
OF_THREAD = "thread "

Task = tuple[int, int]  # process and thread


@dataclass(frozen=True, slots=True)
class _Told:
    """CPU seconds of a process by its own count, of its children that ended, and its page faults and seconds in the kernel."""

    cpu_s: float = 0.0
    children_s: float = 0.0
    minor_faults: float = 0.0
    major_faults: float = 0.0
    system_s: float = 0.0


@dataclass(slots=True)
class _Clock:
    """A thread's clocks: as first seen, and now."""

    first_ns: int
    run_ns: int
    delay_ns: int
    told_ns: int  # of its waiting, by the kernel
    read_ns: int

    def read(self, run_ns: int, told_ns: int, now_ns: int) -> None:
        """One more reading. The kernel sometimes counts a sleep as waiting: more than passed is no waiting, nor is less than none
        (of a thread that took the number of another).
        """
        waited = told_ns - self.told_ns
        if 0 <= waited <= now_ns - self.read_ns + SLACK_NS:
            self.delay_ns += waited
        self.run_ns, self.told_ns, self.read_ns = run_ns, told_ns, now_ns

    @property
    def used_ns(self) -> int:
        """CPU time since it was first seen."""
        return self.run_ns - self.first_ns


class Overseer:
    """Reads clocks and memory of a server's processes, of those that they start meanwhile too, and the given probes of the first.

    Columns: `cpu_s` on a CPU and `delay_s` runnable without one, to the nanosecond, summed over all threads and never falling;
    `threads`, `processes`, `rss_bytes` (shared pages count in each), `own_bytes` (neither shared nor a file's; without programs
    that leave it to a collector); `thread PID/TID NAME` the CPU seconds, since each was first seen, of the few threads that
    computed most; `ours.cpu_s` what reading all this took. What threads did that lived between two readings is in the process's
    count of CPU time, in steps of 10 ms, and what processes did that were started and ended, in that of who waited for them:
    `unseen.cpu_s` says how much both are, and their waiting is lost; `ended.cpu_s` the latter alone. `minor_faults` and
    `major_faults` of all processes since each was first seen, and `system_s`, their CPU time in the kernel, in steps of 10 ms.
    """

    def __init__(
        self,
        roots: Sequence[int],
        probes: Sequence[Callable[[], Probe]] = (),
        proc: Path = Path("/proc"),
        every_s: float = EVERY_S,
    ) -> None:
        self._roots, self._proc, self._every_s = tuple(roots), proc, every_s
        self._pids = list(self._roots)
        self._look_again = 0.0
        self._clocks: dict[Task, _Clock] = {}
        self._ended: dict[int, int] = {}  # CPU time of a process's threads that ended
        self._ended_delay_ns = 0
        self._ahead: dict[
            int, float
        ] = {}  # how far a process's own count was ahead of its threads' when it was first seen
        self._spent: dict[int, float] = {}
        self._reaped: dict[int, float] = {}  # CPU time of ended children when a process was first seen
        self._of_ended = 0.0
        self._counts: dict[int, tuple[_Told, _Told]] = {}  # of each process, as first seen and last
        self._names: dict[Task, str] = {}
        self._rows: list[tuple[int, dict[str, float], dict[Task, int]]] = []
        self._probes = [probe for make in probes if (probe := _opened(make, self._roots[0])) is not None]
        self._over, self._reading = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._oversee, name="overseer", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> Telemetry:
        """End reading; what was read, which is nothing where the processes were gone from the beginning."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        while self._probes:
            self._probes.pop().close()
        return self._table()

    def read_now(self) -> None:
        """One more reading at once, where what follows is of another kind."""
        with self._reading, contextlib.suppress(OSError, LookupError, ValueError):  # a server that is gone leaves a gap
            self._look()

    def so_far(self) -> Telemetry:
        """What was read until now."""
        with self._reading:
            return self._table()

    def processes(self) -> tuple[int, ...]:
        """The processes that are watched, the topmost first."""
        return tuple(self._pids)

    def _oversee(self) -> None:
        over = False
        while not over:
            over = self._over.wait(self._every_s if self._rows else 0.0)
            self.read_now()

    def _look(self) -> None:
        began = time.monotonic()
        if began > self._look_again:
            self._pids = [each.pid for each in family(self._roots, self._proc)]
            took = time.monotonic() - began
            self._look_again = began + max(FAMILY_EVERY_S, took / OF_TIME)
        rss, own, present, alive = 0, 0, set(), 0
        for pid in self._pids:
            with contextlib.suppress(OSError, IndexError, ValueError):
                tids = os.listdir(self._proc / str(pid) / "task")[:MOST_THREADS]
                resident, shared = map(int, self._read(pid, "statm").split()[1:3])
                rss += resident * PAGE_BYTES
                present |= {task for tid in tids if self._clock(task := (pid, int(tid)))}
                own += (resident - shared) * PAGE_BYTES if self._names.get((pid, pid)) not in COLLECTED else 0
                alive += 1
        if not alive:
            raise ProcessLookupError("the server is gone")
        for task in self._clocks.keys() - present:
            ended = self._clocks.pop(task)
            self._ended[task[0]] = self._ended.get(task[0], 0) + ended.run_ns
            self._ended_delay_ns += ended.delay_ns
        seen = {pid: ended / NS for pid, ended in self._ended.items()}
        for (pid, _), clock in self._clocks.items():
            seen[pid] = seen.get(pid, 0.0) + clock.run_ns / NS
        reaped = 0.0
        for pid, threads_s in seen.items():
            told = self._told(pid)
            if told is None:  # it is gone, and what it spent is among what its parent's children did
                reaped -= self._spent.get(pid, 0.0) + self._ahead.get(pid, 0.0)
                continue
            beyond = told.cpu_s - self._ahead.setdefault(pid, told.cpu_s - threads_s) - TICK_S
            self._spent[pid] = max(self._spent.get(pid, 0.0), threads_s, beyond)
            reaped += told.children_s - self._reaped.setdefault(pid, 0.0 if self._rows else told.children_s)
            self._counts[pid] = self._counts.get(pid, (_Told() if self._rows else told,))[0], told
        self._of_ended = max(self._of_ended, reaped)
        spent = sum(self._spent.values()) + self._of_ended
        values = {
            CPU: spent, UNSEEN: spent - sum(seen.values()), ENDED: self._of_ended,
            DELAY: (self._ended_delay_ns + sum(each.delay_ns for each in self._clocks.values())) / NS,
            THREADS: float(len(present)), PROCESSES: float(alive), RSS: float(rss), OWN: float(own), OURS: time.thread_time(),
            **{name: sum(getattr(last, name) - getattr(first, name) for first, last in self._counts.values())
               for name in (MINOR, MAJOR, SYSTEM)},
        }  # fmt: skip
        for probe in self._probes:
            values |= {f"{probe.name}.{name}": value for name, value in probe.read().items()}
        most = heapq.nlargest(THREADS_NOTED, self._clocks, key=lambda task: self._clocks[task].used_ns)
        self._rows.append((time.monotonic_ns(), values, {task: self._clocks[task].used_ns for task in most}))

    def _told(self, pid: int) -> _Told | None:
        """What a process counts of itself; None of one that is gone."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            stat = [float(each) for each in self._read(pid, "stat").rpartition(b")")[2].split()[1:15]]
            (minor, _, major), (user, system, *children) = stat[6:9], (each * TICK_S for each in stat[10:14])
            return _Told(user + system, sum(children), minor, major, system)
        return None

    def _clock(self, task: Task) -> bool:
        """Read a thread's clocks; whether it is still there."""
        pid, tid = task
        try:
            run, delay = map(int, self._read(pid, f"task/{tid}/schedstat").split()[:2])
            if task not in self._names:
                self._names[task] = os.fsdecode(self._read(pid, f"task/{tid}/comm")).strip()
        except (OSError, ValueError):
            return False
        now = time.monotonic_ns()
        self._clocks.setdefault(task, _Clock(run, run, delay, delay, now)).read(run, delay, now)
        return True

    def _read(self, pid: int, name: str) -> bytes:
        descriptor = os.open(self._proc / str(pid) / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, READ_BYTES)
        finally:
            os.close(descriptor)

    def _table(self) -> Telemetry:
        """Columns that were there throughout, and those of the busiest threads."""
        if not self._rows:
            return Telemetry.nothing()
        steady = set.intersection(*(set(values) for _, values, _ in self._rows))
        columns = {name: np.array([values[name] for _, values, _ in self._rows]) for name in sorted(steady)}
        used: dict[Task, int] = {}
        for _, _, noted in self._rows:
            used |= noted
        for task in heapq.nlargest(THREADS_KEPT, used, key=used.__getitem__):
            columns[f"{OF_THREAD}{task[0]}/{task[1]} {self._names[task]}"] = self._of_thread(task)
        return Telemetry(np.array([t for t, _, _ in self._rows], dtype=np.int64), tuple(columns.items()))

    def _of_thread(self, task: Task) -> Floats:
        """A thread's CPU seconds in each reading; where it was not noted, as in the reading before."""
        found, last = [], 0
        for _, _, noted in self._rows:
            last = max(noted.get(task, last), last)
            found.append(last / NS)
        return np.array(found)


def renamed(found: Telemetry, windows: Sequence[tuple[int, int]]) -> Telemetry:
    """The time series under the names that signals know, from the beginning of the first window to the end of the last."""
    if not len(found.t_ns) or not windows:
        return Telemetry.nothing()
    kept = (found.t_ns >= windows[0][0]) & (found.t_ns <= windows[-1][1])
    return Telemetry(found.t_ns[kept], tuple((RENAMED.get(name, name), values[kept]) for name, values in found.columns))


@dataclass(slots=True)
class Watched:
    """Who serves an address, and what its processes used; the latter once the watching is over."""

    served: Served
    telemetry: Telemetry = field(default_factory=Telemetry.nothing)


class Watching:
    """Who serves an address on this host, and an overseer of its processes where they can be seen.

    `quota_of` tells the CPUs that a process's quota grants; `affinity` is how many CPUs the processes may use without one. Raises
    what `resolved` raises.
    """

    def __init__(
        self, address: Address, probes: Sequence[Callable[[], Probe]], quota_of: Callable[[int], float | None]
    ) -> None:
        hosts = resolved(address)
        self.overseer: Overseer | None = None
        self.affinity = 0.0
        if not is_local(hosts):
            self.served = Served(reason="it is another machine")
            return
        self.served = served_by(hosts, address.port, address.unix)
        if not self.served.processes or self.served.tunnel:
            return
        pids = [each.pid for each in self.served.processes]
        roots = [each.pid for each in self.served.processes if each.parent not in pids]
        self.affinity = float(len(allowed(self.served)))
        self.served = replace(self.served, cpus=_cpus(self.affinity, quota_of(pids[0])))
        self.overseer = Overseer(roots, probes)

    def so_far(self) -> Telemetry:
        """What was read until now."""
        return Telemetry.nothing() if self.overseer is None else self.overseer.so_far()

    def stop(self) -> Telemetry:
        """End watching; all that was read."""
        return Telemetry.nothing() if self.overseer is None else self.overseer.stop()


@contextlib.contextmanager
def overseen(
    address: Address, probes: Sequence[Callable[[], Probe]], quota_of: Callable[[int], float | None]
) -> Iterator[Watched]:
    """Watch whoever serves an address on this host while the block runs, as far as that can be seen; as `Watching`."""
    watching = Watching(address, probes, quota_of)
    watched = Watched(watching.served)
    if watching.overseer is not None:
        watching.overseer.start()
    try:
        yield watched
    finally:
        watched.telemetry = watching.stop()


def allowed(served: Served) -> set[int]:
    """The CPUs on which a server's processes may run."""
    allowed: set[int] = set()
    for each in served.processes:
        with contextlib.suppress(OSError):
            allowed |= os.sched_getaffinity(each.pid)
    return allowed


def _cpus(affinity: float, quota: float | None) -> float | None:
    """CPUs that a server's processes may use together, by affinity and quota."""
    return min(affinity, quota or float("inf")) if affinity else quota


def _opened(make: Callable[[], Probe], pid: int) -> Probe | None:
    probe = make()
    try:
        probe.open(pid)
    except OSError:
        return None
    return probe
