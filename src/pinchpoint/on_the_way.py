"""Run of a server -> what its requests take on the way there and back, each part from a source of its own.

- As for a server that does nothing: one on this machine, asked alone with the same bytes.
- A new connection: from the moment when a request was due to the one when it was sent, by the client's clock.
- The way there and back: the shortest round trip that the kernel saw on a connection (TCP_INFO); a lower end, since a longer one
  may be the server's own delay. Only where the server is beyond this machine.
- Bytes: from an answer's first byte to its last where its segments are full and come without a pause, since who computes an
  answer piece by piece sends pieces of its own; and a request's bytes over the rate at which they were taken.
- Small packets that wait: from the first byte to the last of a small answer that comes at once where each part of it is
  acknowledged at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Floats, Run
from pinchpoint.domain.service import (
    CONNECT,
    CONNECTING,
    DISTANCE,
    INSIDE_UNSEEN,
    RECEIVING,
    STALL,
    TRANSFER,
    WIRE,
    Service,
    Wire,
)
from pinchpoint.timeline import Mask

NOTHING, CLIENT, KERNEL = "a server that does nothing", "the client's clock", "TCP_INFO"
REQUEST, ANSWER = "request", "answer"
FIRST_WINDOW = 14_000  # bytes that are sent before the first acknowledgement: ten segments (RFC 6928)
LEAST_STALL_S = (
    0.010  # an acknowledgement is held back for 40 ms (Linux, TCP_DELACK_MIN); a mean of several requests may be less
)
FULL = 0.8  # of a segment's room: smaller path limits and options leave as much
PAUSED = 0.5  # of an answer's time: a link that is full makes no pauses, but while a connection begins
ROUND = 1.5  # of a round trip: the pause between two windows of a connection that begins slowly
GROWING = 3  # round trips: a request whose bytes are taken in fewer of them is sent in windows that still grow


@dataclass(frozen=True, slots=True)
class Part:
    """Seconds a request of one kind on the way (`site`); `label` says which message, where it is one."""

    site: str
    source: str
    seconds: Quantity
    label: str = ""


def on_the_way(run: Run, chosen: Mask) -> tuple[Part, ...]:
    """What the requests of `chosen` take on the way."""
    service = run.service
    assert service is not None
    alike = not len(run.asked.load)  # one input, that of the trips
    return tuple(_parts(service, _seconds(run, CONNECTING, chosen), _seconds(run, RECEIVING, chosen), alike=alike))


def inside_unseen(run: Run, chosen: Mask, ways: Sequence[Part]) -> tuple[Part, ...]:
    """What they take at a server beyond this machine that cannot be looked into: until the first byte of the answer comes, or the
    last one of a stream, less what is known of the way.
    """
    service = run.service
    if service is None or service.wire is None or not service.wire.far:
        return ()
    waited = run.requests.latency_s[chosen] - _seconds(run, CONNECTING, chosen)
    if service.stream is None:
        waited = waited - _seconds(run, RECEIVING, chosen)
    others = sum(each.seconds.value for each in ways if each.site != CONNECT and each.label != ANSWER)
    return (Part(INSIDE_UNSEEN, CLIENT, _shorter(_mean(waited), others)),)


def _parts(service: Service, connecting: Floats, receiving: Floats, *, alike: bool) -> Iterator[Part]:
    wire, itself = service.wire, service.round_trip
    if itself is not None:
        yield Part(WIRE, NOTHING, itself)
    if np.any(connecting):
        yield Part(CONNECT, CLIENT, _mean(connecting))
    if wire is not None and wire.far:
        yield from _far(service, wire, alike=alike)
    if wire is not None and alike and np.any(receiving):
        yield from _answer(service, wire, _shorter(_mean(receiving), itself.value if itself else 0.0))


def _seconds(run: Run, name: str, chosen: Mask) -> Floats:
    """How long a part of each chosen request took."""
    spans = run.spans
    mine = spans.name == run.span_names.index(name) if name in run.span_names else np.zeros(len(spans.name), bool)
    lengths = (spans.end_ns - spans.begin_ns)[mine] / 1e9
    found = np.zeros(len(run.requests.index))
    np.add.at(found, spans.index[mine], lengths)
    return found[chosen]


def _mean(seconds: Floats) -> Quantity:
    return stats.mean_interval(seconds) if len(seconds) > 1 else exact(float(seconds.mean()), len(seconds))


def _shorter(seconds: Quantity, by: float) -> Quantity:
    value, low, high = (max(end - by, 0.0) for end in (seconds.value, seconds.low, seconds.high))
    return Quantity(value, low, high, seconds.n)


def _far(service: Service, wire: Wire, *, alike: bool) -> Iterator[Part]:
    if wire.round_trip is not None:
        yield Part(DISTANCE, KERNEL, wire.round_trip)
    rate = wire.rate_bytes_per_s
    if alike and rate is not None and rate.low > 0 and service.request_bytes > FIRST_WINDOW:
        value, low, high = (service.request_bytes / end for end in (rate.value, rate.high, rate.low))
        if value > GROWING * (wire.round_trip.value if wire.round_trip else 0.0):
            yield Part(TRANSFER, KERNEL, Quantity(value, low, high, rate.n), REQUEST)


def _answer(service: Service, wire: Wire, receiving: Quantity) -> Iterator[Part]:
    """What an answer takes from its first byte to its last, where that is known to be the network's."""
    alone, paused, pause = wire.answer_s, wire.paused_s, wire.pause_s
    if alone is None or paused is None or pause is None or service.stream is not None:
        return
    if service.answer_bytes <= FIRST_WINDOW:
        if receiving.value - alone.value > LEAST_STALL_S:
            yield Part(STALL, CLIENT, receiving, ANSWER)
    elif wire.far and wire.fullness is not None and wire.fullness.value > FULL:
        if paused.value < PAUSED * alone.value:
            yield Part(TRANSFER, CLIENT, receiving, ANSWER)
        elif wire.round_trip is not None and pause.value < ROUND * wire.round_trip.value:
            yield Part(DISTANCE, CLIENT, receiving, ANSWER)
