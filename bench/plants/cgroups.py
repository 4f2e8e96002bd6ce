"""Control groups (version 1) made for one plant: quotas, shares, disk throttles, memory limits."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
NAMED = "pinchpoint-plant"
GONE_WITHIN_S = 5.0


def own_group(controller: str) -> Path:
    """The folder of the group that this process is in; ours are made inside it, so that its limits hold for them too."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return ROOT / controller / path.lstrip("/")
    raise FileNotFoundError(f"no cgroup v1 controller {controller}")


def needs_cgroup(controller: str) -> Callable[[], str | None]:
    """Why no group of this controller can be made here, or None."""

    def needs() -> str | None:
        try:
            group = own_group(controller)
        except FileNotFoundError as error:
            return str(error)
        return None if os.access(group, os.W_OK) else f"{group} is not writable"

    return needs


def granting(cpus: float, period_s: float = 0.1) -> dict[str, str]:
    """The files of a group that may use so many CPUs' time in each period."""
    period_us = round(period_s * 1e6)
    return {"cpu.cfs_period_us": str(period_us), "cpu.cfs_quota_us": str(round(cpus * period_us))}


@contextlib.contextmanager
def cgroup(controller: str, settings: Mapping[str, str]) -> Iterator[Path]:
    """A group with these files set; at the end what still runs in it is killed, and it is removed."""
    parent = own_group(controller)
    group = next(path for path in (parent / f"{NAMED}-{os.getpid()}-{n}" for n in range(99)) if not path.exists())
    group.mkdir()
    try:
        if controller == "cpuset":  # empty until told, unlike the others
            for name in ("cpuset.mems", "cpuset.cpus"):
                (group / name).write_text((parent / name).read_text())
        for name, value in settings.items():
            (group / name).write_text(value)
        yield group
    finally:
        _remove(group)


@contextlib.contextmanager
def inside(controller: str, settings: Mapping[str, str]) -> Iterator[None]:
    """This process and what it starts in a group with these files set, and back afterwards."""
    parent = own_group(controller)
    with cgroup(controller, settings) as group:
        _move(group)
        try:
            yield
        finally:
            _move(parent)


def _move(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


def joining(group: Path) -> tuple[str, ...]:
    """An argv prefix that starts a program inside the group."""
    return ("/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"))


def _remove(group: Path) -> None:
    """Kill what is left in a group of ours and remove it."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while True:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
