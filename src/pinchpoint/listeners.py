"""Address -> the processes that serve it on this host: who holds the listening socket, and all that they started.

The kernel tells which socket listens (/proc/net), and which process holds it (/proc/PID/fd, of one's own processes, or of all as
root). Who holds it may have started workers that do the work, so its whole tree counts; what is our own does not.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pinchpoint.domain.served import Served, ServerProcess

LISTENING = "0A"
EPOLL, WATCHED = "anon_inode:[eventpoll]", re.compile(r"^tfd:.* ino:([0-9a-f]+)", re.MULTILINE)
TCP_COLUMNS, UNIX_COLUMNS = 10, 8  # up to the inode, and up to the path, which may have blanks
COMMAND_BYTES, NAME_KEPT = 4096, 60
MOST_PROCESSES = 256
TUNNELS = frozenset(
    {
        "kubectl",
        "ssh",
        "sshd",
        "docker-proxy",
        "rootlessport",
        "socat",
        "ngrok",
        "cloudflared",
        "telepresence",
        "gvproxy",
    }
)
PROXIES = frozenset({"nginx", "haproxy", "envoy", "traefik", "caddy"})
INTERPRETERS = ("python", "node", "ruby", "perl", "bash", "sh")
LOADERS = ("ld-linux", "ld-musl", "ld.so")
OF_LOADER = frozenset(  # options of a loader that take the next word
    {
        "--library-path",
        "--inhibit-rpath",
        "--audit",
        "--preload",
        "--argv0",
        "--glibc-hwcaps-prepend",
        "--glibc-hwcaps-mask",
    }
)
WITH_VALUE = frozenset({"-W", "-X", "-c"})  # options of an interpreter that take the next word


def served_by(hosts: Sequence[str], port: int, unix: str = "", proc: Path = Path("/proc")) -> Served:
    """The processes behind a port of one of these IP addresses, or behind a Unix socket's path."""
    where = unix or f"port {port}"
    inodes = _unix_sockets(unix, proc) if unix else _tcp_sockets(hosts, port, proc)
    if not inodes:
        return Served(reason=f"nothing that can be seen from here listens on {where}: a container, or another machine")
    holders, hidden = _holders(inodes, proc)
    if not holders:
        who = "another user's process" if hidden else "a process that cannot be seen from here"
        return Served(reason=f"{who} listens on {where}: run pinchpoint as that user, or as root")
    processes = _tree(holders, proc)
    if not processes:
        return Served(reason=f"who listens on {where} is pinchpoint itself, or is gone")
    first = processes[0].name
    doors = tuple(pid for pid in holders if _waits_at(inodes, pid, proc))
    tunnel = first if first in TUNNELS | PROXIES else ""
    return Served(tuple(processes), tunnel=tunnel, doors=doors, apart=_apart(processes, inodes, proc))


def family(roots: Sequence[int], proc: Path = Path("/proc")) -> list[ServerProcess]:
    """Processes and all that they started and is still there, parents before children; never our own."""
    parents = dict(_parents(proc))
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: list[ServerProcess] = []
    waiting = [pid for pid in roots if pid in parents]
    while waiting and len(found) < MOST_PROCESSES:
        pid = waiting.pop(0)
        if pid == os.getpid():
            continue  # the server may be the one that started us
        found.append(ServerProcess(pid, parents[pid], name_of(pid, proc)))
        waiting += sorted(children.get(pid, ()))
    return found


