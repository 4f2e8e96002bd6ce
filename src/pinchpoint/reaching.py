"""Trips to a server -> how far it is, how its answer comes, and how small that could be made."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.service import Wire
from pinchpoint.domain.traffic import Traffic
from pinchpoint.load.addresses import is_local, resolved
from pinchpoint.load.engine import Met
from pinchpoint.load.sending import Sending, tls_context
from pinchpoint.load.trips import MOST_S, Trip, trips

GZIP_LEVELS = (6, 9, 1)  # the usual, the smallest and the fastest one
GZIP_BYTES = 1 << 16  # of an answer, from its middle
BODY = b"\r\n\r\n"


def reach(sending: Sending, met: Met, traffic: Traffic) -> Wire:
    """What some requests of their own tell of the way to the server, as far apart as the user permits; of one that is slow,
    connections only.
    """
    spacing_s = 1 / traffic.most_per_s if traffic.most_per_s else 0.0
    address = sending.address
    asks = address.kind == "http" and met.greeted.seconds < MOST_S
    asked = met.request if asks else None
    found = trips(address, met.greeted.host, asked, traffic.timeout_s, tls_context(sending), spacing_s)
    return wire_of(
        found, far=not is_local(resolved(address)), answer=met.greeted.raw if address.kind == "http" else None
    )


def wire_of(found: Sequence[Trip], *, far: bool, answer: bytes | None) -> Wire:
    """The means over trips, and the smallest share of an answer that compressing leaves."""
    told = [each.told for each in found]
    return Wire(
        far=far,
        round_trip=_mean([each.round_trip_s for each in told]),
        rate_bytes_per_s=_mean([each.rate_bytes_per_s for each in told]),
        answer_s=_mean([each.answer_s for each in found]),
        paused_s=_mean([sum(each.pauses_s) for each in found if each.at_s]),
        pause_s=_mean([max(each.pauses_s, default=0.0) for each in found if each.at_s]),
        fullness=_mean([each.fullness for each in told]),
        segments=sum(each.sent or 0 for each in told),
        sent_again=sum(each.sent_again or 0 for each in told),
        packed=_packed(answer) if answer is not None and far else None,
    )


def _mean(values: Sequence[float | None]) -> Quantity | None:
    known = [each for each in values if each is not None]
    if not known:
        return None
    found = stats.independent_mean(known)
    return Quantity(found.value, max(found.low, 0.0), found.high, found.n)


def _packed(answer: bytes) -> Quantity | None:
    """The share of an answer's bytes that gzip would leave; its ends are those of its levels."""
    body = answer.partition(BODY)[2]
    part = body[max(len(body) - GZIP_BYTES, 0) // 2 :][:GZIP_BYTES]
    if not part:
        return None
    value, low, high = (min(len(zlib.compress(part, level)) / len(part), 1.0) for level in GZIP_LEVELS)
    return Quantity(value, min(value, low), max(value, high), 1)
