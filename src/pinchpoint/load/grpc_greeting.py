"""The first call of a gRPC method, alone: whether anybody is there, and what it answers."""

from __future__ import annotations

import importlib.util
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.load.addresses import STREAM_INFER, Address
from pinchpoint.load.greeting import KEPT_BYTES, Greeting, connected
from pinchpoint.load.grpc_tls import Trust, channel
from pinchpoint.load.payloads import Header, secrets, without
from pinchpoint.load.protobuf import Malformed
from pinchpoint.load.sending import HTTP2, Sending, tls_context
from pinchpoint.load.streamed_messages import error_of, framed
from pinchpoint.load.wire import MOST_BYTES

# As gRPC numbers them (grpc/grpc, doc/statuscodes.md).
CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
REFUSED = {
    "INVALID_ARGUMENT": "Check --input", "NOT_FOUND": "Check what the URL and --input name", "OUT_OF_RANGE": "Check --input",
    "FAILED_PRECONDITION": "Check --input, and whether the server is ready", "PERMISSION_DENIED": "Check --header",
    "UNIMPLEMENTED": "Check the URL", "UNAUTHENTICATED": "Give credentials with --header",
}  # fmt: skip
NO_METHOD = ("", "method not found!")  # what servers in C++ and in Python say with UNIMPLEMENTED
UNREACHED = ("failed to connect", "socket closed", "connection reset", "broken pipe")
SERVER = "grpc"
START_S = 10.0  # to import gRPC on a busy machine
LOOK_S = 1.0  # whether it wants TLS
LONGEST_WORDS = 300
METADATA = re.compile(r"[0-9a-z_.-]+(?<!-bin)")
# Answers as large as those of HTTP are taken, and a proxy of the environment is not: load goes to the server that was named.
OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0))


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the process that makes it is told of it."""

    place: str
    target: str
    request: bytes
    metadata: tuple[tuple[str, str], ...] | None
    timeout_s: float
    trusted: Trust
    most_bytes: int = MOST_BYTES


@dataclass(frozen=True, slots=True)
class Came:
    """What came of it: an answer, or a status code by name with its words."""

    answer: bytes = b""
    code: str = ""
    words: str = ""

    @property
    def refused(self) -> bool:
        """Whether nobody listens."""
        return self.code == "UNAVAILABLE" and "refused" in self.words.lower()

    @property
    def unreached(self) -> bool:
        """Whether the connection failed, so that no server of gRPC said a word."""
        words = self.words.lower()
        return self.refused or (self.code == "UNAVAILABLE" and any(each in words for each in UNREACHED))


def greet(sending: Sending, trusted: Trust, hosts: Sequence[str], request: bytes, timeout_s: float) -> Greeting:
    """Call once. BadInput without grpcio, where nobody listens or the server refuses; TargetFailed without an answer."""
    begin = time.monotonic()
    host, came = asked(sending, trusted, hosts, request, timeout_s)
    if came.code:
        raise failed(sending, came, timeout_s)
    kept = came.answer if len(came.answer) <= KEPT_BYTES else None
    stream = sending.address.target == STREAM_INFER
    return Greeting(host, 0, "", SERVER, stream, False, time.monotonic() - begin, len(came.answer), kept, True)


def asked(
    sending: Sending, trusted: Trust, hosts: Sequence[str], request: bytes, timeout_s: float,
    most_bytes: int = MOST_BYTES,
) -> tuple[str, Came]:  # fmt: skip
    """Where one call went, the first IP address that listens, and what came of it. BadInput without grpcio, and for a header
    that it cannot send.
    """
    address = sending.address
    if importlib.util.find_spec("grpc") is None:
        what = "gRPC needs grpcio"
        raise BadInput(what=what, where=address.uri, todo="pip install 'pinchpoint[grpc]'")
    metadata = _metadata(sending.headers)
    for host in hosts:
        place = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
        came = _called(Call(place, address.target, request, metadata, timeout_s, trusted, most_bytes))
        if not came.refused:
            break
    return host, came


def _called(call: Call) -> Came:
    """What comes of a call made in a process of its own: gRPC's threads can abort the one that they run in while they end."""
    command = [sys.executable, "-P", "-m", "pinchpoint.load.grpc_greeting"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            told, _ = process.communicate(msgspec.msgpack.encode(call), START_S + call.timeout_s)
        except BaseException as error:
            process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                return Came(code="DEADLINE_EXCEEDED")
            raise
    try:
        return msgspec.msgpack.decode(told, type=Came)
    except msgspec.DecodeError:
        return Came(code="no word")


def main() -> None:
    """Make the call of standard input, and say on standard output what came of it."""
    import grpc

    call = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Call)
    options = (*OPTIONS, ("grpc.max_receive_message_length", call.most_bytes))
    with channel(grpc, call.place, call.trusted, options) as opened:
        try:
            came = _came(opened, call)
        except grpc.RpcError as error:
            came = Came(code=error.code().name, words=str(error.details() or ""))
        except Malformed as error:
            came = Came(code="INTERNAL", words=f"what came is no ModelStreamInferResponse: {error}")
        sys.stdout.buffer.write(msgspec.msgpack.encode(came))
        sys.stdout.flush()


