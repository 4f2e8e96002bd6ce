"""A few requests on new connections of their own: how far the server is and how its answer comes, by the kernel (TCP_INFO).

Each part of an answer is acknowledged at once here (TCP_QUICKACK). Elsewhere the kernel waits up to 40 ms with it, in the hope
of sending something along: a server that holds its next small packet back until then (Nagle's algorithm) is told by that.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import httptools

from pinchpoint.load.addresses import Address
from pinchpoint.load.greeting import Answer, opened, pieces
from pinchpoint.load.wire import MOST_BYTES

MOST, MOST_S = 8, 1.0  # trips, and for how long another one is begun
# struct tcp_info of linux/tcp.h, which only ever grew: older kernels give less of it.
INFO_BYTES = 256
APP_LIMITED_AT, LIMITED = 7, 1
SEGMENT_AT, SENT_AGAIN_AT, SENT_AT, ROUND_TRIP_AT, SEGMENTS_IN_AT = 84, 100, 136, 148, 152
RECEIVED_AT, RATE_AT = 128, 160
NO_ROUND_TRIP = 0xFFFFFFFF
US = 1_000_000
PAUSE = 0.05  # of an answer's time: shorter ones are how pieces are taken in


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """What the kernel knows of a connection; None where it is too old to tell, or has not seen it.

    `round_trip_s` is the shortest one. `segment_bytes` is the most that a segment from the other end holds, `segments` are those
    with data that came. `rate_bytes_per_s` is how fast our own bytes were taken; None where we did not send enough to know.
    """

    round_trip_s: float | None
    segment_bytes: int | None
    received_bytes: int | None
    segments: int | None
    sent: int | None
    sent_again: int | None
    rate_bytes_per_s: float | None

    @property
    def fullness(self) -> float | None:
        """How full the segments were that came: 1 is full."""
        if not (self.segments and self.segment_bytes and self.received_bytes):
            return None
        return self.received_bytes / self.segments / self.segment_bytes


def tcp_info(raw: bytes) -> TcpInfo:
    """The fields of a `struct tcp_info` as this machine's kernel gives it."""
    round_trip, rate = _number(raw, ROUND_TRIP_AT), _number(raw, RATE_AT, "=Q")
    limited = len(raw) <= APP_LIMITED_AT or raw[APP_LIMITED_AT] & LIMITED
    return TcpInfo(
        round_trip_s=None if round_trip in (None, 0, NO_ROUND_TRIP) else round_trip / US,
        segment_bytes=_number(raw, SEGMENT_AT),
        received_bytes=_number(raw, RECEIVED_AT, "=Q"),
        segments=_number(raw, SEGMENTS_IN_AT),
        sent=_number(raw, SENT_AT),
        sent_again=_number(raw, SENT_AGAIN_AT),
        rate_bytes_per_s=float(rate) if rate and not limited else None,
    )


def _number(raw: bytes, at: int, kind: str = "=I") -> int | None:
    if len(raw) < at + struct.calcsize(kind):
        return None
    number: int = struct.unpack_from(kind, raw, at)[0]
    return number


@dataclass(frozen=True, slots=True)
class Trip:
    """A request on a connection of its own: when the pieces of its answer came, in seconds from the first one on (none where
    nothing was asked), and what the kernel told.
    """

    at_s: tuple[float, ...]
    told: TcpInfo

    @property
    def answer_s(self) -> float | None:
        """Seconds from the first piece to the last."""
        return self.at_s[-1] if self.at_s else None

    @property
    def pauses_s(self) -> tuple[float, ...]:
        """The pauses between two pieces that take more than a twentieth of the answer's time."""
        gaps = (later - earlier for earlier, later in pairwise(self.at_s))
        return tuple(gap for gap in gaps if gap > PAUSE * self.at_s[-1])


def trips(
    address: Address,
    host: str,
    request: bytes | None,
    timeout_s: float,
    tls: ssl.SSLContext | None,
    spacing_s: float = 0.0,
) -> tuple[Trip, ...]:
    """Up to `MOST` of them, one after the other and so far apart; fewer where they are slow or fail. A connection is all
    without a request.
    """
    found: list[Trip] = []
    end = time.monotonic() + MOST_S
    while len(found) < MOST and (not found or time.monotonic() + spacing_s < end):
        time.sleep(spacing_s)  # after the request before, whoever sent it
        try:
            with opened(address, host, timeout_s, tls) as connection:
                found.append(_trip(connection, request, timeout_s))
        except (OSError, ValueError, httptools.HttpParserError, httptools.HttpParserUpgrade):
            break
    return tuple(found)


def _trip(connection: socket.socket, request: bytes | None, timeout_s: float) -> Trip:
    at: list[float] = []
    if request is not None:
        connection.sendall(request)
        at = list(_arrivals(connection, timeout_s))
    told = tcp_info(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_BYTES))
    return Trip(tuple(each - at[0] for each in at), told)


def _arrivals(connection: socket.socket, timeout_s: float) -> Iterator[float]:
    """When each piece of the answer came. OSError where it does not come whole."""
    answer, size = Answer(), 0
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    for data in pieces(connection, time.monotonic() + timeout_s):
        yield time.monotonic()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        size += len(data)
        answer.parser.feed_data(data)
        if answer.complete:
            return
        if size > MOST_BYTES:
            break
    if answer.lengthy or not size or size > MOST_BYTES:
        raise ConnectionResetError
