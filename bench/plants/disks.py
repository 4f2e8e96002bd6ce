"""A slow disk that is always equally slow: a file system on a loop device in shared memory, throttled for one group."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.plants.cgroups import cgroup, needs_cgroup

SHARED_MEMORY = Path("/dev/shm")
PROGRAMS = ("losetup", "mkfs.ext4", "mount", "umount")


def needs_loop() -> str | None:
    """Why no loop device can be mounted here, or None."""
    if os.geteuid() != 0:
        return "loop devices need root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return None if Path("/dev/loop-control").exists() else "no /dev/loop-control"


def needs_slow_disk() -> str | None:
    """Why no throttled disk can be had here, or None."""
    return needs_loop() or needs_cgroup("blkio")()


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted disk; `number` is its MAJOR:MINOR, `group` the throttled group, where there is one."""

    folder: Path
    number: str
    group: Path | None


@contextlib.contextmanager
def loop_disk(mount_point: Path, size_mb: int) -> Iterator[Disk]:
    """An empty ext4 without journal (whose writes would be another process's) on shared memory, mounted."""
    handle, image = tempfile.mkstemp(prefix="pinchpoint-plant-", suffix=".img", dir=SHARED_MEMORY)
    with contextlib.ExitStack() as undo:
        undo.callback(os.unlink, image)
        os.truncate(handle, size_mb << 20)
        os.close(handle)
        device = _run("losetup", "--find", "--show", image)
        undo.callback(_run, "losetup", "--detach", device)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", device)
        mount_point.mkdir(parents=True, exist_ok=True)
        _run("mount", "-o", "noatime", device, str(mount_point))
        undo.callback(_run, "umount", "--lazy", str(mount_point))
        number = Path(f"/sys/block/{Path(device).name}/dev").read_text().strip()
        yield Disk(mount_point, number, None)


@contextlib.contextmanager
def slow_disk(mount_point: Path, size_mb: int, limits: Mapping[str, int]) -> Iterator[Disk]:
    """The same with limits for one group, such as {"read_iops": 120}; whoever is not in the group sees a fast disk.

    The kernel gives out a tenth of a second's allowance at a time: latency holds still where each request asks for just
    that much, and so takes about 100 ms.
    """
    with loop_disk(mount_point, size_mb) as disk:
        settings = {f"blkio.throttle.{name}_device": f"{disk.number} {value}" for name, value in limits.items()}
        with cgroup("blkio", settings) as group:
            yield Disk(disk.folder, disk.number, group)


def drop_from_cache(path: Path) -> None:
    """Write the file out and let its pages go from the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()
