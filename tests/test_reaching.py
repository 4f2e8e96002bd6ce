"""Trips to a server -> how far it is: means over those that tell, and what gzip leaves of an answer."""

from __future__ import annotations

import os

import pytest

from pinchpoint.load.trips import TcpInfo, Trip
from pinchpoint.reaching import wire_of

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def a_trip(round_trip_s=0.02, at_s=(0.0, 0.1), **told):
    known = {
        "segment_bytes": 1448,
        "received_bytes": 14_480,
        "segments": 10,
        "sent": 5,
        "sent_again": 0,
        "rate_bytes_per_s": 1e6,
    }
    return Trip(at_s, TcpInfo(round_trip_s, **(known | told)))


def test_means_over_trips():
    found = wire_of([a_trip(0.02), a_trip(0.03, sent_again=2), a_trip(0.04)], far=True, answer=None)
    assert found.round_trip.value == pytest.approx(0.03)
    assert found.round_trip.low < 0.03 < found.round_trip.high
    assert (found.round_trip.n, found.fullness.value, found.rate_bytes_per_s.value) == (3, 1.0, 1e6)
    assert (found.segments, found.sent_again) == (15, 2)
    assert (found.answer_s.value, found.paused_s.value, found.pause_s.value) == pytest.approx((0.1, 0.1, 0.1))


def test_what_no_trip_tells_is_not_known():
    assert wire_of([], far=True, answer=None).round_trip is None
    silent = TcpInfo(*[None] * 7)
    found = wire_of([Trip((), silent), Trip((), silent)], far=True, answer=None)
    for name in ("round_trip", "rate_bytes_per_s", "answer_s", "paused_s", "pause_s", "fullness", "packed"):
        assert getattr(found, name) is None, name


def test_one_trip_is_enough():
    found = wire_of([a_trip()], far=True, answer=None)
    assert (found.round_trip.low, found.round_trip.high, found.round_trip.n) == (0.02, 0.02, 1)


def test_what_gzip_leaves_is_of_the_body():
    zeros = wire_of([], far=True, answer=HEAD + bytes(100_000)).packed
    assert 0 < zeros.low <= zeros.value <= zeros.high < 0.01
    noise = wire_of([], far=True, answer=HEAD + os.urandom(100_000)).packed
    assert noise.value == 1.0
    assert wire_of([], far=True, answer=HEAD).packed is None
    assert wire_of([], far=False, answer=HEAD + bytes(100)).packed is None  # here it is not sent through a network
