"""What the target's control group is granted, and what it was denied: CPU quota, throttling, memory and its limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pinchpoint.probes.groups import Group, find
from pinchpoint.probes.held import HeldFiles, numbers, text
from pinchpoint.units import NS_PER_S

NO_LIMIT_BYTES = 1 << 60  # version 1 writes "none" as the last page below 2**63
MICROSECONDS = 1e-6

# By version: what is counted about memory, the file that tells it, and its line there (none: the file is the number).
EVENTS: Mapping[int, Mapping[str, tuple[str, bytes]]] = {
    1: {"memory_max_events": ("memory.failcnt", b""), "oom_kills": ("memory.oom_control", b"oom_kill")},
    2: {
        "memory_high_events": ("memory.events", b"high"),
        "memory_max_events": ("memory.events", b"max"),
        "oom_kills": ("memory.events", b"oom_kill"),
    },
}


def quota_cpus(pid: int, root: Path = Path("/")) -> float | None:
    """CPUs that the tightest quota of the process's group and its visible ancestors grants; None if there is none.

    None also where control groups cannot be read: `CgroupProbe.open` says why.
    """
    group = _found(pid, "cpu", root)
    return None if isinstance(group, str) else min((cpus for _, cpus in _quotas(group)), default=None)


def memory_limit_bytes(pid: int, root: Path = Path("/")) -> int | None:
    """The tightest memory limit of the process's group and its visible ancestors; None if there is none.

    None also where control groups cannot be read: `CgroupProbe.open` says why.
    """
    group = _found(pid, "memory", root)
    return None if isinstance(group, str) else _tightest(group)[1]


@dataclass(frozen=True, slots=True)
class _MemoryFiles:
    """The held files of the level whose memory is watched, and its limit."""

    usage: int
    limit_bytes: int | None
    events: Mapping[str, tuple[int, bytes]]


class CgroupProbe:
    """Throttling, CPU time and memory of the target's group; all of it counts every process of the group.

    Columns: `nr_periods`, `nr_throttled` and `throttled_s` are summed over the levels that have a quota (hardly ever
    more than one), and exactly 0 where none has; `throttled_s` adds up over CPUs, so it can exceed the time that
    passed, and is not the delay of one thread. `cpu_s` is the group's own. `memory_bytes`, `memory_max_events` (times
    the limit was hit), `memory_high_events` (version 2) and `oom_kills` are those of the level with the tightest limit,
    `memory_limit_bytes`, and of the group itself where nothing limits. `cpu_s` and memory are absent where the group is
    the whole host, and what a missing controller would count is absent too.
    """

    name = "cgroup"

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._files = HeldFiles()

    def open(self, pid: int) -> None:
        """Find the group of process `pid`; OSError where none can be seen."""
        cpu, memory = _found(pid, "cpu", self._root), _found(pid, "memory", self._root)
        self._throttling: tuple[tuple[int, int], ...] | None = None
        self._usage: tuple[int, int] | None = None
        self._memory: _MemoryFiles | None = None
        if isinstance(cpu, str) and isinstance(memory, str):
            raise OSError(cpu)
        if isinstance(cpu, Group):
            self._throttling = tuple(self._throttled_levels(cpu))
        accounted = _found(pid, "cpuacct", self._root) if isinstance(cpu, str) or cpu.version == 1 else cpu
        if isinstance(accounted, Group) and not accounted.is_host:
            self._usage = self._opened_usage(accounted)
        if isinstance(memory, Group) and not memory.is_host:
            self._memory = self._opened_memory(memory)

    def read(self) -> Mapping[str, float]:
        """Current counts; OSError once the group was removed."""
        values: dict[str, float] = {}
        if self._throttling is not None:
            values |= _throttled(self._throttling)
        if self._usage is not None:
            version, descriptor = self._usage
            found = text(descriptor)
            values["cpu_s"] = int(found) / NS_PER_S if version == 1 else numbers(found)[b"usage_usec"] * MICROSECONDS
        if self._memory is not None:
            values["memory_bytes"] = float(text(self._memory.usage))
            if self._memory.limit_bytes is not None:
                values["memory_limit_bytes"] = float(self._memory.limit_bytes)
            values |= {name: _count(text(file), key) for name, (file, key) in self._memory.events.items()}
        return values

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def _throttled_levels(self, group: Group) -> Iterator[tuple[int, int]]:
        """Version and held `cpu.stat` of each level that can be throttled: those with a quota, and the group itself."""
        limited = {level for level, _ in _quotas(group)} | {group.own}
        for level in group.levels:
            file = self._files.open_if_there(level / "cpu.stat") if level in limited else None
            if file is not None and b"nr_periods" in numbers(text(file)):
                yield group.version, file

    def _opened_usage(self, group: Group) -> tuple[int, int] | None:
        file = self._files.open_if_there(group.own / ("cpuacct.usage" if group.version == 1 else "cpu.stat"))
        return None if file is None else (group.version, file)

    def _opened_memory(self, group: Group) -> _MemoryFiles | None:
        level, limit = _tightest(group)
        first = group.version == 1
        usage = self._files.open_if_there(level / ("memory.usage_in_bytes" if first else "memory.current"))
        if usage is None:
            return None
        wanted = EVENTS[group.version].items()
        opened = ((name, self._files.open_if_there(level / file), key) for name, (file, key) in wanted)
        return _MemoryFiles(usage, limit, {name: (file, key) for name, file, key in opened if file is not None})


def _found(pid: int, controller: str, root: Path) -> Group | str:
    """The group of a process, or why it cannot be seen."""
    try:
        return find(pid, controller, root)
    except OSError as error:
        return str(error)


def _throttled(files: tuple[tuple[int, int], ...]) -> dict[str, float]:
    """The sums over the levels that can be throttled (Documentation/scheduler/sched-bwc.rst)."""
    periods = throttled = seconds = 0.0
    for version, file in files:
        counted = numbers(text(file))
        periods += counted.get(b"nr_periods", 0)
        throttled += counted.get(b"nr_throttled", 0)
        one, two = counted.get(b"throttled_time", 0) / NS_PER_S, counted.get(b"throttled_usec", 0) * MICROSECONDS
        seconds += one if version == 1 else two
    return {"nr_periods": periods, "nr_throttled": throttled, "throttled_s": seconds}


def _count(found: bytes, key: bytes) -> float:
    """A count from `name value` lines, or of a file that holds nothing else (`key` is empty)."""
    return float(numbers(found).get(key, 0) if key else int(found))


def _quotas(group: Group) -> Iterator[tuple[Path, float]]:
    """The levels with a quota, and the CPUs that it grants."""
    for level in group.levels:
        try:
            if group.version == 1:
                quota, period = ((level / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            else:
                quota, period = (level / "cpu.max").read_text().split()
        except (OSError, ValueError):  # the root has no such file
            continue
        if quota.strip().isdigit() and int(period) > 0:  # else "max" or -1
            yield level, int(quota) / int(period)


def _tightest(group: Group) -> tuple[Path, int | None]:
    """The level with the smallest memory limit, and the limit; the group itself and None if there is none.

    Version 1 also tells the smallest limit of ancestors that cannot be seen, as `hierarchical_memory_limit`.
    """
    limits = []
    for level in group.levels:
        name = "memory.limit_in_bytes" if group.version == 1 else "memory.max"
        limit = _limit(level / name)
        if limit is not None:
            limits.append((limit, level))
    if group.version == 1:
        hidden = _limit(group.own / "memory.stat", b"hierarchical_memory_limit")
        if hidden is not None and all(hidden < limit for limit, _ in limits):
            limits.append((hidden, group.own))
    limit, level = min(limits, key=lambda found: found[0], default=(None, group.own))
    return level, limit


def _limit(path: Path, key: bytes = b"") -> int | None:
    """A limit in bytes from a file, or None if it says that there is none or cannot be read."""
    try:
        found = path.read_bytes()
        value = numbers(found)[key] if key else int(found)
    except (OSError, ValueError, KeyError):
        return None
    return value if value < NO_LIMIT_BYTES else None
