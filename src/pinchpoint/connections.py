"""Processes -> the sockets that they serve, and the other services that they are waiting for, as the kernel tells.

Both are asked for by inet_diag (netlink, what `ss -ti` reads), in a tenth of the time that /proc/net/tcp takes. The kernel goes
through all connections of the host, those that ended within the last minute included: with 14,000 of them that takes it 3.4 ms,
so it is asked seldom enough to take a small share of the time. What a process asks of others is in TCP_INFO: a connection on
which something was sent later than anything came back awaits an answer. The kernel's clock for that ticks every 1 to 10 ms. Who
asks anew as soon as an answer is there has both in one tick, most times, as has who is answered at once. How often it is the
first of the two is told by the looks at which both lie in ticks that follow each other.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

REFRESH_S, LOOK_AGAIN_S = 1.0, 0.1
SERVED_REFRESH_S = 0.1
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
NLM_REQUEST_DUMP = 0x301
NLMSG_DONE, NLMSG_ERROR = 3, 2
INFO = 2  # INET_DIAG_INFO, asked for as bit INFO - 1
ESTABLISHED, SYN_SENT, CLOSE_WAIT, LISTEN = 1, 2, 8, 10
STATES = 1 << ESTABLISHED | 1 << SYN_SENT | 1 << CLOSE_WAIT | 1 << LISTEN
FAMILIES = (socket.AF_INET, socket.AF_INET6)
UNIX_COLUMNS = 8
HEAD = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBBxI48s")
MESSAGE = struct.Struct("=BBBB2s2s16s16s")  # family, state, timer, retransmits, ports, addresses; big-endian inside
QUEUED_AT, INODE_AT, MESSAGE_BYTES = 56, 68, 72
UNACKED_AT = 24  # segments; delayed acknowledgements take up to 40 ms
LAST_SENT_AT, LAST_RECEIVED_AT, ACKNOWLEDGED_AT, RECEIVED_AT = 44, 52, 120, 128  # in tcp_info: milliseconds ago, bytes
TOLD_BYTES = 136
ATTRIBUTE = struct.Struct("=HH")
ANSWER_BYTES = 1 << 16
TIMEOUT_S = 0.05
MOST_SHARE = 0.03  # of a CPU, not the one that the server computes on
MOST_DESCRIPTORS = 4096
LONGEST_TICK_MS = 10
FEWEST_SEEN = 10
MOST_SERVICES = 256


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection: its own port, the other end's, its raw IP address, and whether an answer is awaited; None where the last
    that was sent and the last that came back lie in one tick. `sent_ms` and `received_ms` are how long ago that was. Of a socket
    that listens, `queued` is how many connections wait to be accepted.
    """

    inode: int
    port: int
    peer_port: int
    peer: bytes
    awaits: bool | None
    queued: int = 0
    sent_ms: int = 0
    received_ms: int = 0

    @property
    def address(self) -> str:
        """The other end as one writes it."""
        found = ipaddress.ip_address(self.peer)
        found = getattr(found, "ipv4_mapped", None) or found
        return f"{f'[{found}]' if found.version == 6 else found}:{self.peer_port}"


class Awaited(NamedTuple):
    """The addresses of services whose answer is awaited, and of others of which one look cannot tell."""

    surely: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()


