"""HTTP/1.1 on a raw asyncio protocol: one request at a time on a connection, each ended as one of `records.OUTCOMES`.

What comes from the server is untrusted: bounded in size, never evaluated. httptools (llhttp) parses; only the callback that is
needed is defined, since each costs a call a request.
"""

from __future__ import annotations

import asyncio
import errno
import json
import re
import ssl
from collections.abc import Callable, Sequence
from hashlib import blake2b
from time import monotonic_ns
from typing import Any, Protocol

import httptools

from pinchpoint.load.records import (
    CLOSED,
    MALFORMED,
    NO_DESCRIPTOR,
    OK,
    REFUSED,
    RESET,
    SHORT,
    STATUS,
    TIMEOUT,
    TLS,
    TOO_LARGE,
    UNEXPECTED,
    UNREACHABLE,
)

MOST_BYTES = 64 << 20  # of an answer
MOST_HELD_BYTES = 256 << 20  # of all answers that wait to be checked
SHORT_BYTES = 1 << 10  # an answer that is kept itself, to compare others with; of longer ones a digest
HEAD_BYTES = 64 << 10  # of its head
SUCCESS = range(200, 300)
INTERIM = range(100, 200)
INTERIM_LINE = re.compile(rb"HTTP/1\.\d 1")
SERVER_TIMING = b"server-timing"
METRIC_NAME = re.compile(rb"[!#$%&'*+.^_`|~\w-]{1,40}", re.ASCII)
QUOTED, MILLISECONDS = re.compile(rb'"((?:[^"\\]|\\.)*+)(?:"|\\?$)', re.DOTALL), re.compile(rb"\d+(?:\.\d+)?")
LONGEST_MS, TOTAL = 1e9, b"total"
TIMING_BYTES = 4096  # of such a header are read
MOST_TIMINGS = 40  # of an answer
END, LENGTH, CODING = b"\r\n\r\n", b"\ncontent-length:", b"\ntransfer-encoding:"
TAIL_BYTES, GENERATED = 2048, re.compile(rb'"completion_tokens"\s*:\s*(\d{1,9})\b')  # of a stream: its last event
# An event of a generator of text that says who speaks, or that it ends, and nothing yet; it comes before the prompt is read.
WORDLESS = re.compile(
    rb'"delta"\s*+:\s*+\{\s*+(?:(?:"role"\s*+:\s*+"\w*+"|"\w++"\s*+:\s*+(?:null|""|\[\s*+\]))\s*+,?\s*+)*+\}'
    rb'|"choices"\s*+:\s*+\[\s*+\]|^data:\s*+\[DONE\]'
)
WORDLESS_BYTES = 2048
FIELD, COLON = b"data", ord(":")  # of an event: what its other lines say is not its data
Timing = tuple[bytes, int, int]  # name, ns after the server got the request or -1, ns that it took
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}


class Like:
    """The head and the length of the last good answer. One that begins with the same head has the same framing, so that if it
    is as long it is whole, and need not be parsed.
    """

    __slots__ = ("head", "length", "status")

    def __init__(self) -> None:
        self.head, self.length, self.status = b"", -1, 0


class Driver(Protocol):
    """Who sends requests over a connection and takes what became of them."""

    requests: tuple[bytes, ...]
    statuses: frozenset[int]
    check: Callable[[int, bytes], bool] | None
    like: Like
    held_bytes: int
    keeps: bool  # whether connections may be used again, as far as the answer to the first request showed

    def ended(self, connection: Connection, outcome: int, status: int, done: int) -> None:
        """The request of `connection` ended; its next one may be sent."""
        ...

    def alike(self, connection: Connection, done: int) -> None:
        """The same for an answer like the one before, all of which came at `done`; the connection is as it was."""
        ...

    def unasked(self) -> None:
        """Bytes came that nobody had asked for."""
        ...

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""
        ...


