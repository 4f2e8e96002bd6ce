"""Swap on a compressed memory disk of our own, so that a memory limit leads to major faults and not to a killed process."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.plants.cgroups import needs_cgroup

CONTROL = Path("/sys/class/zram-control")


def needs_swap() -> str | None:
    """Why no limited memory with swap can be had here, or None."""
    if os.geteuid() != 0:
        return "swap needs root"
    if not (CONTROL / "hot_add").exists():
        return "this kernel has no zram to swap to"
    if shutil.which("swapon") is None or shutil.which("mkswap") is None:
        return "mkswap or swapon is not installed"
    return needs_cgroup("memory")()


@contextlib.contextmanager
def zram_swap(size_mb: int) -> Iterator[Path]:
    """A zram device as swap space; other processes use it only if the whole machine runs out of memory."""
    number = (CONTROL / "hot_add").read_text().strip()
    device = Path(f"/dev/zram{number}")
    try:
        Path(f"/sys/block/zram{number}/disksize").write_text(f"{size_mb}M")
        subprocess.run(["mkswap", device], check=True, capture_output=True)
        subprocess.run(["swapon", device], check=True, capture_output=True)
        try:
            yield device
        finally:
            subprocess.run(["swapoff", device], check=True, capture_output=True)
    finally:
        (CONTROL / "hot_remove").write_text(number)
