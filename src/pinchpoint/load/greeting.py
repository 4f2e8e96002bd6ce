"""The first request, sent alone: whether anybody is there, how the answer looks, whether it comes as a stream."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httptools

from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.load.addresses import Address
from pinchpoint.load.wire import HEAD_BYTES, INTERIM, MOST_BYTES, SERVER_TIMING

BLOCK_BYTES = 1 << 16
KEPT_BYTES = 1 << 20  # of the answer, for the server that does nothing
LINGERS_S = 0.05  # after its answer, a server that closes the connection has done so
LONGEST_S = 1e6  # a system's timers take no more than some decades
STREAM = b"text/event-stream"


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first answer: from which IP address, its status with its words, its bytes, and whether it is a stream of events, or
    tells how long the server took.

    `raw` is None where it is too large to be sent again by the server that does nothing. `keeps` says whether the connection may
    be used again.
    """

    host: str
    status: int
    reason: str
    server: str
    stream: bool
    timed: bool
    seconds: float
    size: int
    raw: bytes | None
    keeps: bool


class Answer:
    """What httptools says of an answer."""

    def __init__(self) -> None:
        self.parser: Any = httptools.HttpResponseParser(self)
        self.complete = self.headed = self.timed = self.stream = self.lengthy = self.keeps = False
        self.reason, self.server, self.body = "", "", 0
        self.status = 0

    def on_status(self, words: bytes) -> None:
        """The words behind the status."""
        self.reason = words.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        lowered = name.lower()
        if lowered == b"content-type":
            self.stream = value.strip().lower().startswith(STREAM)
        elif lowered == SERVER_TIMING:
            self.timed = True
        elif lowered == b"server":
            self.server = "".join(c for c in value.decode("latin-1") if c.isprintable())[:80]
        elif lowered in (b"content-length", b"transfer-encoding"):
            self.lengthy = True

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self.headed = True

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.status = self.parser.get_status_code()
        self.complete = self.status not in INTERIM
        self.keeps = bool(self.parser.should_keep_alive())


def greet(
    address: Address,
    hosts: Sequence[str],
    request: bytes,
    timeout_s: float,
    tls: ssl.SSLContext | None,
    *,
    once: bool = False,
) -> Greeting:
    """Send one request and take its answer; whether the connection may be used again is not found out where it is asked `once`.

    BadInput where nobody is there or TLS fails, TargetFailed where nothing that can be understood comes back in time.
    """
    begin, timeout_s = time.monotonic(), min(timeout_s, LONGEST_S)
    host, connection = connected(address, hosts, timeout_s, tls)
    with connection:
        answer, raw, size = _asked(address, connection, request, timeout_s, begin)
        seconds = time.monotonic() - begin
        keeps = answer.keeps and not once and _stays(connection)
    kept = bytes(raw) if size <= KEPT_BYTES else None
    reason = answer.reason[:80]
    return Greeting(host, answer.status, reason, answer.server, answer.stream, answer.timed, seconds, size, kept, keeps)


def connected(
    address: Address, hosts: Sequence[str], timeout_s: float, tls: ssl.SSLContext | None
) -> tuple[str, socket.socket]:
    """A connection to the first of a host's IP addresses that takes one, and which that is.

    BadInput where nobody is there or TLS fails, TargetFailed where it is broken at once.
    """
    failure: Exception | None = None
    for host in hosts or ("",):
        try:
            return host, opened(address, host, timeout_s, tls)
        except (OSError, ValueError) as error:
            failure = error
    assert failure is not None
    raise _no_connection(address, failure)


def opened(address: Address, host: str, timeout_s: float, tls: ssl.SSLContext | None) -> socket.socket:
    """A connection to an address, at one IP address of its host. OSError or ValueError where there is none."""
    with contextlib.ExitStack() as stack:
        if address.unix:
            plain = stack.enter_context(socket.socket(socket.AF_UNIX))
            plain.settimeout(timeout_s)
            plain.connect(address.unix)
        else:
            plain = stack.enter_context(socket.create_connection((host, address.port), timeout_s))
        connection = tls.wrap_socket(plain, server_hostname=address.host) if tls else plain
        stack.pop_all()
    return connection