class Peers:
    """Which other services are being waited for by some processes, whose served port is `port`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._mine: frozenset[int] = frozenset()
        self._foreign: frozenset[int] = frozenset()
        self._families: tuple[int, ...] = ()
        self._looked = self._look_again = 0.0
        self._awaited: Awaited | None = None
        self._tick_ms = LONGEST_TICK_MS
        self._next_tick: dict[str, list[int]] = {}  # looks by address: the answer was there, or it was awaited
        self.kernel = Kernel()

    def forget(self) -> None:
        """What was found last holds no more."""
        self._awaited = None

    def close(self) -> None:
        """Let go of the kernel's ear."""
        self.kernel.close()

    def share_awaited(self, address: str) -> float:
        """Of the looks that could not tell, the share at which the answer of this one was awaited; 0 where nothing tells."""
        looks = self._next_tick.get(address, (0, 0))
        return looks[True] / sum(looks) if sum(looks) >= FEWEST_SEEN else 0.0

    def awaited(self, processes: Sequence[int]) -> Awaited:
        """The addresses of those whose answer is awaited now; cheap where there are no connections to others. On a host with many
        connections the last answer holds for a while.
        """
        if self._awaited is None or self.kernel.rested():
            self._awaited = self._asked(processes)
        return self._awaited

    def _asked(self, processes: Sequence[int]) -> Awaited:
        now = time.monotonic()
        if now - self._looked > REFRESH_S:
            self._looked, self._mine, self._foreign = now, frozenset(_sockets(processes)), frozenset()
        if now > self._look_again:
            self._look_again = now + (REFRESH_S if self._families else LOOK_AGAIN_S)
            missing = (each for each in FAMILIES if each not in self._families)
            self._families += tuple(each for each in missing if any(one.peer_port for one in self._others((each,))))
        found = self._others(self._families)
        unknown = {each.inode for each in found} - self._mine - self._foreign
        if unknown:  # made since, maybe by one of these
            self._mine |= frozenset(_sockets(processes))
            self._foreign |= unknown - self._mine
        mine = [each for each in found if each.inode in self._mine]
        served = {each.port for each in mine if not each.peer_port}  # a second port, of metrics or for another protocol
        asked = [each for each in mine if each.peer_port and each.port not in served]
        self._learn(asked)
        surely = {each.address for each in asked if each.awaits}
        maybe = {each.address for each in asked if each.awaits is None} - surely
        return Awaited(tuple(sorted(surely)), tuple(sorted(maybe)))

    def _learn(self, asked: Sequence[Connection]) -> None:
        """How long a tick is, and what connections show whose last ticks follow each other."""
        ages = [age for each in asked for age in (each.sent_ms, each.received_ms) if age]
        self._tick_ms = min(self._tick_ms, *ages) if ages else self._tick_ms
        for each in asked:
            if len(self._next_tick) == MOST_SERVICES and each.address not in self._next_tick:
                continue
            if abs(each.sent_ms - each.received_ms) == self._tick_ms and each.awaits is not None:
                self._next_tick.setdefault(each.address, [0, 0])[each.awaits] += 1

    def _others(self, families: Sequence[int]) -> list[Connection]:
        """Connections of anyone that have nothing to do with the served port."""
        found = self.kernel.connections(families)
        return [each for each in found if self._port not in (each.port, each.peer_port)]


def _kernel() -> socket.socket | None:
    """Where to ask for connections; None where the kernel does not answer."""
    with contextlib.suppress(OSError):
        found = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG)
        found.settimeout(TIMEOUT_S)
        return found
    return None


class Kernel:
    """Who is asked for all TCP connections of this network namespace, and what that has cost: seconds of CPU time."""

    def __init__(self) -> None:
        self.spent_s = self._cost_s = self._asked = 0.0
        self._socket = _kernel()

    def rested(self) -> bool:
        """Whether it may be asked again."""
        return time.monotonic() - self._asked > self._cost_s / MOST_SHARE

    def connections(self, families: Sequence[int]) -> list[Connection]:
        """Those of some families; none where the kernel does not answer."""
        if self._socket is None:
            return []
        began, found = time.thread_time(), list[Connection]()
        with contextlib.suppress(OSError):
            found = [each for family in families for each in _connections(self._socket, family)]
        self._asked, self._cost_s = time.monotonic(), time.thread_time() - began
        self.spent_s += self._cost_s
        return found

    def close(self) -> None:
        """Let go of its ear."""
        if self._socket is not None:
            self._socket.close()


def _sockets(processes: Sequence[int]) -> Iterator[int]:
    """Inodes of the sockets that processes hold."""
    for pid in processes:
        folder = Path(f"/proc/{pid}/fd")
        with contextlib.suppress(OSError):
            for name in os.listdir(folder)[:MOST_DESCRIPTORS]:
                with contextlib.suppress(OSError, ValueError):
                    link = os.readlink(folder / name)
                    if link.startswith("socket:["):
                        yield int(link[8:-1])


def _connections(diag: socket.socket, family: int, states: int = STATES) -> Iterator[Connection]:
    """All TCP connections of this network namespace."""
    body = REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (INFO - 1), states, b"")
    diag.send(HEAD.pack(HEAD.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_REQUEST_DUMP, 1, 0) + body)
    while True:
        data = memoryview(diag.recv(ANSWER_BYTES))
        while len(data) >= HEAD.size:
            length, kind, *_ = HEAD.unpack_from(data)
            if kind in (NLMSG_DONE, NLMSG_ERROR) or length < HEAD.size:
                return
            yield _connection(data[HEAD.size : length])
            data = data[length + 3 & ~3 :]


