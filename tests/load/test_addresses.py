"""A URL: where it leads, what is asked for, and that nothing secret in it is shown, even if it is none."""

from __future__ import annotations

import base64

import pytest

from pinchpoint.errors import BadInput
from pinchpoint.load import addresses
from pinchpoint.load.addresses import basic, is_local, parse, resolved


@pytest.mark.parametrize(
    ("url", "kind", "host", "port", "target", "authority"),
    [
        ("http://h", "http", "h", 80, "/", "h"),
        ("http://h:80/", "http", "h", 80, "/", "h"),
        ("http://H:8000/a/b?c=d&e", "http", "h", 8000, "/a/b?c=d&e", "h:8000"),
        ("https://h/x#part", "http", "h", 443, "/x", "h"),
        ("https://h:80/", "http", "h", 80, "/", "h:80"),
        ("http://h:443/", "http", "h", 443, "/", "h:443"),
        ("http://[::1]:8000/", "http", "::1", 8000, "/", "[::1]:8000"),
        ("http://[::1]", "http", "::1", 80, "/", "[::1]"),
        ("http://h/ä b".replace(" ", "%20"), "http", "h", 80, "/%C3%A4%20b", "h"),
        ('http://h/a"<>\\|?q="<x>', "http", "h", 80, "/a%22%3C%3E%5C%7C?q=%22%3Cx%3E", "h"),
        ("http://h?q=1", "http", "h", 80, "/?q=1", "h"),
        ("http://u:p@h:1/", "http", "h", 1, "/", "h:1"),
        ("http+unix://%2Frun%2Fa.sock/v2/models?x=1", "http", "", 0, "/v2/models?x=1", "localhost"),
        ("http+unix://%2Frun%2Fa.sock", "http", "", 0, "/", "localhost"),
        ("grpc://h:8001/inference.GRPCInferenceService/ModelInfer", "grpc", "h", 8001,
         "/inference.GRPCInferenceService/ModelInfer", "h:8001"),
        ("grpc://h/a.B/C", "grpc", "h", 50051, "/a.B/C", "h:50051"),
        ("grpcs://h/a.B/C", "grpc", "h", 443, "/a.B/C", "h"),
        ("oip+grpcs://h/m", "grpc", "h", 8001, "/inference.GRPCInferenceService/ModelInfer", "h:8001"),
        ("oip+grpc://h/m", "grpc", "h", 8001, "/inference.GRPCInferenceService/ModelInfer", "h:8001"),
        ("triton+grpc://u:p@h:1/m/versions/2", "grpc", "h", 1, "/inference.GRPCInferenceService/ModelInfer", "h:1"),
        ("tfserving+grpc://h/m", "grpc", "h", 8500, "/tensorflow.serving.PredictionService/Predict", "h:8500"),
    ],
)  # fmt: skip
def test_where_a_url_leads(url, kind, host, port, target, authority):
    found = parse(url)
    assert (found.kind, found.host, found.port, found.target, found.authority) == (kind, host, port, target, authority)
    assert (found.model, found.version) == (("m", "2" if "versions" in url else "") if "+grpc" in url else ("", ""))
    assert found.tls == url.partition("://")[0].endswith("s")
    assert found.unix == ("/run/a.sock" if "unix" in url else "")
    assert found.target.isascii()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "load needs a URL"),
        ("model.onnx", "load needs a URL"),
        ("localhost:8000", "load needs a URL"),
        ("ftp://h/", "load needs a URL"),
        ("file:///etc/passwd", "load needs a URL"),
        ("http:/h", "names no host"),
        ("http://", "names no host"),
        ("http:///path", "names no host"),
        ("http://:80/", "names no host"),
        ("http://h:0/", "port 0"),
        ("http://h:65536/", "not a URL"),
        ("http://h:x/", "not a URL"),
        ("http://[::1/", "not a URL"),
        ("http://[nonsense]/", "not a URL"),
        ("http://h/a b", "no blanks"),
        ("http://h/\r\nX: y", "no blanks"),
        ("http://h/\0", "no blanks"),
        ("http+unix:///run/a.sock", "names no host"),
        ("http+unix://run/a.sock", "absolute path"),
        ("grpc://h:1", "names no method"),
        ("grpc://h:1/service", "names no method"),
        ("grpc://h:1/a.B/C/D", "names no method"),
    ],
)
def test_what_is_no_url_is_said_in_one_line(url, words):
    with pytest.raises(BadInput) as caught:
        parse(url)
    line = str(caught.value)
    assert words in line
    assert "\n" not in line
    assert caught.value.todo


