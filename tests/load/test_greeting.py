"""The first request: whom it reaches, and in what line it ends where it reaches nobody who answers."""

from __future__ import annotations

import time

import pytest

import hostile_server as h
from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.load import greeting
from pinchpoint.load.addresses import parse
from pinchpoint.load.greeting import greet

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def greeted(server, timeout_s=3.0, url=None):
    return greet(parse(url or server.url), ("127.0.0.1",), REQUEST, timeout_s, None)


@pytest.mark.parametrize(
    ("behaviour", "status", "keeps", "size"),
    [
        (h.good, 200, True, len(h.ANSWER)),
        (h.says_close, 200, False, None),
        (h.until_close, 200, False, None),
        (h.closes_after, 200, False, len(h.ANSWER)),  # its head says nothing of it
        (h.unavailable, 503, True, None),
        (h.missing, 404, True, None),
        (h.redirects, 302, True, None),
        pytest.param(h.loris, 200, True, len(h.ANSWER), marks=pytest.mark.slow),
        (lambda call: call.write(b"HTTP/1.1 100 Continue\r\n\r\n" + h.ANSWER), 200, True, None),
        (lambda call: call.write(b"HTTP/1.1 204 No Content\r\n\r\n"), 204, True, None),
        (lambda call: call.write(h.answer(body=bytes(3 << 20))), 200, True, None),
    ],
)
def test_what_is_an_answer(behaviour, status, keeps, size):
    with h.Server(behaviour) as server:
        found = greeted(server, 10.0)
        assert server.requests == 1
    assert (found.status, found.keeps, found.host) == (status, keeps, "127.0.0.1")
    assert size is None or (found.size == size and found.raw == h.ANSWER)
    assert found.raw is None or len(found.raw) == found.size <= greeting.KEPT_BYTES


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (h.silent, "no answer to the first request within 0.3 s"),
        (h.closes, "closed the connection without an answer"),
        (h.closes_midway, "closed the connection before its first answer was whole"),
        (h.resets, "broke the connection at the first request"),
        (h.resets_midway, "broke the connection at the first request"),
        (h.malformed, "not HTTP/1.1"),
        (h.escapes_esc, "not HTTP/1.1"),
        (h.endless_head, "a head of more than 64 kB"),
        (h.endless_line, "a head of more than 64 kB"),
        (h.huge_body, "more than"),
        (h.endless_body, "more than"),
        (lambda call: call.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
         "another protocol"),
        (lambda call: call.endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), "more than"),
    ],
)  # fmt: skip
def test_what_is_none(behaviour, words, monkeypatch):
    monkeypatch.setattr(greeting, "MOST_BYTES", 4 << 20)
    with h.Server(behaviour) as server, pytest.raises(TargetFailed) as caught:
        greeted(server, 0.3 if behaviour is h.silent else 20.0)
    assert words in str(caught.value)
    assert str(caught.value).startswith(server.url)
    assert caught.value.todo


def test_a_byte_now_and_then_does_not_prolong_the_wait():
    begin = time.monotonic()
    with h.Server(h.loris) as server, pytest.raises(TargetFailed, match=r"within 0\.5 s"):
        greeted(server, 0.5)
    assert time.monotonic() - begin < 2.0


def test_nobody_is_there(tmp_path):
    with pytest.raises(BadInput, match="nothing listens there"):
        greeted(None, url=f"http://127.0.0.1:{h.unused_port()}/")
    with pytest.raises(BadInput, match="no such socket"):
        greeted(None, url="http+unix://" + str(tmp_path / "absent.sock").replace("/", "%2F"))
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="nothing listens there"):
        greeted(None, url="http+unix://" + str(tmp_path / "file").replace("/", "%2F"))
    with pytest.raises(BadInput, match="path too long"):
        greeted(None, url="http+unix://%2F" + "x" * 200)


def test_a_unix_socket(tmp_path):
    with h.Server(unix=str(tmp_path / "a.sock")):
        found = greeted(None, url="http+unix://" + str(tmp_path / "a.sock").replace("/", "%2F"))
    assert found.raw == h.ANSWER


def test_a_server_that_accepts_nothing():
    with h.Server(accepts=False, backlog=0) as server:
        with pytest.raises(TargetFailed, match="no answer to the first request"):
            greeted(server, 0.3)  # the first connection finds room in the queue
        with pytest.raises((BadInput, TargetFailed), match=r"accepts no connection in time|no answer"):
            greeted(server, 0.3)


@pytest.mark.parametrize("timeout_s", [1e-6, 1e7, 1e15])
def test_any_timeout_will_do(timeout_s):
    with h.Server() as server:
        if timeout_s < 1:
            with pytest.raises((BadInput, TargetFailed)):
                greeted(server, timeout_s)
        else:
            assert greeted(server, timeout_s).status == 200


def test_the_next_address_is_tried():
    with h.Server() as server:
        found = greet(parse(server.url), ("127.0.0.2", "127.0.0.1"), REQUEST, 3.0, None)
    assert found.host == "127.0.0.1"


def test_a_server_that_says_escapes():
    with h.Server(h.escapes) as server:
        assert greeted(server).server.isprintable()


def test_a_stream_is_known():
    head = b"Content-Type: Text/Event-Stream; charset=utf-8\r\n"
    with h.Server(lambda call: call.write(h.answer(body=b"data: a\n\n", more=head))) as server:
        assert greeted(server).stream
    with h.Server() as server:
        assert not greeted(server).stream
