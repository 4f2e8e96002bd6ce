"""HTTP/1.1 from bytes: what each answer counts as, however it is cut into pieces; no socket is opened."""

from __future__ import annotations

import pytest

from pinchpoint.load import records, wire
from pinchpoint.load.wire import At, Checked, Connection, Like, Same, server_ns, timings

OK, STATUS, UNEXPECTED, SHORT, MALFORMED = (
    records.OK, records.STATUS, records.UNEXPECTED, records.SHORT, records.MALFORMED,
)  # fmt: skip
CLOSED, RESET, TOO_LARGE, TIMEOUT = records.CLOSED, records.RESET, records.TOO_LARGE, records.TIMEOUT
HEAD = b"HTTP/1.1 200 OK\r\n"
PLAIN = HEAD + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\n wo\r\n3\r\nrld\r\n0\r\nTrailer: t\r\n\r\n"
UNTIL_CLOSE = HEAD + b"Server: old\r\n\r\nhello"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 5\r\n\r\n"


class Transport:
    """Remembers what was written, and whether it was given up."""

    def __init__(self):
        self.written, self.aborted = [], 0

    def write(self, data):
        self.written.append(data)

    def abort(self):
        self.aborted += 1


class Driver:
    """A driver that sends one request after the other, and remembers how each ended."""

    requests = (b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n")

    def __init__(self, kind=Connection, statuses=(), check=None):
        self.statuses, self.check, self.like = frozenset(statuses), check, Like()
        self.held_bytes, self.keeps = 0, True
        self.outcomes, self.came, self.gone = [], 0, 0
        self.connection, self.transport = kind(self), Transport()
        self.connection.connection_made(self.transport)

    def ended(self, connection, outcome, status, done):
        assert not connection.busy
        assert not connection.first or connection.sent <= connection.first <= done
        self.outcomes.append((outcome, status))

    def alike(self, connection, done):
        connection.first, connection.bytes, connection.busy = done, self.like.length, False
        self.ended(connection, OK, self.like.status, done)

    def unasked(self):
        self.came += 1

    def lost(self, connection):
        self.gone += 1

    def ask(self, *pieces, payload=0):
        """Send a request, and let these pieces come."""
        self.connection.send(1, payload)
        for piece in pieces:
            self.connection.data_received(piece)
        return self

    def end(self, error=None):
        """The server closes, or breaks, the connection."""
        if error is None:
            self.connection.eof_received()
        self.connection.connection_lost(error)
        return self

    @property
    def open(self):
        return self.connection.open and not self.transport.aborted


def cut(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


# --- whole answers -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [Connection, Checked])
@pytest.mark.parametrize("answer", [PLAIN, CHUNKED, CONTINUE + PLAIN, HINTS + CONTINUE + CHUNKED])
def test_an_answer_may_be_cut_anywhere(kind, answer):
    for at in range(1, len(answer)):
        driver = Driver(kind)
        driver.ask(answer[:at])
        assert not driver.outcomes, at
        driver.connection.data_received(answer[at:])
        assert driver.outcomes == [(OK, 200)], at
        assert driver.connection.bytes == len(answer)
        assert driver.open
    assert Driver(kind).ask(*cut(answer, 1)).outcomes == [(OK, 200)]


def test_a_body_is_what_it_was_however_it_came():
    bodies = []
    for answer in (PLAIN, CONTINUE + PLAIN, CHUNKED.replace(b"3;x=y\r\n wo\r\n3\r\nrld\r\n", b""), UNTIL_CLOSE):
        driver = Driver(Checked, check=lambda _, body: bodies.append(body) or True)
        driver.ask(*cut(answer, 3)).end()
    assert bodies == [b"hello"] * 4


@pytest.mark.parametrize(
    ("answer", "outcome", "status", "keeps"),
    [
        (PLAIN, OK, 200, True),
        (PLAIN.replace(b"OK", b""), OK, 200, True),
        (PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK, 200, False),
        (PLAIN.replace(b"1.1", b"1.0"), OK, 200, False),
        (PLAIN.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"), OK, 200, True),
        (CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1), OK, 200, False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", OK, 204, True),
        (HEAD + b"Content-Length: 0\r\n\r\n", OK, 200, True),
        (PLAIN.replace(b"\r\n\r\n", b"\r\nUpgrade: h2,h2c\r\nConnection: Upgrade, Keep-Alive\r\n\r\n"), OK, 200, True),
        (PLAIN.replace(b"200 OK", b"404 Not Found"), STATUS, 404, True),
        (PLAIN.replace(b"200 OK", b"503 Busy"), STATUS, 503, True),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", STATUS, 304, True),
        (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", STATUS, 302, True),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", UNEXPECTED, 101, False),
        (b"SSH-2.0-OpenSSH_9.6\r\n", MALFORMED, 0, False),
        (b"HTTP/9.9.9 200 OK\r\n\r\n", MALFORMED, 0, False),
        (b"HTTP/1.1 20x OK\r\n\r\n", MALFORMED, 0, False),
        (HEAD + b"Content-Length: five\r\n\r\nhello", MALFORMED, 0, False),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", MALFORMED, 0, False),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", MALFORMED, 0, False),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello", MALFORMED, 0, False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", MALFORMED, 0, False),
        (HEAD + b"no colon here\r\n\r\n", MALFORMED, 0, False),
        (b"\x00" * 100, MALFORMED, 0, False),
        (b"\x15\x03\x01\x00\x02\x02\x46", MALFORMED, 0, False),  # an alert of TLS
        (PLAIN + PLAIN, MALFORMED, 200, False),  # an answer to a question that was not asked
        (PLAIN + b"junk", MALFORMED, 0, False),
    ],
)
@pytest.mark.parametrize("kind", [Connection, Checked])
def test_what_an_answer_counts_as(kind, answer, outcome, status, keeps):
    driver = Driver(kind).ask(answer)
    assert driver.outcomes == [(outcome, status)]
    assert driver.open is keeps
    driver.end()
    assert len(driver.outcomes) == 1  # a request ends once


@pytest.mark.parametrize(
    ("statuses", "outcome"), [((), STATUS), ((404,), OK), ((200, 404), OK), ((200,), STATUS), ((403,), STATUS)]
)
def test_statuses_that_are_expected(statuses, outcome):
    driver = Driver(statuses=statuses)
    for _ in range(3):
        driver.ask(PLAIN.replace(b"200 OK", b"404 Not Found"))
    assert driver.outcomes == [(outcome, 404)] * 3


# --- the end of the connection -------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [Connection, Checked])
@pytest.mark.parametrize(
    ("came", "outcome"),
    [
        (b"", CLOSED),
        (HEAD, CLOSED),
        (PLAIN[:-1], SHORT),
        (CHUNKED[:-1], SHORT),
        (UNTIL_CLOSE, OK),
        (UNTIL_CLOSE[:-5], OK),  # an empty body
        (CONTINUE + UNTIL_CLOSE, OK),
        (CONTINUE + PLAIN[:-1], SHORT),
        (CONTINUE, CLOSED),
        (CONTINUE + HEAD, CLOSED),
        (UNTIL_CLOSE.replace(b"200", b"500"), STATUS),
    ],
)
def test_a_server_that_closes(kind, came, outcome):
    for size in (1, 7, 1000):
        driver = Driver(kind).ask(*cut(came, size)).end()
        assert [each for each, _ in driver.outcomes] == [outcome]
        assert not driver.connection.open
        assert driver.gone == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionResetError(), RESET),
        (BrokenPipeError(), RESET),
        (OSError(113, "No route to host"), records.UNREACHABLE),
        (TimeoutError(), TIMEOUT),
    ],
)
@pytest.mark.parametrize("came", [b"", PLAIN[:-1]])
def test_a_connection_that_breaks(error, outcome, came):
    driver = Driver().ask(*filter(None, [came])).end(error)
    assert [each for each, _ in driver.outcomes] == [outcome]