class Connection(asyncio.Protocol):
    """A connection, its request under way, and what came back of it so far."""

    __slots__ = (
        "_alike",
        "_complete",
        "_driver",
        "_head",
        "_keeps",
        "_like",
        "_parser",
        "_said",
        "_transport",
        "broken",
        "busy",
        "bytes",
        "due",
        "events",
        "first",
        "gap",
        "open",
        "payload",
        "sent",
        "server",
        "timings",
        "tokens",
        "write",
    )  # fmt: skip

    def __init__(self, driver: Driver) -> None:
        self._driver, self._like, self._alike = driver, driver.like, driver.alike
        self.write: Callable[[bytes], None] = _nowhere
        self._transport: Any = None
        self._parser: Any = None
        self._complete = 0  # answers since the request was sent
        self._said = 0  # the last status
        self._head = b""
        self.broken = CLOSED  # how it was lost
        self.timings: list[Timing] = []
        self.open = self.busy = self._keeps = False
        self.due = self.sent = self.first = self.payload = self.bytes = self.events = self.gap = self.server = (
            self.tokens
        ) = 0

    def send(self, due_ns: int, payload: int) -> None:
        """Send a request that was due at `due_ns`."""
        self.due, self.payload = due_ns, payload
        self.first = self.bytes = 0
        self.busy = True
        self._parser = None
        self.sent = monotonic_ns()
        self.write(self._driver.requests[payload])

    def abort(self, outcome: int) -> None:
        """Give up the request under way, and the connection with it."""
        self._finish(outcome, self._said if self.bytes else 0, keep=False)

    def close(self) -> None:
        """Close a connection that has no request under way."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    # --- as asyncio calls it ---------------------------------------------------------------------------------------
    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # uvloop's own classes
        """The connection stands."""
        self._transport, self.write, self.open = transport, transport.write, True

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        like = self._like
        if len(data) == like.length and self.busy and not self.bytes and data.startswith(like.head):
            self._alike(self, monotonic_ns())
            return
        if not self.busy:
            self._driver.unasked()
            self.close()
            return
        if not self.bytes:
            self.first, self._head = monotonic_ns(), data
            self._parser, self._complete, self._said = httptools.HttpResponseParser(self), 0, 0
        elif len(self._head) < HEAD_BYTES:
            self._head += data
        self.bytes += len(data)
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._finish(UNEXPECTED, 101, keep=False)
        except httptools.HttpParserError:
            self._finish(MALFORMED, 0, keep=False)
        else:
            if self._complete:
                self._answered(keep=self._keeps)
            elif self.bytes > MOST_BYTES or self._driver.held_bytes > MOST_HELD_BYTES:
                self._finish(TOO_LARGE, self._said, keep=False)
            elif self.bytes > HEAD_BYTES and END not in self._head:
                self._finish(MALFORMED, 0, keep=False)

    def on_message_complete(self) -> None:
        """An answer is whole; those that only announce another one do not count."""
        self._said = self._parser.get_status_code()
        if self._said not in INTERIM:
            self._complete += 1
            # known here only: afterwards the parser awaits another answer
            self._keeps = self._driver.keeps and self._parser.should_keep_alive()

    def eof_received(self) -> None:
        """The server sends no more: that ends an answer whose length it did not say."""
        if not self.busy:
            self.open = False  # from now on: that it is lost is said a moment later
        elif self.bytes:
            self._ended_by_closing()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone; a request under way has failed."""
        self.open = False
        self.broken = _kind(error) if error else CLOSED
        if self.busy:
            outcome = self.broken if error else SHORT if self.bytes else CLOSED
            self._finish(outcome, self._said if self.bytes else 0, keep=False)
        self._driver.lost(self)

    # --- what came of it -------------------------------------------------------------------------------------------
    def _answered(self, *, keep: bool) -> None:
        status = self._said
        wanted = self._driver.statuses
        if self._complete > 1:
            self._finish(MALFORMED, status, keep=False)
        elif status in wanted if wanted else status in SUCCESS:
            if keep and self.bytes == len(self._head):
                self._remember(status)
            self._finish(OK if self.matches() else UNEXPECTED, status, keep=keep)
        else:
            self._finish(STATUS, status, keep=keep)

    def _remember(self, status: int) -> None:
        """Know the next answer by this one, if its head says how long it is."""
        head, _, body = self._head.partition(END)
        lowered = head.lower()
        like = self._driver.like
        like.length = -1
        if CODING not in lowered and not INTERIM_LINE.match(head) and len(body) == _length(lowered):
            like.head, like.length, like.status = head + END, len(head) + len(END) + len(body), status

    def _ended_by_closing(self) -> None:
        head, end, rest = self._head.partition(END)
        while end and INTERIM_LINE.match(head):  # it only announced this one
            head, end, rest = rest.partition(END)
        lowered = head.lower()
        if end and LENGTH not in lowered and CODING not in lowered:
            self._said, self._complete = self._parser.get_status_code(), 1
            self._answered(keep=False)
        else:
            self._finish(SHORT if end else CLOSED, 0, keep=False)

    def _finish(self, outcome: int, status: int, *, keep: bool) -> None:
        self.busy = False
        if not keep:
            self.close()
        self._driver.ended(self, outcome, status, monotonic_ns())

    def matches(self) -> bool:
        """Whether the answer is as expected; here nothing is."""
        return True