def _no_connection(address: Address, error: Exception) -> BadInput | TargetFailed:
    where = address.uri
    if isinstance(error, ssl.SSLCertVerificationError):
        todo = "Name its authority with --set ca=FILE, or --set insecure=yes if you trust the network"
        return BadInput(what=f"its certificate is not trusted: {error.verify_message}", where=where, todo=todo)
    shaking = isinstance(error, TimeoutError) and "handshake" in str(error)
    if isinstance(error, ssl.SSLError) or shaking:
        reason = "no handshake in time" if shaking else getattr(error, "reason", None)
        said = (reason or str(error)).replace("_", " ").lower()
        plain = where.partition("://")[0].removesuffix("s")
        todo = f"Check the port, or write {plain}:// if it speaks no TLS"
        return BadInput(what=f"no TLS connection: {said}", where=where, todo=todo)
    if isinstance(error, ConnectionRefusedError):
        return BadInput(what="nothing listens there", where=where, todo="Start the server, or check host and port")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return _failed(address, "it broke the connection at once", "Look at its log")
    if isinstance(error, FileNotFoundError):
        return BadInput(what="there is no such socket", where=where, todo="Start the server, or check its path")
    if isinstance(error, TimeoutError):
        return BadInput(
            what="it accepts no connection in time", where=where, todo="Check host and port, or use --timeout"
        )
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return BadInput(what="no file descriptor is left", where=where, todo="Raise the limit with ulimit -n")
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return BadInput(what=f"cannot be reached: {why}", where=where, todo="Check host and port")


def _asked(
    address: Address, connection: socket.socket, request: bytes, timeout_s: float, begin: float
) -> tuple[Answer, bytearray, int]:
    """The answer, its first bytes, and how many there were; TargetFailed where it is none."""
    answer, raw, size = Answer(), bytearray(), 0
    with _failures(address, timeout_s):
        connection.sendall(request)
        for data in pieces(connection, begin + timeout_s):
            size += len(data)
            if size <= KEPT_BYTES:
                raw += data
            answer.parser.feed_data(data)
            if answer.complete:
                return answer, raw, size
            if size > HEAD_BYTES and not answer.headed:
                what = f"its first answer has a head of more than {HEAD_BYTES >> 10} kB"
                raise _failed(address, what, "Check that it speaks HTTP there")
            if size > MOST_BYTES:
                raise _failed(address, f"its first answer has more than {MOST_BYTES >> 20} MB", "Ask for less")
    answer.status = answer.parser.get_status_code() if size else 0
    if answer.lengthy or not answer.status:
        which = "before its first answer was whole" if size else "without an answer to the first request"
        raise _failed(address, f"it closed the connection {which}", "Look at its log")
    return answer, raw, size


def _stays(connection: socket.socket) -> bool:
    """Whether the connection is still there a moment after an answer: some servers close it without a word in their head."""
    connection.settimeout(LINGERS_S)
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return True
    except OSError:
        return False


def _failed(address: Address, what: str, todo: str) -> TargetFailed:
    return TargetFailed(what=what, where=address.uri, todo=todo)


@contextlib.contextmanager
def _failures(address: Address, timeout_s: float) -> Iterator[None]:
    """What goes wrong while an answer is awaited, as TargetFailed."""
    try:
        yield
    except TimeoutError:
        what = f"no answer to the first request within {timeout_s:g} s"
        raise _failed(address, what, "Check it, or use --timeout") from None
    except httptools.HttpParserUpgrade:
        raise _failed(address, "it wants another protocol than HTTP/1.1", "Check the URL") from None
    except httptools.HttpParserError:
        raise _failed(address, "its first answer is not HTTP/1.1", "Check port and scheme") from None
    except OSError as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _failed(address, f"it broke the connection at the first request: {why}", "Look at its log") from None


def pieces(connection: socket.socket, end: float) -> Iterator[bytes]:
    """What the server sends until it ends the connection; TimeoutError at `end` of the monotonic clock."""
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        data = connection.recv(BLOCK_BYTES)
        if not data:
            return
        yield data