def _connection(message: memoryview) -> Connection:
    family, state, _, _, source, port, _, host = MESSAGE.unpack_from(message)
    queued, inode = (struct.unpack_from("=I", message, at)[0] for at in (QUEUED_AT, INODE_AT))
    awaits: bool | None = state == SYN_SENT
    ages = (0, 0)
    rest = message[MESSAGE_BYTES:]
    while len(rest) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(rest)
        if length < ATTRIBUTE.size:
            break
        if kind == INFO and length >= ATTRIBUTE.size + TOLD_BYTES:
            ages = _ages_ms(rest[ATTRIBUTE.size :])
            awaits = awaits or _awaits(rest[ATTRIBUTE.size :])
        rest = rest[length + 3 & ~3 :]
    raw = host[:4] if family == socket.AF_INET else host
    ports = int.from_bytes(source, "big"), int.from_bytes(port, "big")
    return Connection(inode, *ports, raw, awaits, queued, *ages)


def _ages_ms(info: memoryview) -> tuple[int, int]:
    """How long ago something was sent, and received."""
    (sent,), (received,) = (struct.unpack_from("=I", info, at) for at in (LAST_SENT_AT, LAST_RECEIVED_AT))
    return sent, received


def _awaits(info: memoryview) -> bool | None:
    """Whether something was sent later than anything came back, or was not taken yet, or nothing ever came back; None where the
    last of both lie in one tick.
    """
    sent, received = _ages_ms(info)
    (open_,) = struct.unpack_from("=I", info, UNACKED_AT)
    (acknowledged,), (answered,) = (struct.unpack_from("=Q", info, at) for at in (ACKNOWLEDGED_AT, RECEIVED_AT))
    if open_ or (acknowledged > 1 and not answered):  # the first byte stands for the handshake
        return True
    return None if answered and sent == received else sent < received


class Doors:
    """The TCP sockets at which some processes listen."""

    def __init__(self, processes: Sequence[int]) -> None:
        self._diag = _kernel()
        self._mine = frozenset(_sockets(processes))

    def waiting(self) -> dict[int, int]:
        """How many connections wait to be accepted, by port; empty where none listens, or the kernel does not answer."""
        found: dict[int, int] = {}
        if self._diag is not None:
            with contextlib.suppress(OSError):
                for family in FAMILIES:
                    for each in _connections(self._diag, family, 1 << LISTEN):
                        if each.inode in self._mine:
                            found[each.port] = found.get(each.port, 0) + each.queued
        return found

    def busiest(self) -> int:
        """The port with most connections, of those at which they listen; 0 where they listen at none."""
        found = dict.fromkeys(self.waiting(), 0)
        if self._diag is not None and len(found) > 1:
            with contextlib.suppress(OSError):
                for family in FAMILIES:
                    for each in _connections(self._diag, family):
                        if each.port in found:
                            found[each.port] += 1
        return max(found, key=lambda port: found[port], default=0)

    def close(self) -> None:
        """Let go of the kernel's ear."""
        if self._diag is not None:
            self._diag.close()


class ServedSockets:
    """Which sockets are connections of the server's own clients."""

    def __init__(self, port: int, unix: str = "") -> None:
        self._port, self._unix = port, os.path.realpath(unix) if unix else ""
        self._inodes: frozenset[int] = frozenset()
        self._read = 0.0
        self.kernel = Kernel()

    def has(self, inode: int) -> bool:
        """Whether it is one; what was made a moment ago is looked up again."""
        if inode not in self._inodes and time.monotonic() - self._read > SERVED_REFRESH_S and self.kernel.rested():
            self._read, self._inodes = time.monotonic(), frozenset(self._look())
        return inode in self._inodes

    def _look(self) -> Iterator[int]:
        if not self._unix:
            yield from (each.inode for each in self.kernel.connections(FAMILIES) if each.port == self._port)
        else:
            with contextlib.suppress(OSError):
                for row in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]:
                    words = row.split(maxsplit=UNIX_COLUMNS - 1)
                    if len(words) == UNIX_COLUMNS and os.path.realpath(words[-1]) == self._unix:
                        yield int(words[-2])

    def close(self) -> None:
        """Let go of the kernel's ear."""
        self.kernel.close()
