"""The first call of a gRPC method, alone: whether anybody is there, and what it answers."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.load.addresses import Address
from pinchpoint.load.greeting import KEPT_BYTES, Greeting
from pinchpoint.load.payloads import Header
from pinchpoint.load.wire import MOST_BYTES

NAMES = {"UNIMPLEMENTED": "the server has no such method", "UNAUTHENTICATED": "the server wants credentials"}
TODO = {"UNIMPLEMENTED": "Check package, service and method", "UNAUTHENTICATED": "Give them with --header"}
SERVER = "grpc"
METADATA = re.compile(r"[0-9a-z_.-]+(?<!-bin)")
# Answers as large as those of HTTP are taken, and a proxy of the environment is not: load goes to the server that was named.
OPTIONS = (("grpc.max_receive_message_length", MOST_BYTES), ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0))


def greet(
    address: Address, hosts: Sequence[str], request: bytes, headers: Sequence[Header], timeout_s: float
) -> Greeting:
    """Call once. BadInput without grpcio, where nobody listens or no such method is; TargetFailed without an answer."""
    try:
        import grpc
    except ImportError:
        what = "gRPC needs grpcio"
        raise BadInput(what=what, where=address.uri, todo="pip install 'pinchpoint[grpc]'") from None
    begin = time.monotonic()
    host = hosts[0]
    place = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    metadata = _metadata(headers)
    with grpc.insecure_channel(place, options=OPTIONS) as channel:
        try:
            answer = channel.unary_unary(address.target)(request, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise _failed(address, error.code().name, str(error.details() or ""), timeout_s) from None
    kept = answer if len(answer) <= KEPT_BYTES else None
    return Greeting(host, 0, "", SERVER, False, time.monotonic() - begin, len(answer), kept, True)


def _metadata(headers: Sequence[Header]) -> tuple[tuple[str, str], ...] | None:
    """Headers as gRPC sends them; BadInput for a name that it does not take."""
    for each in headers:
        if not METADATA.fullmatch(each.name.lower()):
            todo = "Use letters, digits, and _ . - in its name, and no -bin at its end"
            raise BadInput(what="it cannot be sent as gRPC metadata", where=f"--header {each.name}", todo=todo)
    return tuple((each.name.lower(), each.value) for each in headers) or None


def _failed(address: Address, code: str, words: str, timeout_s: float) -> BadInput | TargetFailed:
    where = address.uri
    if code == "UNAVAILABLE" and "refused" in words.lower():
        return BadInput(what="nothing listens there", where=where, todo="Start the server, or check host and port")
    if code in NAMES:
        return BadInput(what=NAMES[code], where=where, todo=TODO[code])
    if code == "DEADLINE_EXCEEDED":
        what = f"no answer to the first request within {timeout_s:g} s"
        return TargetFailed(what=what, where=where, todo="Check it, or use --timeout")
    return TargetFailed(what=f"the first call failed with {code}", where=where, todo="Check --input and its log")
