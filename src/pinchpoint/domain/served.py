"""Who serves an address on this host, as far as that can be seen from outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A process of a server: its name is that of the program or script, without arguments, which may hold secrets."""

    pid: int
    parent: int
    name: str


@dataclass(frozen=True, slots=True)
class Served:
    """The processes behind an address, the one that was there first at the front; none with the reason why.

    `tunnel` names a program that only passes on what it is sent: the server is elsewhere. `cpus` is how many CPUs the
    processes may use, by affinity and quota; None where that is not known. `doors` are the processes that wait for connections
    at the same socket, as far as they do so with epoll; `apart` are those with a listening socket of their own, at which
    something in front of them asks.
    """

    processes: tuple[ServerProcess, ...] = ()
    reason: str = ""
    tunnel: str = ""
    cpus: float | None = None
    doors: tuple[int, ...] = ()
    apart: tuple[int, ...] = ()