def descendants(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """All that a process started, and what those did, as far as it is still there."""
    found: list[int] = []
    waiting = [pid]
    while waiting and len(found) < MOST_PROCESSES:
        each = waiting.pop()
        children: list[int] = []
        with contextlib.suppress(OSError):
            for task in os.listdir(proc / str(each) / "task"):
                children += map(int, (proc / str(each) / "task" / task / "children").read_text().split())
        found += children
        waiting += children
    return found


def name_of(pid: int, proc: Path = Path("/proc")) -> str:
    """What runs: the program, or the script or module that an interpreter runs; no arguments."""
    try:
        with (proc / str(pid) / "cmdline").open("rb") as file:
            words = [os.fsdecode(each) for each in file.read(COMMAND_BYTES).split(b"\0") if each]
    except OSError:
        words = []
    if not words:
        with contextlib.suppress(OSError):
            return (proc / str(pid) / "comm").read_text(errors="replace").strip()[:NAME_KEPT]
        return "?"
    program = os.path.basename(words[0].rstrip(":"))
    if program.startswith(LOADERS):
        words = _loaded(words[1:]) or words
        program = os.path.basename(words[0])
    if program.startswith(INTERPRETERS):
        program = _script(words[1:]) or program
    return program.split(" ")[0][:NAME_KEPT]


def _loaded(words: Sequence[str]) -> list[str]:
    """The program that a dynamic loader runs, with what comes behind it; nothing where it is not told."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in OF_LOADER else 1
    return list(words[at:])


def _script(words: Sequence[str]) -> str:
    """The module or the file that an interpreter runs; empty where it is neither."""
    waiting = iter(words)
    for word in waiting:
        if word == "-m":
            return next(waiting, "")
        if word == "-c":
            return ""
        if word in WITH_VALUE:
            next(waiting, "")
        elif not word.startswith("-"):
            return os.path.basename(word)
    return ""


# --- sockets -------------------------------------------------------------------------------------------------------
def _tcp_sockets(hosts: Sequence[str], port: int, proc: Path) -> set[str]:
    """Inodes of the sockets that listen on a port of these addresses, or of any address."""
    wanted = {ipaddress.ip_address(each.partition("%")[0]) for each in hosts}
    exact: set[str] = set()
    everywhere: set[str] = set()
    for address, at, inode in _listening(proc):
        if at == port and address in wanted:
            exact.add(inode)
        elif at == port and int(address) == 0:
            everywhere.add(inode)
    return exact or everywhere  # who listens on the address itself goes first


def _listening(proc: Path) -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int, str]]:
    """Address, port and inode of each TCP socket that listens."""
    for name in ("tcp", "tcp6"):
        for row in _rows(proc / "net" / name):
            if len(row) >= TCP_COLUMNS and row[3] == LISTENING:
                host, _, at = row[1].rpartition(":")
                yield _ip(host), int(at, 16), row[9]


def _apart(processes: Sequence[ServerProcess], inodes: set[str], proc: Path) -> tuple[int, ...]:
    """The processes that listen at a TCP socket which no other of them holds, beside the one that is asked."""
    listening = {f"socket:[{inode}]" for _, _, inode in _listening(proc)} - {f"socket:[{inode}]" for inode in inodes}
    held: dict[int, set[str]] = {}
    for each in processes:
        with contextlib.suppress(OSError):
            held[each.pid] = _links(each.pid, proc) & listening
    times = Counter(link for links in held.values() for link in links)
    return tuple(pid for pid, links in held.items() if any(times[link] == 1 for link in links))


def _links(pid: int, proc: Path) -> set[str]:
    """What the descriptors of a process lead to. Raises OSError where it is gone or may not be looked into."""
    with os.scandir(proc / str(pid) / "fd") as entries:
        return {_link(entry.path) for entry in entries}


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as /proc/net writes it: words of 32 bits in the machine's own order; IPv4 inside of IPv6 is IPv4."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    found = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _unix_sockets(path: str, proc: Path) -> set[str]:
    wanted = os.path.realpath(path)
    rows = (row for row in _rows(proc / "net" / "unix", UNIX_COLUMNS) if len(row) == UNIX_COLUMNS)
    return {
        row[6] for row in rows if row[5] == "01" and int(row[3], 16) & 0x10000 and os.path.realpath(row[7]) == wanted
    }


def _rows(path: Path, columns: int = 0) -> Iterator[list[str]]:
    """The words of each line but the first, in at most so many columns where given."""
    try:
        lines = path.read_text(errors="replace").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        yield line.split(maxsplit=columns - 1)


def _holders(inodes: set[str], proc: Path) -> tuple[list[int], bool]:
    """Processes that hold one of the sockets, and whether there are any that we may not look into."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found, hidden = [], False
    for pid, _ in _parents(proc):
        try:
            links = _links(pid, proc)
        except PermissionError:
            hidden = True
        except OSError:
            continue
        else:
            if links & wanted:
                found.append(pid)
    return found, hidden


def _waits_at(inodes: set[str], pid: int, proc: Path) -> bool:
    """Whether a process waits for connections at one of the sockets with epoll: others hold it for those that they started."""
    with contextlib.suppress(OSError):
        for name in os.listdir(proc / str(pid) / "fd"):
            if _link(os.fspath(proc / str(pid) / "fd" / name)) == EPOLL:
                watched = WATCHED.findall((proc / str(pid) / "fdinfo" / name).read_text())
                if inodes & {str(int(inode, 16)) for inode in watched}:
                    return True
    return False


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


# --- processes -----------------------------------------------------------------------------------------------------
def _tree(holders: Sequence[int], proc: Path) -> list[ServerProcess]:
    """The topmost holders with all that they started. Init, where it opened the socket for a service, is not that service."""
    parents = dict(_parents(proc))
    held = set(holders) - {1} or set(holders)
    tops = [pid for pid in held if not held & set(_ancestors(pid, parents))]
    return family(sorted(tops), proc)


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while (pid := parents.get(pid, 0)) > 0:
        yield pid


def _parents(proc: Path) -> Iterator[tuple[int, int]]:
    """Every process and its parent."""
    for name in os.listdir(proc):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = (proc / name / "stat").read_bytes()
                yield int(name), int(stat[stat.rindex(b")") + 2 :].split()[1])