def test_a_connection_that_ends_while_nothing_is_asked_is_no_failure():
    driver = Driver().ask(PLAIN)
    driver.connection.eof_received()
    assert not driver.connection.open  # at once: asyncio takes another moment until it says that it is gone
    driver.connection.connection_lost(None)
    assert driver.outcomes == [(OK, 200)]


def test_what_nobody_asked_for_is_counted_and_ends_the_connection():
    driver = Driver().ask(PLAIN)
    driver.connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert (driver.came, driver.open, driver.outcomes) == (1, False, [(OK, 200)])


def test_a_request_that_is_given_up_has_the_status_of_no_other():
    driver = Driver().ask(PLAIN.replace(b"200 OK", b"404 Not Found"))
    driver.ask()
    driver.connection.abort(TIMEOUT)
    assert driver.outcomes == [(STATUS, 404), (TIMEOUT, 0)]
    assert not driver.open


# --- bounds --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("begin", "line", "most"),
    [
        (HEAD, b"X: y\r\n", 4 * wire.HEAD_BYTES),
        (HEAD + b"X: ", b"y" * 1000, 4 * wire.HEAD_BYTES),
        (b"HTTP/1.1 200 ", b"y" * 1000, 4 * wire.HEAD_BYTES),
        (HINTS, HINTS, 4 << 20),
    ],
)
def test_a_head_without_end_is_given_up(begin, line, most, monkeypatch):
    monkeypatch.setattr(wire, "MOST_BYTES", 4 << 20)
    driver = Driver().ask(begin)
    piece, sent = line * (60_000 // len(line)), 0
    while not driver.outcomes and sent < 2 * wire.MOST_BYTES:
        driver.connection.data_received(piece)
        sent += len(piece)
    assert driver.outcomes[0][0] in (MALFORMED, TOO_LARGE)
    assert not driver.open
    assert sent <= most + len(piece)


def test_a_large_head_that_ends_is_fine():
    head = HEAD + b"Content-Length: 5\r\n" + b"X: " + b"y" * 40_000 + b"\r\n\r\n"
    assert Driver().ask(*cut(head + b"hello", 9000)).outcomes == [(OK, 200)]


@pytest.mark.parametrize("kind", [Connection, Checked])
@pytest.mark.parametrize("head", [b"Content-Length: 99999999999\r\n\r\n", b"Server: x\r\n\r\n"])
def test_a_body_without_end_is_given_up(kind, head, monkeypatch):
    monkeypatch.setattr(wire, "MOST_BYTES", 8 << 20)
    driver, piece, sent = Driver(kind).ask(HEAD + head), b"x" * (1 << 20), 0
    while not driver.outcomes:
        driver.connection.data_received(piece)
        sent += len(piece)
    assert driver.outcomes == [(TOO_LARGE, driver.outcomes[0][1])]
    assert sent <= wire.MOST_BYTES + len(piece)
    assert len(driver.connection._head) < wire.HEAD_BYTES + 2 * len(piece)
    assert driver.held_bytes == 0


def test_bodies_that_wait_for_their_check_are_bounded_together(monkeypatch):
    monkeypatch.setattr(wire, "MOST_HELD_BYTES", 8 << 20)
    driver = Driver(Checked, check=lambda *_: True)
    many = [Checked(driver) for _ in range(64)]
    held = 0
    for each in many:
        each.connection_made(Transport())
        each.send(1, 0)
        each.data_received(HEAD + b"Content-Length: 60000000\r\n\r\n")
    for _ in range(50):
        for each in many:
            if each.busy:
                each.data_received(b"x" * (1 << 18))
        held = max(held, sum(len(part) for each in many for part in each._parts))
    assert held <= wire.MOST_HELD_BYTES + (1 << 18)
    assert {each for each, _ in driver.outcomes} == {TOO_LARGE}
    for each in many:
        each.connection_lost(None)
    assert driver.held_bytes == 0


# --- answers like the last one -------------------------------------------------------------------------------------
def test_an_answer_like_the_last_one_is_not_parsed():
    driver = Driver().ask(PLAIN)
    assert (driver.like.length, driver.like.status) == (len(PLAIN), 200)
    driver.ask(PLAIN.replace(b"hello", b"world"))  # nothing was said about its body
    assert driver.connection._parser is None
    assert driver.outcomes == [(OK, 200)] * 2
    assert driver.connection.bytes == len(PLAIN)


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        (PLAIN.replace(b"200 OK", b"500 NO"), STATUS, 500),  # as long, and another status
        (PLAIN.replace(b"200 OK", b"201 OK"), OK, 201),
        (PLAIN.replace(b"200 OK\r\n", b"500 NOT\r\n").replace(b"hello", b"hell"), None, 0),
        (PLAIN.replace(b"Content-Length: 5", b"Content-length: 6"), None, 0),  # as long, and not whole
        (b"x" * len(PLAIN), MALFORMED, 0),
    ],
)
def test_an_answer_as_long_as_the_last_one_is_no_more_than_that(answer, outcome, status):
    driver = Driver().ask(PLAIN).ask(answer)
    assert driver.outcomes == [(OK, 200)] + ([(outcome, status)] if outcome is not None else [])


