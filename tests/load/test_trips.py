"""What the kernel tells of a connection, by bytes recorded beside what `ss` says of the same one, and trips to servers of all kinds."""

from __future__ import annotations

import time

import pytest

import hostile_server as h
from pinchpoint.load import trips as module
from pinchpoint.load.addresses import parse
from pinchpoint.load.trips import TcpInfo, Trip, tcp_info, trips

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
# 200,000 bytes sent and 60,000 received over a line of 10 ms. ss -ti: segs_out:179 data_segs_in:42 bytes_received:60000
# advmss:1448 minrtt:10.138 delivery_rate 75383944bps
RECORDED = bytes.fromhex(
    "010000000007aa00203c0300409c0000a8050000a8050000000000000000000000000000000000000000000020000000000000000000000000000000"
    "dc05000080ab01001528000020000000ffffff7f95000000a805000003000000fa270000786b00000000000027e99a0100000000ffffffffffffffff"
    "410d03000000000060ea000000000000b30000008a000000000000009a2700002a0000008b00000091c88f000000000020cb00000000000000000000"
    "0000000000000000000000008c00000000000000400d03000000000000000000000000000000000000000000000000000018030000ac010000000000"
    "00000000000000000000000000000000"
)


def test_what_the_kernel_tells_is_what_ss_says():
    assert tcp_info(RECORDED) == TcpInfo(0.010138, 1448, 60_000, 42, 179, 0, 9_422_993.0)
    assert tcp_info(RECORDED).fullness == pytest.approx(60_000 / 42 / 1448)


@pytest.mark.parametrize(("length", "unknown"), [
    (160, {"rate_bytes_per_s"}),
    (148, {"rate_bytes_per_s", "round_trip_s", "segments"}),
    (104, {"rate_bytes_per_s", "round_trip_s", "segments", "sent", "received_bytes"}),
    (0, set(TcpInfo.__slots__)),
])  # fmt: skip
def test_an_older_kernel_tells_less(length, unknown):
    found = tcp_info(RECORDED[:length])
    assert {name for name in TcpInfo.__slots__ if getattr(found, name) is None} == unknown
    assert (found.fullness is None) == ("segments" in unknown)


def test_a_rate_that_the_program_itself_set_is_no_rate_of_the_network():
    limited = bytearray(RECORDED)
    limited[7] |= 1
    assert tcp_info(bytes(limited)).rate_bytes_per_s is None


@pytest.mark.parametrize("never", [0, 0xFFFFFFFF])
def test_a_round_trip_that_was_never_seen_is_not_known(never):
    assert tcp_info(RECORDED[:148] + never.to_bytes(4, "little") + RECORDED[152:]).round_trip_s is None


@pytest.mark.parametrize(("at_s", "answer_s", "pauses_s"), [
    ((), None, ()),
    ((0.0,), 0.0, ()),
    ((0.0, 1.0), 1.0, (1.0,)),
    ((0.0, 0.04, 0.6, 0.64, 1.0), 1.0, (0.56, 0.36)),
    (tuple(n / 100 for n in range(101)), 1.0, ()),
])  # fmt: skip
def test_pauses_of_an_answer(at_s, answer_s, pauses_s):
    found = Trip(at_s, tcp_info(RECORDED))
    assert found.answer_s == answer_s
    assert found.pauses_s == pytest.approx(pauses_s)


def gone_to(server, request=REQUEST, timeout_s=0.5):
    return trips(parse(server.url), "127.0.0.1", request, timeout_s, None)


@pytest.mark.parametrize("behaviour", [h.good, h.says_close, h.until_close, h.closes_after, h.unavailable])
def test_each_trip_has_a_connection_of_its_own(behaviour):
    with h.Server(behaviour) as server:
        found = gone_to(server)
        assert server.requests == len(found) == module.MOST
    assert all(0 <= each.answer_s < 1 for each in found)
    assert all(each.told.received_bytes > 0 and 0 < each.told.round_trip_s < 1 for each in found)


def test_pieces_are_timed():
    def in_two(call):
        call.write(h.ANSWER[:20])
        call.later(0.05, call.write, h.ANSWER[20:])

    with h.Server(in_two) as server:
        found = gone_to(server)
    assert all(0.04 < each.answer_s < 0.5 and each.pauses_s == (each.answer_s,) for each in found)


@pytest.mark.parametrize(
    "behaviour", [h.silent, h.closes, h.resets, h.resets_midway, h.closes_midway, h.malformed, h.huge_body]
)
def test_a_server_that_fails_ends_the_trips(behaviour, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 20)
    with h.Server(behaviour) as server:
        began = time.monotonic()
        assert gone_to(server, timeout_s=0.3) == ()
        assert time.monotonic() - began < 5


def test_without_a_request_connections_are_only_made():
    with h.Server(h.good) as server:
        found = gone_to(server, None)
        assert server.requests == 0
    assert len(found) == module.MOST
    assert {each.answer_s for each in found} == {None}
    assert all(each.told.round_trip_s > 0 for each in found)


def test_nobody_there():
    assert trips(parse(f"http://127.0.0.1:{h.unused_port()}/"), "127.0.0.1", REQUEST, 0.5, None) == ()


@pytest.mark.parametrize(("spacing_s", "asked"), [(0.0, 8), (0.3, 3), (2.0, 1)])
def test_no_more_are_sent_than_is_permitted(monkeypatch, spacing_s, asked):
    """GIVEN a clock that only sleeping moves THEN trips are that far apart, within a second, and one goes in any case."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(module, "_trip", lambda *_: now[0])
    with h.Server(h.good) as server:
        found = trips(parse(server.url), "127.0.0.1", REQUEST, 0.5, None, spacing_s)
    assert found == pytest.approx([spacing_s * number for number in range(1, asked + 1)])


def test_a_slow_server_is_asked_once(monkeypatch):
    monkeypatch.setattr(module, "MOST_S", 0.0)
    with h.Server(h.good) as server:
        assert len(gone_to(server)) == 1
