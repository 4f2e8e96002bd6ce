"""Servers at a distance, on a narrow link, or with a fault in how they send; their healthy twins and look-alikes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from bench.live_servers import HERE
from bench.plants.networks import Place, distant, narrow

# Answers any request. KEEP: the connection afterwards. SPLIT: head and body in two sends, without TCP_NODELAY. NUMBERS: of a JSON
# list that is encoded for each answer, or once (ENCODE). SPIN_MS of Python.
SERVER = """
    import json, socket, sys, threading, time
    KEEP, SPLIT, NUMBERS, ENCODE, SPIN_MS = {keep}, {split}, {numbers}, {encode}, {spin_ms}
    numbers = [i * 1.01 for i in range(NUMBERS)]
    ready = json.dumps(numbers).encode()
    END = bytes([13, 10])
    def serve(connection):
        if not SPLIT:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while answer(connection) and KEEP: pass
    def answer(connection):
        asked = b""
        while not asked.endswith(END + END):
            asked += (more := connection.recv(65536))
            if not more: return False
        end = time.thread_time() + SPIN_MS / 1000
        while time.thread_time() < end: pass
        body = json.dumps(numbers).encode() if ENCODE else ready
        head = b"HTTP/1.1 200 OK" + END + b"Content-Length: %d" % len(body) + END
        head += (b"" if KEEP else b"Connection: close" + END) + END
        for part in (head, body) if SPLIT else (head + body,):
            connection.sendall(part)
        return True
    listening = socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=64)
    while True:
        connection = listening.accept()[0]
        if KEEP: threading.Thread(target=serve, args=(connection,), daemon=True).start()
        else: serve(connection)
"""


@dataclass(frozen=True, slots=True)
class NetworkPlant:
    """A server and where it stands, None for this machine's loopback.

    `latency` is the cause that must be named (None: none of the network's), `also` are others of the network that hold too.
    `milliseconds` are ends of what must be found on the way, by site.
    """

    name: str
    latency: str | None
    place: Callable[[], AbstractContextManager[Place]] | None = None
    milliseconds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    keep: bool = True
    split: bool = False
    numbers: int = 10
    encode: bool = False
    spin_ms: float = 0.0

    @property
    def source(self) -> str:
        """The program."""
        return SERVER.format(
            keep=self.keep, split=self.split, numbers=self.numbers, encode=self.encode, spin_ms=self.spin_ms
        )

    def standing(self) -> AbstractContextManager[Place]:
        """The place, made."""
        return self.place() if self.place is not None else contextlib.nullcontext(HERE)


LARGE = 30_000  # numbers: 300 kB of JSON
TWENTY_MEGABITS_MS = (115, 140)  # of 300 kB in full packets: 127 ms, less what the first piece brought
PLANTS = (
    NetworkPlant("20 ms away", "I103", lambda: distant(0.020), {"distance": (19.9, 21), "connect": (0, 0)}, spin_ms=1),
    NetworkPlant("5 ms away, each connection closed", "I103", lambda: distant(0.005),
                 {"distance": (4.9, 6), "connect": (5, 8)}, keep=False, spin_ms=1),
    NetworkPlant("5 ms away, and slow itself", None, lambda: distant(0.005), {"distance": (4.9, 6)}, spin_ms=120),
    NetworkPlant("here, each connection closed", None, None, {"connect": (0.01, 1.5)}, keep=False, spin_ms=40),
    NetworkPlant("20 megabits a second", "I104", lambda: narrow(20), {"transfer": TWENTY_MEGABITS_MS}, numbers=LARGE),
    NetworkPlant("1000 megabits a second", None, lambda: narrow(1000), {"transfer": (0, 4)}, numbers=LARGE, spin_ms=100),
    NetworkPlant("here, encoded anew", "C104", None, {"transfer": (0, 0), "stall": (0, 0)}, numbers=LARGE, encode=True),
    NetworkPlant("small packets wait", "I103", None, {"stall": (38, 48)}, split=True, spin_ms=1),
    NetworkPlant("small packets do not wait", None, None, {"stall": (0, 0)}, spin_ms=12),
)  # fmt: skip