@pytest.mark.parametrize(
    "first",
    [
        CHUNKED,
        CONTINUE + PLAIN,
        PLAIN.replace(b"200 OK", b"500 NO"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        PLAIN + b"\r\n",  # more than it says: the length is no proof that an answer is whole
        PLAIN + b"HTTP/1.1 200 OK\r\nConte",
    ],
)
def test_what_no_other_answer_is_compared_with(first):
    assert Driver().ask(first).like.length == -1


def test_an_answer_like_the_last_one_in_two_pieces_is_parsed():
    driver = Driver().ask(PLAIN).ask(PLAIN[:9], PLAIN[9:])
    assert driver.outcomes == [(OK, 200)] * 2


def test_with_a_check_every_answer_is_parsed():
    driver = Driver(Checked, check=Same())
    for answer in (PLAIN, PLAIN, PLAIN.replace(b"hello", b"jello"), PLAIN):
        driver.ask(answer)
    assert [each for each, _ in driver.outcomes] == [OK, OK, UNEXPECTED, OK]
    assert driver.open  # an unexpected answer is no reason to connect anew


# --- checks --------------------------------------------------------------------------------------------------------
def test_each_payload_has_a_first_answer_of_its_own():
    same = Same()
    found = [same(number, body) for number, body in [(0, b"a"), (1, b"b"), (0, b"a"), (1, b"a"), (1, b"b")]]
    assert found == [True, True, True, False, True]


def test_a_large_first_answer_is_not_kept():
    same, body = Same(), bytes(1 << 20)
    assert same(0, body)
    assert same(0, body)
    assert not same(0, body[:-1] + b"x")
    assert sum(len(each) for each in same._first.values()) < 1000


@pytest.mark.parametrize(
    ("path", "text", "body", "holds"),
    [
        ("model", "resnet", b'{"model": "resnet"}', True),
        ("$.model.name", "resnet", b'{"model": {"name": "resnet"}}', True),
        ("a.1", "3", b'{"a": [2, 3]}', True),
        ("a.b", "true", b'{"a": {"b": true}}', True),
        ("a.b", "null", b'{"a": {"b": null}}', True),
        ("a", "1.0", b'{"a": 1}', False),
        ("a.2", "3", b'{"a": [2, 3]}', False),
        ("a.b", "3", b'{"a": 3}', False),
        ("a", "3", b"3", False),
        ("a", "3", b"no JSON", False),
        ("a", "3", b"\xff\xfe", False),
        ("a", "3", b"", False),
        ("a", "3", b'{"a": ' + b"[" * 100_000, False),
        ("a", "3", b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}", False),
        ("a", "3", b'{"a": ' + b"9" * 5000 + b"}", False),
    ],
)
def test_a_value_in_an_answer(path, text, body, holds):
    assert At(path, text)(0, body) is holds


def test_a_connection_that_the_server_closes_after_each_answer_is_not_used_again():
    driver = Driver()
    driver.keeps = False
    driver.ask(HEAD + b"Content-Length: 2\r\n\r\nok")
    assert driver.outcomes == [(OK, 200)]
    assert not driver.connection.open


# --- the server's own clock ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("header", "ms"), [
    (b"total;dur=12.5", 12.5),
    (b"db;dur=3, app;desc=\"a b\";dur=4.25", 7.25),
    (b"db;dur=3,total;dur=10", 10),
    (b"Total;desc=all; dur = 1", 1),
    (b"cache;desc=hit", 0),
    (b"", 0),
    (b"a;dur=-5", 0),
    (b"a;dur=nan", 0),
    (b"a;dur=" + b"9" * 400, 1e9),
    (b";" * 60_000, 0),
    (b"a;" * 30_000, 0),
])  # fmt: skip
def test_what_a_server_says_it_took(header, ms):
    assert server_ns(timings(header)) == pytest.approx(ms * 1e6)


