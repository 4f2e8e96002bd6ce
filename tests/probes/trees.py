"""Trees of /proc and /sys/fs/cgroup as they were found: path -> text. The process is 7."""

from __future__ import annotations

from pathlib import Path

NONE_1 = "9223372036854771712\n"


def plant(folder: Path, *trees: dict[str, str]) -> Path:
    """Write the trees into `folder`, later ones over earlier ones, and return it as the root of a file system."""
    for tree in trees:
        for name, text in tree.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return folder


def mountinfo(*mounts: str) -> dict[str, str]:
    """A mountinfo with the given hierarchies behind an ordinary file system."""
    return {
        "proc/self/mountinfo": "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n" + "".join(m + "\n" for m in mounts)
    }


def v2_group(
    folder: str, *, cpu_max="max 100000", memory_max="max", usage=2_500_000, periods=0, throttled=0, us=0, current=1000
):
    """A group of version 2 that is not the root."""
    return {
        f"{folder}/cgroup.type": "domain\n",
        f"{folder}/cgroup.procs": "",
        f"{folder}/cpu.max": cpu_max + "\n",
        f"{folder}/cpu.stat": f"usage_usec {usage}\nuser_usec 1\nsystem_usec 1\nnice_usec 0\n"
        f"nr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {us}\nnr_bursts 0\nburst_usec 0\n",
        f"{folder}/memory.max": memory_max + "\n",
        f"{folder}/memory.current": f"{current}\n",
        f"{folder}/memory.events": "low 0\nhigh 3\nmax 5\noom 1\noom_kill 1\noom_group_kill 0\n",
    }


def v1_cpu(folder: str, *, quota=-1, period=100_000, periods=0, throttled=0, ns=0):
    """A group of version 1's controller cpu."""
    return {
        f"{folder}/cpu.cfs_quota_us": f"{quota}\n",
        f"{folder}/cpu.cfs_period_us": f"{period}\n",
        f"{folder}/cpu.stat": f"nr_periods {periods}\nnr_throttled {throttled}\nthrottled_time {ns}\n",
        f"{folder}/cgroup.procs": "",
    }


def v1_memory(folder: str, *, limit=NONE_1, hierarchical=NONE_1, current=1000):
    """A group of version 1's controller memory."""
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{current}\n",
        f"{folder}/memory.failcnt": "5\n",
        f"{folder}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        f"{folder}/memory.stat": f"cache 1\nhierarchical_memory_limit {hierarchical}\n",
        f"{folder}/cgroup.procs": "",
    }


CG = "sys/fs/cgroup"
MOUNT_2 = "31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
ROOT_2 = {f"{CG}/cgroup.procs": "1\n", f"{CG}/cpu.stat": "usage_usec 9\nuser_usec 9\nsystem_usec 0\n"}
MOUNTS_1 = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd",
)
MEMBER_1 = "9:name=systemd:/\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n"
ROOT_1 = {
    **v1_cpu(f"{CG}/cpu,cpuacct"), **v1_memory(f"{CG}/memory"),
    f"{CG}/cpu,cpuacct/cpuacct.usage": "99000000000\n",
    f"{CG}/cpu,cpuacct/cgroup.sane_behavior": "0\n", f"{CG}/memory/cgroup.sane_behavior": "0\n",
}  # fmt: skip

