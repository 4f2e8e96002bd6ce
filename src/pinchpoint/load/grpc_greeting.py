"""The first call of a gRPC method, alone: whether anybody is there, and what it answers."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.load.addresses import Address
from pinchpoint.load.greeting import KEPT_BYTES, Greeting
from pinchpoint.load.payloads import Header
from pinchpoint.load.wire import MOST_BYTES

NAMES = {"UNIMPLEMENTED": "the server has no such method", "UNAUTHENTICATED": "the server wants credentials"}
TODO = {"UNIMPLEMENTED": "Check package, service and method", "UNAUTHENTICATED": "Give them with --header"}
SERVER = "grpc"
START_S = 10.0  # to import gRPC on a busy machine
METADATA = re.compile(r"[0-9a-z_.-]+(?<!-bin)")
# Answers as large as those of HTTP are taken, and a proxy of the environment is not: load goes to the server that was named.
OPTIONS = (("grpc.max_receive_message_length", MOST_BYTES), ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0))


def greet(
    address: Address, hosts: Sequence[str], request: bytes, headers: Sequence[Header], timeout_s: float
) -> Greeting:
    """Call once. BadInput without grpcio, where nobody listens or no such method is; TargetFailed without an answer."""
    if importlib.util.find_spec("grpc") is None:
        what = "gRPC needs grpcio"
        raise BadInput(what=what, where=address.uri, todo="pip install 'pinchpoint[grpc]'")
    begin = time.monotonic()
    host = hosts[0]
    place = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    metadata = _metadata(headers)
    answer = _asked(address, Call(place, address.target, request, metadata, timeout_s))
    kept = answer if len(answer) <= KEPT_BYTES else None
    return Greeting(host, 0, "", SERVER, False, False, time.monotonic() - begin, len(answer), kept, True)


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the process that makes it is told of it."""

    place: str
    target: str
    request: bytes
    metadata: tuple[tuple[str, str], ...] | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Came:
    """What came of it: an answer, or a status code by name with its words."""

    answer: bytes = b""
    code: str = ""
    words: str = ""


def _asked(address: Address, call: Call) -> bytes:
    """The answer of a call made in a process of its own: gRPC's threads can abort the one that they run in while they end."""
    command = [sys.executable, "-P", "-m", "pinchpoint.load.grpc_greeting"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            told, _ = process.communicate(msgspec.msgpack.encode(call), START_S + call.timeout_s)
        except BaseException as error:
            process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise _failed(address, "DEADLINE_EXCEEDED", "", call.timeout_s) from None
            raise
    try:
        came = msgspec.msgpack.decode(told, type=Came)
    except msgspec.DecodeError:
        raise _failed(address, "no word", "", call.timeout_s) from None
    if came.code:
        raise _failed(address, came.code, came.words, call.timeout_s)
    return came.answer


def main() -> None:
    """Make the call of standard input, and say on standard output what came of it."""
    import grpc

    call = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Call)
    with grpc.insecure_channel(call.place, options=OPTIONS) as channel:
        try:
            came = Came(channel.unary_unary(call.target)(call.request, timeout=call.timeout_s, metadata=call.metadata))
        except grpc.RpcError as error:
            came = Came(code=error.code().name, words=str(error.details() or ""))
        sys.stdout.buffer.write(msgspec.msgpack.encode(came))
        sys.stdout.flush()


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


if __name__ == "__main__":
    main()