@pytest.mark.parametrize(("header", "told"), [
    (b"preprocess;dur=11.2;at=0.3, model;dur=8.1;at=11.6", [(b"preprocess", 300_000, 11_200_000), (b"model", 11_600_000, 8_100_000)]),
    (b"a ; dur = \"3\" ; AT=1", [(b"a", 1_000_000, 3_000_000)]),
    (b"a;dur=1;dur=2", [(b"a", -1, 1_000_000)]),  # the first one counts, as W3C says
    (b"a;dur=;dur=2, b;dur=1e3, c;dur=-1, d;dur=nan, e;dur=inf, f;dur=0x1", []),
    (b"a;dur=1;at=-5, b;dur=2;at=nan", [(b"a", -1, 1_000_000), (b"b", -1, 2_000_000)]),
    (b'a;desc="x, total;dur=9";dur=1', [(b"a", -1, 1_000_000)]),
    (b'a;desc="\\", b;dur=9, c;dur=1', []),  # a text that is not closed holds all that follows
    (b"a b;dur=1, <b>;dur=1, \x1b[2J;dur=1, \xff;dur=1, ;dur=1", []),
    (b"n" * 41 + b";dur=1, m;dur=2", [(b"m", -1, 2_000_000)]),
    (b"a;dur=" + b"9" * 300, [(b"a", -1, 10**15)]),
    (b"total;dur=1", [(b"total", -1, 1_000_000)]),
])  # fmt: skip
def test_metrics_of_a_header_as_they_are_told(header, told):
    assert timings(header) == told


@pytest.mark.parametrize("header", [
    b",".join(b"a%d;dur=1" % number for number in range(5000)), b'\\"' * 30_000, b'"' * 60_000, b"," * 60_000, b";dur=1" * 10_000,
    b'"' + b"\\" * 60_001,
])  # fmt: skip
def test_a_header_of_any_size_is_few_metrics(header):
    assert len(timings(header)) <= wire.MOST_TIMINGS


def test_all_headers_of_an_answer_count_and_none_of_the_one_before():
    driver = Driver(Checked)
    for first in (b"db;dur=1", b"db;dur=2"):
        lines = b"Content-Length: 0\r\nServer-Timing: %b\r\nserver-timing: total;dur=5\r\n\r\n" % first
        driver.ask(HEAD + lines)
        assert driver.connection.timings == [*timings(first), (b"total", -1, 5_000_000)]
        assert driver.connection.server == 5_000_000