V2 = {
    "proc/7/cgroup": "0::/kube.slice/pod.slice/app\n", **mountinfo(MOUNT_2), **ROOT_2,
    **v2_group(f"{CG}/kube.slice"), **v2_group(f"{CG}/kube.slice/pod.slice"),
    **v2_group(f"{CG}/kube.slice/pod.slice/app", cpu_max="150000 100000", memory_max="2000000", periods=100,
               throttled=40, us=3_000_000),
}  # fmt: skip
V2_NESTED = {  # the pod's quota is the tighter one, and both throttle; the memory limit is the pod's alone
    **V2,
    **v2_group(f"{CG}/kube.slice/pod.slice", cpu_max="50000 50000", memory_max="1500000", periods=200, throttled=10,
               us=500_000, current=1400),
    **v2_group(f"{CG}/kube.slice/pod.slice/app", cpu_max="400000 100000", periods=100, throttled=1, us=250_000),
}  # fmt: skip
V2_FREE = {
    "proc/7/cgroup": "0::/user.slice\n", **mountinfo(MOUNT_2), **ROOT_2, **v2_group(f"{CG}/user.slice"),
}  # fmt: skip
V2_HOST = {"proc/7/cgroup": "0::/\n", **mountinfo(MOUNT_2), **ROOT_2}
V2_NAMESPACED = {  # inside a container of its own cgroup namespace: the group is the mount, and not the host
    "proc/7/cgroup": "0::/\n", **mountinfo(MOUNT_2), **v2_group(CG, cpu_max="200000 100000", memory_max="4000000"),
}  # fmt: skip
V2_BOUND = {  # the host's namespace, but only the container's own group is mounted
    "proc/7/cgroup": "0::/system.slice/docker-abc.scope/worker\n",
    **mountinfo("31 24 0:27 /system.slice/docker-abc.scope /sys/fs/cgroup ro - cgroup2 cgroup rw"),
    **v2_group(CG, cpu_max="200000 100000"), **v2_group(f"{CG}/worker"),
}  # fmt: skip
V2_MEMBER = {  # the name means nothing here, but the mounted group lists the process
    "proc/7/cgroup": "0::/../../lxc/other\n", **mountinfo(MOUNT_2), **v2_group(CG, cpu_max="70000 100000"),
    f"{CG}/cgroup.procs": "1\n7\n",
}  # fmt: skip
V2_ELSEWHERE = {
    **V2_MEMBER,
    f"{CG}/cgroup.procs": "1\n",
}  # a neighbour's container, seen through a shared pid namespace
V1 = {
    "proc/7/cgroup": MEMBER_1, **mountinfo(*MOUNTS_1), **ROOT_1,
    **v1_cpu(f"{CG}/cpu,cpuacct/docker"),
    **v1_cpu(f"{CG}/cpu,cpuacct/docker/abc", quota=30_000, periods=20, throttled=19, ns=1_320_000_000),
    f"{CG}/cpu,cpuacct/docker/abc/cpuacct.usage": "2500000000\n",
    **v1_memory(f"{CG}/memory/docker"), **v1_memory(f"{CG}/memory/docker/abc", limit=2_000_000),
}  # fmt: skip
V1_NAMESPACED = {  # Docker on version 1: names of the host, mounts of the container
    "proc/7/cgroup": MEMBER_1,
    **mountinfo(
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/with\\040blank ro - cgroup cgroup rw,memory",
    ),
    **v1_cpu(f"{CG}/cpu,cpuacct", quota=250_000), f"{CG}/cpu,cpuacct/cpuacct.usage": "2500000000\n",
    **v1_memory(f"{CG}/with blank", hierarchical=3_000_000),
}  # fmt: skip
HYBRID = {  # recorded where this was written: separate hierarchies of version 1, and version 2 without controllers
    "proc/7/cgroup": "4:memory:/process_api/9534\n2:cpuacct:/\n1:cpu:/\n0::/\n",
    **mountinfo(
        "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu",
        "33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct",
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory",
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
    ),
    **v1_cpu(f"{CG}/cpu"), f"{CG}/cpu/cgroup.sane_behavior": "0\n",
    f"{CG}/cpuacct/cpuacct.usage": "196272788743\n", f"{CG}/cpuacct/cgroup.sane_behavior": "0\n",
    **v1_memory(f"{CG}/memory/process_api"), **v1_memory(f"{CG}/memory/process_api/9534"),
    f"{CG}/unified/cpu.stat": "usage_usec 787558606\n",
}  # fmt: skip


def stat_line(*, state="S", user=300, system=50, threads=2, rss=25, minor=1000, major=3, name="python3"):
    """The line of /proc/PID/stat."""
    head = f"7 ({name}) {state} 1 7 7 0 -1 4194304 {minor} 11 {major} 12 {user} {system} 13 14 20 0 {threads} 0 128272 "
    return head + f"3133440 {rss} 18446744073709551615 " + "0 " * 27 + "\n"


def status_text(*, state="S (sleeping)", voluntary=100, involuntary=7, cpus="0-1"):
    """The lines of /proc/PID/status that are read, in their order."""
    return (
        f"Name:\tpython3\nUmask:\t0022\nState:\t{state}\nTgid:\t7\nCpus_allowed:\t3\nCpus_allowed_list:\t{cpus}\n"
        f"Mems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{voluntary}\nnonvoluntary_ctxt_switches:\t{involuntary}\n"
    )


PROCESS = {
    "proc/7/stat": stat_line(), "proc/7/status": status_text(), "proc/7/schedstat": "1 2 3\n",
    "proc/7/io": "rchar: 5000\nwchar: 600\nsyscr: 10\nsyscw: 2\nread_bytes: 4096\nwrite_bytes: 8192\n"
    "cancelled_write_bytes: 0\n",
    "proc/7/task/7/status": status_text(), "proc/7/task/7/schedstat": "3000000000 200000000 107\n",
    "proc/7/task/8/status": status_text(state="R (running)", voluntary=5, involuntary=1),
    "proc/7/task/8/schedstat": "1500000000 50000000 6\n",
}  # fmt: skip
HOST = {
    "proc/7/status": status_text(),
    "proc/stat": "cpu  10748 0 7503 228383 331 0 35 45 0 0\ncpu0 1000 20 300 4000 39 5 13 21 900 0\n"
    "cpu1 2000 0 400 5000 61 0 22 24 0 0\ncpu2 9999 0 9999 9999 0 0 0 9999 0 0\nintr 157049 0 0\nctxt 235715\n",
    "proc/loadavg": "0.41 0.32 0.39 1/95 10251\n",
    "proc/vmstat": "nr_free_pages 1\npswpin 3\npswpout 5\npgpgin 9\n",
}
AVERAGES = "avg10=0.34 avg60=0.62 avg300=0.26"
PRESSURE = {
    f"proc/pressure/{name}": f"some {AVERAGES} total={some}\nfull {AVERAGES} total={full}\n"
    for name, some, full in (("cpu", 4963368, 0), ("memory", 7, 5), ("io", 2000000, 1000000))
}
