"""Server-sent events from bytes: which one was waited for, the gaps between them, and the tokens that they tell."""

from __future__ import annotations

import pytest
from test_wire import HEAD, OK, UNEXPECTED, Driver, cut

from pinchpoint.load import wire
from pinchpoint.load.wire import Same, Streamed

STREAM = HEAD + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n" if data else b"0\r\n\r\n"


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    ("lines", "events"),
    [
        ([b"data: a", b"", b"data: b", b"", b"data: [DONE]", b""], 3),
        ([b"event: token", b"data: a", b"id: 1", b"", b"data:b", b""], 2),
        ([b"data: a", b"data: b", b""], 1),
        ([b"data", b""], 1),
        ([b": ping", b"", b"data: a", b""], 1),  # a comment is no event: servers send it to keep the connection
        ([b"", b"", b"data: a", b"", b"", b"", b"data: b", b"", b""], 2),
        ([b"retry: 100", b"", b"id: 3", b""], 0),
        ([b"data: a", b"", b"data: cut off"], 1),
        ([b"database: a", b""], 0),
    ],
)
def test_events_of_a_stream(line, lines, events):
    text = b"".join(each + line for each in lines)
    for size in (1, 2, 3, len(text)):
        driver = Driver(Streamed).ask(STREAM, *(chunk(piece) for piece in cut(text, size)), chunk(b""))
        assert driver.outcomes == [(OK, 200)]
        assert driver.connection.events == events, size


def test_the_first_event_is_what_was_waited_for(monkeypatch):
    now = [0]
    monkeypatch.setattr(wire, "monotonic_ns", lambda: now[0])
    driver, seen = Driver(Streamed), []
    for at, piece in [
        (10, None), (20, STREAM), (30, chunk(b": wait\n\n")), (40, chunk(b"data: a\n")), (50, chunk(b"\n")),
        (60, chunk(b"data: b\n\n")), (90, chunk(b"data: c\n\n")), (95, chunk(b"")),
    ]:  # fmt: skip
        now[0] = at
        if piece is None:
            driver.connection.send(10, 0)
        else:
            driver.connection.data_received(piece)
        seen.append((driver.connection.first, driver.connection.events, driver.connection.gap))
    assert seen[4:] == [(50, 1, 0), (50, 2, 10), (50, 3, 30), (50, 3, 30)]
    assert driver.outcomes == [(OK, 200)]
    now[0] = 100
    driver.connection.send(100, 0)
    assert (driver.connection.events, driver.connection.gap, driver.connection.first) == (0, 0, 0)


def came(monkeypatch, events, size=1 << 20):
    """The connection after these (moment, event), in pieces of a size, of a request that was sent at 10."""
    now = [0]
    monkeypatch.setattr(wire, "monotonic_ns", lambda: now[0])
    driver = Driver(Streamed)
    driver.connection.send(10, 0)
    driver.connection.data_received(STREAM)
    for now[0], event in events:
        for piece in cut(event, size):
            driver.connection.data_received(chunk(piece))
    return driver.connection


def says(text):
    return b'data: {"choices":[{"index":0,"delta":' + text + b',"finish_reason":null}]}\n\n'


@pytest.mark.parametrize("announced", [
    b'{"role":"assistant"}', b'{"role": "assistant", "content": ""}', b'{"role":"assistant","content":null,"tool_calls":[]}', b"{}",
])  # fmt: skip
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_who_speaks_is_no_text_yet(monkeypatch, announced, size):
    """GIVEN a stream that first tells who speaks THEN its first event is the one with text, and gaps count from there."""
    events = [(20, announced), (70, b'{"content":"a"}'), (75, b'{"content":""}'), (79, b'{"content":"b"}')]
    seen = came(monkeypatch, [(at, says(text)) for at, text in events], size)
    assert (seen.first, seen.events, seen.gap) == (70, 4, 5)


def test_a_stream_without_any_text_began_with_its_first_event(monkeypatch):
    without = [(90, b'data: {"choices":[],"usage":{}}\n\n'), (95, b"data: [DONE]\n\n")]
    assert came(monkeypatch, [(20, says(b'{"role":"assistant"}')), *without]).first == 20


@pytest.mark.parametrize("hostile", [b'"delta":{' + b'"a":"" ' * 400, b'"delta":{' + b" " * 2000, b'"delta":' * 300])
def test_a_line_that_is_made_to_be_slow_to_read_is_not(hostile):
    assert wire.WORDLESS.search(b"data: " + hostile, 0, wire.WORDLESS_BYTES) is None  # or it never ends


def test_an_event_without_end_takes_no_memory():
    driver = Driver(Streamed).ask(STREAM)
    for _ in range(20):
        driver.connection.data_received(chunk(b"data: " + b"x" * 100_000))
    assert len(driver.connection._rest) <= wire.WORDLESS_BYTES
    driver.connection.data_received(chunk(b"\n\n") + chunk(b""))
    assert driver.connection.events == 1


def test_a_stream_is_checked_too():
    driver = Driver(Streamed, check=Same())
    for text in (b"data: a\n\n", b"data: a\n\n", b"data: b\n\n"):
        driver.ask(STREAM, chunk(text), chunk(b""))
    assert [each for each, _ in driver.outcomes] == [OK, OK, UNEXPECTED]


@pytest.mark.parametrize(("last", "tokens"), [
    (b'data: {"usage":{"prompt_tokens":9,"completion_tokens":32,"total_tokens":41}}\n\ndata: [DONE]\n\n', 32),
    (b'data: {"usage": {"completion_tokens" : 7}, "more": "' + b"x" * 1000 + b'"}\n\n', 7),
    (b'data: {"completion_tokens":1}\n\ndata: {"completion_tokens":2}\n\n', 2),  # told as they come
    (b'data: {"completion_tokens":' + b"9" * 40 + b"}\n\n", 0),
    (b'data: {"completion_tokens":"many"}\n\n', 0),
    (b"data: [DONE]\n\n", 0),
])  # fmt: skip
def test_tokens_that_a_stream_tells_at_its_end(last, tokens):
    for size in (7, 100, 5000):
        driver = Driver(Streamed).ask(
            STREAM, chunk(b"data: a\n\n"), *(chunk(piece) for piece in cut(last, size)), chunk(b"")
        )
        assert driver.connection.tokens == tokens, size
        driver.ask(STREAM, chunk(b"data: [DONE]\n\n"), chunk(b""))
        assert driver.connection.tokens == 0  # of the next answer