SECRET = "s3same-0pen"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"http://user:{SECRET}@h/x", "http://h/x"),
        (f"http://{SECRET}@h/x", "http://h/x"),
        (f"http://h/x?api_key={SECRET}&b=1", "http://h/x?api_key=***&b=1"),
        (f"http://h/x?Token={SECRET}", "http://h/x?Token=***"),
        (f"http://h/x?a=1&X-Amz-Signature={SECRET}", "http://h/x?a=1&X-Amz-Signature=***"),
        (f"https://h/x?access_token={SECRET}#{SECRET}", "https://h/x?access_token=***"),
        (f"http://u:{SECRET}@h/x?password={SECRET}", "http://h/x?password=***"),
        (f"http+unix://%2Fa.sock/x?key={SECRET}", "http+unix://%2Fa.sock/x?key=***"),
        (f"grpc://u:{SECRET}@h/a.B/C", "grpc://h/a.B/C"),
        ("http://h/x?monkey", "http://h/x?monkey"),
    ],
)
def test_what_is_secret_in_a_url_is_not_shown(url, shown):
    found = parse(url)
    assert found.uri == shown
    if SECRET in url:
        assert SECRET in [*found.secrets, *found.userinfo.split(":")]


@pytest.mark.parametrize(
    "url",
    [
        f"htp://user:{SECRET}@h/",
        f"http://user:{SECRET}/x@h/",  # the password has a slash
        f"http://user:a@{SECRET}@h:x/",
        f"http://user:{SECRET}@h:x/",
        f"http://user:{SECRET}@h:99999/",
        f"http://user:{SECRET}@/x",
        f"http://user:{SECRET}@h:0/",
        f"http://user:{SECRET}@[::1/",
        f"http://user:{SECRET}@h/a b",
        f"http://h:x/?api_key={SECRET}",
        f"htp://h/?api_key={SECRET}",
        f"localhost:8000/x?token={SECRET}",
        f"user:{SECRET}@localhost:8000/x",
        f"http://h/a b?token={SECRET}",
        f"grpc://u:{SECRET}@h/nothing?key={SECRET}",
        f"http+unix://u:{SECRET}@run/a?key={SECRET}",
    ],
)
def test_what_is_secret_in_a_bad_url_is_not_shown_either(url):
    with pytest.raises(BadInput) as caught:
        parse(url)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(vars(caught.value))


def test_a_password_goes_into_a_header():
    found = parse("http://us%65r:p%40ss%3A@h/")
    assert found.userinfo == "user:p@ss:"
    assert base64.b64decode(basic(found.userinfo).removeprefix("Basic ")) == b"user:p@ss:"
    assert parse("http://h/").userinfo == ""


# --- other machines ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("found", "local"),
    [
        ((), True),  # a Unix socket
        (("127.0.0.1",), True),
        (("127.1.2.3", "::1"), True),
        (("::1",), True),
        (("192.0.2.1",), False),
        (("127.0.0.1", "192.0.2.1"), False),
        (("10.0.0.1",), False),
        (("fe80::1%eth0",), False),
        (("0.0.0.0",), False),
    ],
)
def test_which_addresses_are_this_machine(found, local):
    assert is_local(found) is local


def test_names_are_resolved():
    assert set(resolved(parse("http://localhost:1/"))) <= {"127.0.0.1", "::1"}
    assert resolved(parse("http://127.0.0.1:1/")) == ("127.0.0.1",)
    assert resolved(parse("http+unix://%2Fa")) == ()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".invalid", "-"])
def test_a_name_that_does_not_resolve(host):
    with pytest.raises(BadInput, match="the host is not known"):
        resolved(parse(f"http://{host}:1/"))


def test_a_name_that_leads_to_two_places_is_asked_once(monkeypatch):
    rows = [(2, 1, 6, "", (each, 80)) for each in ("192.0.2.1", "192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: rows)
    assert resolved(parse("http://h/")) == ("192.0.2.1", "127.0.0.1")
