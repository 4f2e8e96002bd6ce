"""The machine and container as found, without measuring anything."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from pinchpoint.domain.run import Environment


def read(quota_cpus: float | None, memory_limit_bytes: int | None) -> Environment:
    """What limits CPU and memory here, and what cannot be seen and why. The quota is read by the container's probe."""
    info = _text(Path("/proc/cpuinfo"))
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "")
    return Environment(
        cpu_model=model or platform.processor() or platform.machine(),
        cpus=os.cpu_count() or 1,
        affinity=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        quota_cpus=quota_cpus,
        memory_limit_bytes=memory_limit_bytes,
        kernel=f"{platform.system()} {platform.release()}",
        virtualized=" hypervisor" in info,
        unobservable=tuple(_unobservable(info)),
        memory_bytes=_memory_bytes(),
    )


def _memory_bytes() -> int | None:
    """The machine's memory; None where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _unobservable(info: str) -> list[tuple[str, str]]:
    found = []
    if not Path("/sys/bus/event_source/devices/cpu").exists():
        reason = "virtual machine without a PMU" if " hypervisor" in info else "no PMU driver"
        found.append(("CPU counters", reason))
    if _text(Path("/proc/sys/kernel/task_delayacct")).strip() != "1":
        found.append(("block-I/O delay by thread", "kernel.task_delayacct is off; sampled instead"))
    if not Path("/proc/self/schedstat").exists():
        found.append(("run-queue wait", "no /proc/PID/schedstat on this system"))
    if not Path("/proc/self/syscall").exists():
        found.append(("what a blocked thread waits for", "no /proc/PID/syscall on this system"))
    if not Path("/proc/pressure").exists():
        found.append(("pressure stall information", "kernel without PSI"))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
