"""A block device that is slow on purpose: a loop device over shared memory, in a control group that may read it seldom.

Needs root, the loop module, and a writable blkio (version 1) or io (version 2) controller; `missing` says what is not there.
The file behind it lies in memory, so no disk is read, and nothing else is slowed down.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
VERSION_1 = Path("/sys/fs/cgroup/blkio")
VERSION_2 = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
DEVICE_BYTES = 4 << 20
READS_PER_S = (
    10  # one in each slice of the kernel's throttle (100 ms): with more, most reads are free and a few wait long
)
REMOVAL_TRIES, REMOVAL_WAIT_S = 20, 0.05


@dataclass(frozen=True, slots=True)
class Throttled:
    """A device to read, and the group whose members are throttled on it."""

    device: Path
    group: Path


def missing() -> str | None:
    """Why no device can be throttled here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("losetup") is None or not Path("/dev/loop-control").exists():
        return "needs loop devices and losetup"
    return None if _controller() else "needs a writable blkio or io controller"


@contextlib.contextmanager
def throttled(reads_per_s: int = READS_PER_S) -> Iterator[Throttled]:
    """Make the device and the group, and remove both; CalledProcessError or OSError where the kernel refuses."""
    with contextlib.ExitStack() as undo:
        descriptor, name = tempfile.mkstemp(prefix="pinchpoint-bench-", dir=SHARED_MEMORY)
        undo.callback(os.unlink, name)
        os.ftruncate(descriptor, DEVICE_BYTES)
        os.close(descriptor)
        device = Path(_run("losetup", "--find", "--show", name))
        undo.callback(_run, "losetup", "--detach", str(device))
        group = _new_group()
        undo.callback(_remove, group)
        _limit(group, device, reads_per_s)
        yield Throttled(device, group)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _controller() -> Path | None:
    """The folder in which groups with a throttle can be made."""
    if (VERSION_1 / "blkio.throttle.read_iops_device").exists() and os.access(VERSION_1, os.W_OK):
        return VERSION_1
    for root in VERSION_2:
        with contextlib.suppress(OSError):
            if "io" in (root / "cgroup.subtree_control").read_text().split() and os.access(root, os.W_OK):
                return root
    return None


def _new_group() -> Path:
    root = _controller()
    assert root is not None, missing()
    group = root / f"pinchpoint-bench-{os.getpid()}"
    group.mkdir()
    return group


def _limit(group: Path, device: Path, reads_per_s: int) -> None:
    number = os.stat(device).st_rdev
    name = f"{os.major(number)}:{os.minor(number)}"
    if group.parent == VERSION_1:
        (group / "blkio.throttle.read_iops_device").write_text(f"{name} {reads_per_s}")
    else:
        (group / "io.max").write_text(f"{name} riops={reads_per_s}")


def _remove(group: Path) -> None:
    """Remove the group once its last process is gone."""
    for _ in range(REMOVAL_TRIES):
        try:
            group.rmdir()
        except OSError:
            time.sleep(REMOVAL_WAIT_S)
        else:
            return