def _came(opened: Any, call: Call) -> Came:  # noqa: ANN401  # grpc has no types
    """The answer; of a stream all of them, framed, or the error that one tells."""
    how = opened.unary_stream if call.target == STREAM_INFER else opened.unary_unary
    found = how(call.target)(call.request, timeout=call.timeout_s, metadata=call.metadata)
    if call.target != STREAM_INFER:
        return Came(found)
    answers, size = [], 0
    for each in found:
        answers.append(each)
        size += len(each)
        if size > call.most_bytes:
            return Came(code="RESOURCE_EXHAUSTED", words=f"more than {call.most_bytes >> 20} MB in one stream")
        if words := error_of(each):
            return Came(code="UNKNOWN", words=words)
    return Came(framed(answers)) if answers else Came(code="no response")


def _metadata(headers: Sequence[Header]) -> tuple[tuple[str, str], ...] | None:
    """Headers as gRPC sends them; BadInput for a name that it does not take."""
    for each in headers:
        if not METADATA.fullmatch(each.name.lower()):
            todo = "Use letters, digits, and _ . - in its name, and no -bin at its end"
            raise BadInput(what="it cannot be sent as gRPC metadata", where=f"--header {each.name}", todo=todo)
    return tuple((each.name.lower(), each.value) for each in headers) or None


def failed(sending: Sending, came: Came, timeout_s: float) -> BadInput | TargetFailed:
    """The error of a call that failed: BadInput where asking otherwise would help. Nothing secret is in its words."""
    where, code = sending.address.uri, came.code
    if came.unreached:
        return _unreached(sending, came)
    if code == "DEADLINE_EXCEEDED":
        what = f"no answer to the first request within {timeout_s:g} s"
        return TargetFailed(what=what, where=where, todo="Check it, or use --timeout")
    words = without(
        "".join(c if c.isprintable() else " " for c in came.words), secrets(sending.headers, sending.address)
    )
    if code == "UNIMPLEMENTED" and words.strip().lower() in NO_METHOD:
        return BadInput(what="the server has no such method", where=where, todo="Check package, service and method")
    if "decoupled" in words:
        what = "this model answers in a stream of messages (decoupled), and not by this method"
        return BadInput(what=what, where=where, todo="Name the model, as in triton+grpc://host:port/MODEL")
    said = f"{code}: {words[:LONGEST_WORDS].strip()}".removesuffix(": ")
    if code in REFUSED:
        what = "the server wants credentials:" if code == "UNAUTHENTICATED" else "the first call was refused with"
        return BadInput(what=f"{what} {said}", where=where, todo=REFUSED[code])
    return TargetFailed(what=f"the first call failed with {said}", where=where, todo="Check --input and its log")


def _unreached(sending: Sending, came: Came) -> BadInput | TargetFailed:
    address = sending.address
    if came.refused:
        what, todo = "nothing listens there", "Start the server, or check host and port"
    elif address.tls and (refusal := _refusal(address, tls_context(sending))):
        return refusal
    elif not address.tls and _refusal(address, _unchecked()) is None:
        what, todo = "what listens there wants TLS", f"Write {address.uri.partition('://')[0]}s://"
    else:
        what, todo = "what listens there speaks no gRPC", "Check the port, and whether the server is up"
    return BadInput(what=what, where=address.uri, todo=todo)


def _refusal(address: Address, tls: ssl.SSLContext | None) -> BadInput | TargetFailed | None:
    """Why no handshake succeeds, as https:// would say it; None where one does."""
    try:
        connected(address, (address.host,), LOOK_S, tls)[1].close()
    except (BadInput, TargetFailed) as error:
        return error
    return None


def _unchecked() -> ssl.SSLContext:
    """No certificate is checked, since nothing is sent."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([HTTP2])
    return context


if __name__ == "__main__":
    main()