def _length(head: bytes) -> int:
    """What a head in small letters, which was parsed, says of its body's length; -1 if nothing."""
    _, name, rest = head.partition(LENGTH)
    return int(rest.partition(b"\n")[0]) if name else -1


class Checked(Connection):
    """A connection that keeps each answer's body until it is checked, and what its head says the server took; all are parsed."""

    __slots__ = ("_held", "_parts")

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self._parts: list[bytes] = []
        self._held = 0

    def send(self, due_ns: int, payload: int) -> None:
        """Send a request that was due at `due_ns`."""
        self.server, self.timings = 0, []
        super().send(due_ns, payload)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        if name.lower() == SERVER_TIMING:
            self.timings = [*self.timings, *timings(value)][:MOST_TIMINGS]
            self.server = server_ns(self.timings)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._parts.append(data)
        self._held += len(data)
        self._driver.held_bytes += len(data)

    def _finish(self, outcome: int, status: int, *, keep: bool) -> None:
        self._driver.held_bytes -= self._held
        self._parts, self._held = [], 0
        super()._finish(outcome, status, keep=keep)

    def _remember(self, status: int) -> None:
        pass

    def matches(self) -> bool:
        """Whether the driver's check holds."""
        check = self._driver.check
        return check is None or check(self.payload, b"".join(self._parts))


class Streamed(Checked):
    """A connection whose answers are server-sent events: the first one is what was waited for (of a generator of text, the first
    that has any), and gaps are kept.
    """

    __slots__ = ("_begun", "_carriage", "_data", "_last", "_rest", "_tail", "_wordless")

    def send(self, due_ns: int, payload: int) -> None:
        """Send a request that was due at `due_ns`."""
        self.events = self.gap = self._last = self.tokens = 0
        self._rest, self._carriage, self._data, self._tail = b"", False, False, b""
        self._begun, self._wordless = False, True
        super().send(due_ns, payload)

    def on_body(self, data: bytes) -> None:
        """A piece of the stream: count the events that it ends."""
        now = monotonic_ns()
        ended = self._ended(data)
        if ended:
            if not self.events or (self._wordless and self._begun):
                self.first, self.gap = now, 0
            else:
                self.gap = max(self.gap, now - self._last)
            self.events, self._last, self._wordless = self.events + ended, now, not self._begun
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        if self._driver.check is not None:
            super().on_body(data)

    def on_message_complete(self) -> None:
        """The stream is whole: near its end a generator of text may tell its tokens."""
        super().on_message_complete()
        told = GENERATED.findall(self._tail)
        self.tokens = int(told[-1]) if told else 0

    def _ended(self, data: bytes) -> int:
        """How many events end in this piece: blocks of lines with data in them, each ended by an empty line. A line ends with
        CR LF, LF or CR (WHATWG HTML, 9.2.6); of one that has not ended only its begin is kept, and more before any text.
        """
        if self._carriage and data.startswith(b"\n"):
            data = data[1:]
        self._carriage = data.endswith(b"\r")
        text = self._rest + data
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._rest = rest[: len(FIELD) + 1 if self._begun else WORDLESS_BYTES]
        ended = 0
        for each in lines:
            if each.startswith(FIELD) and (len(each) == len(FIELD) or each[len(FIELD)] == COLON):
                self._data = True
                self._begun = self._begun or WORDLESS.search(each, 0, WORDLESS_BYTES) is None
            elif not each and self._data:
                self._data, ended = False, ended + 1
        return ended


