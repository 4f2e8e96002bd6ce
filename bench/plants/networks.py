"""A network namespace for one plant: a server in it is on another machine, as far as its clients can see, at a known distance and rate.

The distance is a line of our own between two TUN devices (this kernel has no netem), which passes each packet on after half a
round trip: TCP is the kernels' own from end to end. The rate is the kernel's token bucket (tbf) on a veth pair.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

TUN, SET_INTERFACE, PLAIN_PACKETS = "/dev/net/tun", 0x400454CA, 0x1001  # TUNSETIFF; IFF_TUN | IFF_NO_PI
PACKET_BYTES = 1 << 16
HERE, THERE = "198.18.{}.1", "198.18.{}.2"  # for tests of networks (RFC 2544)
COMMAND_S = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace: the argv prefix that starts a program in it, and its address."""

    prefix: tuple[str, ...]
    host: str


def needs_network() -> str | None:
    """Why no namespace can be made here, or None."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None:
        return "namespaces want root, and the programs ip and tc"
    if not os.access(TUN, os.R_OK | os.W_OK):
        return f"{TUN} cannot be opened"
    try:
        with _namespace() as (name, _), _veth(name, 0):
            _run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", f"{name}b", "root", *_bucket(20))
    except (subprocess.SubprocessError, OSError) as error:
        return f"no namespace with a limited rate can be made: {error}"
    return None


@contextlib.contextmanager
def distant(round_trip_s: float) -> Iterator[Place]:
    """A place whose packets take half a round trip each way."""
    with _namespace() as (name, number):
        line = subprocess.Popen(
            [sys.executable, "-m", "bench.plants.networks", name, str(number), str(round_trip_s / 2)],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            assert line.stdout is not None
            if not line.stdout.readline():
                raise OSError("the delay line did not start")
            yield _place(name, number)
        finally:
            line.kill()
            line.wait()


@contextlib.contextmanager
def narrow(megabits_per_s: int) -> Iterator[Place]:
    """A place that sends at so many megabits a second and no faster."""
    with _namespace() as (name, number), _veth(name, number):
        _run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", f"{name}b", "root", *_bucket(megabits_per_s))
        yield _place(name, number)


def _place(name: str, number: int) -> Place:
    return Place(("ip", "netns", "exec", name), THERE.format(number))


def _bucket(megabits_per_s: int) -> tuple[str, ...]:
    return ("tbf", "rate", f"{megabits_per_s}mbit", "burst", "5kb", "latency", "400ms")


@contextlib.contextmanager
def _namespace() -> Iterator[tuple[str, int]]:
    """A new namespace with its loopback up; a number that its addresses have to themselves."""
    number = os.getpid() % 250
    name = f"pp{os.getpid()}"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", name, "link", "set", "lo", "up")
        yield name, number
    finally:
        _run("ip", "netns", "del", name)


@contextlib.contextmanager
def _veth(name: str, number: int) -> Iterator[None]:
    here, there = f"{name}a", f"{name}b"
    _run("ip", "link", "add", here, "type", "veth", "peer", "name", there)
    try:
        _run("ip", "link", "set", there, "netns", name)
        _open(here, there, name, number)
        yield
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            _run("ip", "link", "del", here)


def _open(here: str, there: str, name: str, number: int) -> None:
    """Both ends get their address and go up."""
    for space, device, address in ((), here, HERE), (("-n", name), there, THERE):
        _run("ip", *space, "address", "add", f"{address.format(number)}/30", "dev", device)
        _run("ip", *space, "link", "set", device, "up")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=COMMAND_S)


# --- the line, a program of its own ----------------------------------------------------------------------------------
def _tun(device: str) -> int:
    found = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(found, SET_INTERFACE, struct.pack("16sH22x", device.encode(), PLAIN_PACKETS))
    return found


def main(name: str, number: int, delay_s: float) -> None:
    """Pass packets on between two devices, each so much later."""
    here, there = f"{name}a", f"{name}b"
    ends = _tun(here), _tun(there)
    _run("ip", "link", "set", there, "netns", name)
    _open(here, there, name, number)
    print("ready", flush=True)
    on_the_way: list[tuple[float, int, int, bytes]] = []
    order = itertools.count()
    while True:
        wait = max(on_the_way[0][0] - time.monotonic(), 0.0) if on_the_way else None
        readable, _, _ = select.select(ends, (), (), wait)
        now = time.monotonic()
        for end in readable:
            with contextlib.suppress(BlockingIOError):
                packet = os.read(end, PACKET_BYTES)
                heapq.heappush(on_the_way, (now + delay_s, next(order), ends[end == ends[0]], packet))
        while on_the_way and on_the_way[0][0] <= now:
            _, _, end, packet = heapq.heappop(on_the_way)
            with contextlib.suppress(OSError):
                os.write(end, packet)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
