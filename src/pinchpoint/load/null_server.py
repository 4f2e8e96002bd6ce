"""A server that does nothing: it sends the same bytes to every request, as cheaply as we know how, so that what is left of a
request is the client's own cost. `python -m pinchpoint.load.null_server PORT_TO ANSWER_FROM [tls]`, two descriptors; it ends when
the second one's other end is closed.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from typing import Any

from pinchpoint.load import null_certificate

LENGTH = struct.Struct("=q")
BLOCK_BYTES = 1 << 16


class Answering(asyncio.Protocol):
    """Counts the bytes of requests, all of which have one length, and answers each."""

    __slots__ = ("_answer", "_length", "_seen", "_transport")

    def __init__(self, answer: bytes, length: int) -> None:
        self._answer, self._length, self._seen = answer, length, 0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # uvloop's own classes
        """The connection stands."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A part of a request, or several."""
        self._seen += len(data)
        while self._seen >= self._length:
            self._seen -= self._length
            self._transport.write(self._answer)


def main() -> None:
    """Read what to answer, listen, tell the port, and answer until told to end."""
    import uvloop

    port_to, answer_from = map(int, sys.argv[1:3])
    tls = null_certificate.server_context() if "tls" in sys.argv else None
    length = LENGTH.unpack(os.read(answer_from, LENGTH.size))[0]
    size = LENGTH.unpack(os.read(answer_from, LENGTH.size))[0]
    answer = bytearray()
    while len(answer) < size and (data := os.read(answer_from, min(BLOCK_BYTES, size - len(answer)))):
        answer += data

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        loop.add_reader(answer_from, lambda: None if over.done() else over.set_result(None))
        server = await loop.create_server(lambda: Answering(bytes(answer), length), "127.0.0.1", 0, ssl=tls)
        os.write(port_to, LENGTH.pack(server.sockets[0].getsockname()[1]))
        await over
        server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