# --- what a server says it took ------------------------------------------------------------------------------------
def timings(value: bytes) -> list[Timing]:
    """The metrics of a Server-Timing header (W3C) that tell how long they took; of a parameter the first one counts.

    `at` is our own middleware's: milliseconds after the server got the request.
    """
    found = []
    for metric in QUOTED.sub(_unquoted, value[:TIMING_BYTES]).split(b",", MOST_TIMINGS)[:MOST_TIMINGS]:
        name, *parameters = metric.split(b";")
        told: dict[bytes, int] = {}
        for each in parameters:
            key, _, given = each.partition(b"=")
            told.setdefault(key.strip().lower(), _ns(given.strip()))
        if told.get(b"dur", -1) >= 0 and METRIC_NAME.fullmatch(name.strip()):
            found.append((name.strip(), told.get(b"at", -1), told[b"dur"]))
    return found


def _ns(given: bytes) -> int:
    """Nanoseconds; -1 where it is no number of milliseconds."""
    return int(min(float(given), LONGEST_MS) * 1e6) if MILLISECONDS.fullmatch(given) else -1


def _unquoted(found: re.Match[bytes]) -> bytes:
    """A quoted text without what separates metrics: only a number may matter."""
    return found[1] if MILLISECONDS.fullmatch(found[1]) else b""


def server_ns(told: Sequence[Timing]) -> int:
    """Nanoseconds of the metric `total`, else the sum of all; 0 without any."""
    found = {name.lower(): ns for name, _, ns in told}
    return found.get(TOTAL, sum(found.values()))


# --- checks of answers ---------------------------------------------------------------------------------------------
class Same:
    """Each payload's answers are byte for byte its first one."""

    def __init__(self) -> None:
        self._first: dict[int, bytes] = {}

    def __call__(self, payload: int, body: bytes) -> bool:
        """Whether an answer is as the first one to its payload."""
        known = body if len(body) < SHORT_BYTES else b"%d %b" % (len(body), blake2b(body).digest())
        return self._first.setdefault(payload, known) == known


class At:
    """The answer is JSON that has `text` at `path`, whose steps are names and numbers joined by dots."""

    def __init__(self, path: str, text: str) -> None:
        self._steps = [step for step in path.split(".") if step and step != "$"]
        self._text = text

    def __call__(self, _payload: int, body: bytes) -> bool:
        """Whether an answer has the value; what is no JSON has none."""
        try:
            found = json.loads(body)
            for step in self._steps:
                found = found[int(step)] if isinstance(found, list) else found[step]
            return bool(found == self._text) or json.dumps(found) == self._text
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            return False


def _nowhere(_data: bytes) -> None:
    """What a connection writes to before it stands."""


# --- connecting ----------------------------------------------------------------------------------------------------
def kind_of(error: BaseException) -> int:
    """The outcome of a request whose connection could not be made."""
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return REFUSED
    return _kind(error)


def _kind(error: BaseException) -> int:
    if isinstance(error, ssl.SSLError | ssl.CertificateError):
        return TLS
    if isinstance(error, TimeoutError):
        return TIMEOUT
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return RESET
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EMFILE, errno.ENFILE):
        return NO_DESCRIPTOR
    return UNREACHABLE if number in _UNREACHABLE else RESET
