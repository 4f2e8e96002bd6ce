"""What is sent: bodies, headers, methods; and that no value of a header is ever shown."""

from __future__ import annotations

import os

import pytest

from pinchpoint.errors import BadInput
from pinchpoint.load import payloads
from pinchpoint.load.addresses import parse
from pinchpoint.load.payloads import Header, Payload, headers, method_of, read, rendered, secrets, without

SECRET = "s3same-0pen"
HERE = parse("http://h:8000/x?y=1")


# --- bodies --------------------------------------------------------------------------------------------------------
def test_bodies_are_files_and_the_files_in_folders(tmp_path):
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    for name in ("b.json", "a.TXT", "c.jpeg", "d", ".hidden"):
        (tmp_path / "folder" / name).write_bytes(name.encode())
    (tmp_path / "e.png").write_bytes(b"")
    found = read([str(tmp_path / "e.png"), str(tmp_path / "folder")])
    assert [(each.name, each.body, each.kind) for each in found] == [
        ("e.png", b"", "image/png"),
        ("a.TXT", b"a.TXT", "text/plain"),
        ("b.json", b"b.json", "application/json"),
        ("c.jpeg", b"c.jpeg", "image/jpeg"),
        ("d", b"d", "application/octet-stream"),
    ]
    assert read([]) == (Payload("", b"", ""),)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "holds no files"),
        (os.mkfifo, "neither a file nor a folder"),
        (lambda path: path.symlink_to(path), "cannot be read"),
    ],
)
def test_bodies_that_cannot_be_read(tmp_path, make, words):
    make(tmp_path / "x")
    with pytest.raises(BadInput, match=words) as caught:
        read([str(tmp_path / "x")])
    assert str(tmp_path / "x") in str(caught.value)
    with pytest.raises(BadInput, match="cannot be read"):
        read(["a\0b"])


def test_bodies_are_bounded(tmp_path, monkeypatch):
    for number in range(4):
        (tmp_path / str(number)).write_bytes(bytes(1000))
    monkeypatch.setattr(payloads, "MOST_FILES", 3)
    with pytest.raises(BadInput, match="more than 3 files"):
        read([str(tmp_path)])
    monkeypatch.setattr(payloads, "MOST_FILES", 4)
    monkeypatch.setattr(payloads, "MOST_BYTES", 3999)
    with pytest.raises(BadInput, match="more than"):
        read([str(tmp_path)])


# --- headers -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("said", "name", "value"),
    [
        ("X: y", "X", "y"),
        ("X:y", "X", "y"),
        ("X :  y: z ", "X", "y: z"),
        ("X:", "X", ""),
        ("Authorization: env:TOKEN", "Authorization", SECRET),
        ("X: env", "X", "env"),
    ],
)
def test_a_header(said, name, value):
    assert headers([said], HERE, {"TOKEN": SECRET}) == (Header(name, value),)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (SECRET, "'Name: value'"),
        (f": {SECRET}", "'Name: value'"),
        (f"a b: {SECRET}", "'Name: value'"),
        (f"ä: {SECRET}", "'Name: value'"),
        (f"X\r\nY: {SECRET}", "'Name: value'"),
        (f"X: {SECRET}\r\nY: z", "cannot be sent"),
        (f"X: {SECRET}\0", "cannot be sent"),
        (f"X: {SECRET}ä", "cannot be sent"),
        (f"X: \x1b[31m{SECRET}", "cannot be sent"),
        ("X: env:BAD", "cannot be sent"),
        ("X: env:NONE", "the environment has no 'NONE'"),
        ("X: env:", "the environment has no ''"),
        (f"Content-Length: {SECRET}", "follows from the body"),
        (f"transfer-encoding: {SECRET}", "follows from the body"),
        ("X: " + SECRET * 2000, "kB of headers"),
    ],
)
def test_a_header_that_cannot_be_sent_is_not_shown(said, words):
    with pytest.raises(BadInput) as caught:
        headers([said], HERE, {"BAD": f"{SECRET}\n"})
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.where.startswith("--header")


def test_a_password_in_the_url_is_a_header():
    sent = headers(["X: y"], parse(f"http://u:{SECRET}@h/"))
    assert [each.name for each in sent] == ["X", "Authorization"]
    assert sent[1].value.startswith("Basic ")


def test_whatever_is_secret_is_found_and_hidden():
    address = parse(f"http://user:{SECRET}-1@h/?key={SECRET}-2&k=3")
    sent = headers([f"Authorization: Bearer {SECRET}-3", f"X: {SECRET}-4", "Y: abc"], address, {})
    hidden = secrets(sent, address)
    for number in range(1, 5):
        assert without(f"a {SECRET}-{number} b", hidden) == "a *** b"
    assert without(sent[-1].value, hidden) == "***"
    assert list(hidden) == sorted(hidden, key=len, reverse=True)  # a part does not spoil the whole
    assert "abc" not in hidden  # short ones occur by chance


def test_what_is_said_of_the_body_is_no_secret():
    address = parse("http://h/")
    sent = headers(["Content-Type: application/json", "Inference-Header-Content-Length: 1024", "X-Key: 2048"], address)
    assert secrets(sent, address) == ("2048",)


# --- requests ------------------------------------------------------------------------------------------------------
def lines(method, payload, *said, address=HERE):
    head, _, body = rendered(address, method, payload, headers(said, address, {})).partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in rest), body


def test_a_request_without_a_body():
    first, found, body = lines("GET", Payload("", b"", ""))
    assert (first, body) == ("GET /x?y=1 HTTP/1.1", b"")
    assert found["Host"] == "h:8000"
    assert found["User-Agent"].startswith("pinchpoint/")
    assert "Content-Length" not in found
    assert lines("POST", Payload("", b"", ""))[1]["Content-Length"] == "0"


def test_a_request_with_a_body():
    first, found, body = lines("POST", Payload("a.json", b"{}\r\n\r\n", "application/json"))
    assert (first, body) == ("POST /x?y=1 HTTP/1.1", b"{}\r\n\r\n")
    assert (found["Content-Length"], found["Content-Type"]) == ("6", "application/json")
    assert lines("GET", Payload("empty", b"", "text/plain"))[1]["Content-Length"] == "0"


def test_headers_of_the_user_replace_ours():
    _, found, _ = lines(
        "POST", Payload("a.json", b"{}", "application/json"), "host: other", "content-type: x", "ACCEPT: y"
    )
    assert {"Host", "Content-Type", "Accept"} & set(found) == set()
    assert (found["host"], found["content-type"], found["ACCEPT"]) == ("other", "x", "y")


@pytest.mark.parametrize(
    ("said", "name", "method"),
    [(None, "", "GET"), (None, "a", "POST"), ("put", "a", "PUT"), ("GET", "a", "GET"), ("DELETE", "", "DELETE")],
)
def test_the_method(said, name, method):
    assert method_of(said, [Payload(name, b"", "")]) == method


@pytest.mark.parametrize("said", ["HEAD", "CONNECT", "GET / HTTP/1.1\r\n", "", " ", "TRACE"])
def test_a_method_that_is_none(said):
    if not said:
        assert method_of(said, [Payload("", b"", "")]) == "GET"
        return
    with pytest.raises(BadInput, match="no method"):
        method_of(said, [Payload("", b"", "")])
