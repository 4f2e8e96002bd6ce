"""The server that does nothing, for gRPC: every method answers with the same bytes, or with `stream` by the same messages.

Called as `load.null_server` is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc import aio

from pinchpoint.load import null_certificate
from pinchpoint.load.null_server import BLOCK_BYTES, LENGTH
from pinchpoint.load.streamed_messages import unframed


class _Anything(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Answers whatever is called."""

    def __init__(self, answer: bytes) -> None:
        async def answered(_request: bytes, _context: Any) -> bytes:  # noqa: ANN401
            return answer

        async def streamed(_request: bytes, _context: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
            for each in answers:
                yield each

        answers = tuple(unframed(answer)) if "stream" in sys.argv else ()
        unary, several = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        self._handler = several(streamed) if answers else unary(answered)

    def service(self, _details: Any) -> Any:  # noqa: ANN401
        """The handler of any method."""
        return self._handler


def _credentials() -> Any:  # noqa: ANN401
    return grpc.ssl_server_credentials([(null_certificate.KEY.encode(), null_certificate.CERTIFICATE.encode())])


def main() -> None:
    """Read what to answer, listen, tell the port, and answer until told to end."""
    port_to, answer_from = map(int, sys.argv[1:3])
    os.read(answer_from, LENGTH.size)
    size = LENGTH.unpack(os.read(answer_from, LENGTH.size))[0]
    answer = bytearray()
    while len(answer) < size and (data := os.read(answer_from, min(BLOCK_BYTES, size - len(answer)))):
        answer += data

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        loop.add_reader(answer_from, lambda: None if over.done() else over.set_result(None))
        server = aio.server(options=(("grpc.max_receive_message_length", -1),))  # our own requests, however large
        server.add_generic_rpc_handlers((_Anything(bytes(answer)),))
        place = "127.0.0.1:0"
        port = server.add_secure_port(place, _credentials()) if "tls" in sys.argv else server.add_insecure_port(place)
        await server.start()
        os.write(port_to, LENGTH.pack(port))
        await over
        await server.stop(0)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
