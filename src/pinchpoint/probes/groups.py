"""Where a process's control group lies in the file system: version 1, 2 or both, inside a container or out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ONLY_IN_ROOT_1 = "cgroup.sane_behavior"  # a file that of version 1's groups only the root of all has
NEVER_IN_ROOT_2 = "cgroup.type"  # a file that of version 2's groups only the root of all has not


@dataclass(frozen=True, slots=True)
class Group:
    """A process's group under one controller: `levels` are its folder and its ancestors', innermost first.

    Ancestors above what the container may see are missing: a quota or limit that is set only there is not seen.
    """

    version: int
    levels: tuple[Path, ...]

    @property
    def own(self) -> Path:
        """The group's own folder."""
        return self.levels[0]

    @property
    def is_host(self) -> bool:
        """Whether it is the root of all groups, whose counts are the whole host's."""
        return (self.own / ONLY_IN_ROOT_1).exists() if self.version == 1 else not (self.own / NEVER_IN_ROOT_2).exists()


@dataclass(frozen=True, slots=True)
class _Mount:
    """A mounted hierarchy: its version and controllers, which of its groups is mounted, and where."""

    version: int
    controllers: frozenset[str]
    group: str
    point: str


def find(pid: int, controller: str, root: Path) -> Group:
    """The group of process `pid` under `controller` (`cpu`, `cpuacct` or `memory`); OSError says why there is none.

    A controller that is attached to version 1 is read there, any other in version 2 (cgroups(7)). /proc/PID/cgroup
    names the group as this process's own cgroup namespace sees it, and /proc/self/mountinfo what is mounted where.
    """
    version, name = _membership(_text(root / "proc" / str(pid) / "cgroup"), controller)
    for mount in reversed(list(_mounts(_text(root / "proc/self/mountinfo")))):
        if mount.version != version or (version == 1 and controller not in mount.controllers):
            continue
        point = root / mount.point.lstrip("/")
        inside = _inside(name, mount.group)
        if inside is not None and (point / inside).is_dir():
            below = (inside, *inside.parents) if inside.parts else (inside,)
            return Group(version, tuple(point / level for level in below))
        if str(pid) in _members(point):
            return Group(version, (point,))
    raise OSError(f"the control group of process {pid} for {controller} is not visible from here")


def _membership(text: str, controller: str) -> tuple[int, str]:
    """Version and name of the group that holds `controller`, from /proc/PID/cgroup."""
    unified = None
    for hierarchy, controllers, name in re.findall(r"^(\d+):([^:\n]*):(.*)$", text, re.MULTILINE):
        if controller in controllers.split(","):
            return 1, name
        if hierarchy == "0" and not controllers:
            unified = name
    if unified is None:
        raise OSError(f"no control group has the controller {controller}")
    return 2, unified


def _mounts(text: str) -> Iterator[_Mount]:
    """The hierarchies of control groups in /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    for line in text.splitlines():
        before, found, after = line.partition(" - ")
        where, what = before.split(), after.split()
        if found and len(where) > 4 and what and what[0] in {"cgroup", "cgroup2"}:
            version = 2 if what[0] == "cgroup2" else 1
            yield _Mount(version, frozenset(what[-1].split(",")), _unescaped(where[3]), _unescaped(where[4]))


def _inside(name: str, mounted: str) -> PurePosixPath | None:
    """Group `name` relative to the group that is mounted, or None where it lies outside of it."""
    path, top = PurePosixPath(name), PurePosixPath(mounted)
    if ".." in path.parts or not path.is_relative_to(top):
        return None
    return path.relative_to(top)


def _members(folder: Path) -> list[str]:
    """The processes in the group of this folder; none where that cannot be read."""
    try:
        return _text(folder / "cgroup.procs").split()
    except OSError:
        return []


def _unescaped(text: str) -> str:
    """A path of mountinfo, where white space and backslashes are octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from error
