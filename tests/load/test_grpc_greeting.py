"""The first call of gRPC, and calls of a worker, against servers that are not as they should be."""

from __future__ import annotations

import base64
import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

import hostile_server as h
from pinchpoint.driving import LoadOptions, understood
from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.load import records, self_proof
from pinchpoint.load.addresses import parse
from pinchpoint.load.crew import Crew
from pinchpoint.load.engine import meet
from pinchpoint.load.grpc_greeting import greet
from pinchpoint.load.grpc_tls import trust
from pinchpoint.load.payloads import Header
from pinchpoint.load.sending import Sending

grpc = pytest.importorskip("grpc")


@contextlib.contextmanager
def serving(answer, *, method="/test.Echo/Call", options=(), tls=None):
    """A server with one method; what it answers is a function of the request and its context. `tls` are the files of its
    certificate and key.
    """

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(answer) if details.method == method else None

    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 128 << 20), *options])
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_secure_port("127.0.0.1:0", served_by(tls)) if tls else server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


def served_by(files):
    chain, key = (each.read_bytes() for each in files)
    return grpc.ssl_server_credentials([(key, chain)])


def echo(request, _context):
    return request


def aborts(code):
    return lambda _request, context: context.abort(code, "some words\nof more than one line")


def greeted(port, request=b"abc", method="test.Echo/Call", headers=(), timeout_s=5.0, scheme="grpc", **trusting):
    sending = Sending(parse(f"{scheme}://localhost:{port}/{method}"), (), headers, **trusting)
    hosts = ("::1", "127.0.0.1")  # the first one that listens is asked
    found = greet(sending, trust(sending, hosts, timeout_s), hosts, request, timeout_s)
    assert found.host == "127.0.0.1"
    return found


@pytest.mark.parametrize("size", [0, 1000, 5 << 20])
def test_an_answer(size):
    with serving(lambda *_: bytes(size)) as port:
        found = greeted(port)
    assert (found.size, found.keeps, found.status) == (size, True, 0)
    assert (found.raw is None) == (size > 1 << 20)


def test_a_large_request():
    with serving(lambda request, _: b"%d" % len(request)) as port:
        assert greeted(port, bytes(20 << 20)).raw == b"%d" % (20 << 20)


def test_headers_are_metadata():
    seen = {}

    def answer(_request, context):
        seen.update(context.invocation_metadata())
        return b""

    with serving(answer) as port:
        greeted(port, headers=[Header("Authorization", "Bearer x")])
    assert seen["authorization"] == "Bearer x"


@pytest.mark.parametrize(
    ("answer", "method", "kind", "words"),
    [
        (echo, "test.Echo/Other", BadInput, "the server has no such method"),
        (aborts(grpc.StatusCode.UNAUTHENTICATED), "test.Echo/Call", BadInput, "wants credentials"),
        (aborts(grpc.StatusCode.INTERNAL), "test.Echo/Call", TargetFailed, "the first call failed with INTERNAL"),
        (
            aborts(grpc.StatusCode.INVALID_ARGUMENT),
            "test.Echo/Call",
            BadInput,
            "with INVALID_ARGUMENT: some words of more",
        ),
        (aborts(grpc.StatusCode.UNAVAILABLE), "test.Echo/Call", TargetFailed, "failed with UNAVAILABLE: some words"),
        (aborts(grpc.StatusCode.UNIMPLEMENTED), "test.Echo/Call", BadInput, "refused with UNIMPLEMENTED: some words"),
        (lambda *_: 1 / 0, "test.Echo/Call", TargetFailed, "the first call failed with UNKNOWN"),
        (lambda *_: bytes(70 << 20), "test.Echo/Call", TargetFailed, "RESOURCE_EXHAUSTED"),
    ],
)
def test_what_is_no_answer(answer, method, kind, words):
    with serving(answer) as port, pytest.raises(kind, match=words) as caught:
        greeted(port, method=method)
    assert "\n" not in str(caught.value)
    assert caught.value.todo


def test_nobody_is_there(monkeypatch):
    with pytest.raises(BadInput, match="nothing listens there"):
        greeted(h.unused_port())
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{h.unused_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(echo) as port:  # what is sent goes to the server that was named, whatever the environment says
        assert greeted(port).raw == b"abc"


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (h.silent, "no answer|speaks no gRPC"),
        (h.good, "speaks no gRPC"),
        (h.closes, "speaks no gRPC"),
        (h.malformed, "speaks no gRPC"),
    ],
)
def test_a_server_that_speaks_no_grpc(behaviour, words):
    with h.Server(behaviour) as server, pytest.raises((BadInput, TargetFailed), match=words):
        greeted(server.port, timeout_s=0.4)


def test_a_server_that_wants_tls(tmp_path):
    with (
        h.Server(h.good, tls=h.served_by(h.certificate(tmp_path))) as server,
        pytest.raises(BadInput, match=r"wants TLS. Write grpcs://"),
    ):
        greeted(server.port)
    with (
        serving(echo, tls=h.certificate(tmp_path / "grpc")) as port,
        pytest.raises(BadInput, match=r"wants TLS. Write grpcs://"),
    ):
        greeted(port)


# --- TLS -----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    return {
        "good": h.certificate(folder / "good"),
        "expired": h.certificate(folder / "expired", expired=True),
        "other": h.certificate(folder / "other", "other.example"),
        "address": h.certificate(folder / "address", "192.0.2.1"),
        "many": h.certificate(folder / "many", "*.other.example"),
    }


def test_a_certificate_that_is_trusted(certificates):
    with serving(echo, tls=certificates["good"]) as port:
        assert greeted(port, scheme="grpcs", ca=str(certificates["good"][0])).raw == b"abc"


@pytest.mark.parametrize("which", ["good", "other", "address", "many"])
def test_any_certificate_where_none_is_checked(certificates, which):
    with serving(echo, tls=certificates[which]) as port:
        assert greeted(port, scheme="grpcs", insecure=True).raw == b"abc"


def test_the_roots_are_those_of_the_system(certificates, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["good"][0]))
    with serving(echo, tls=certificates["good"]) as port:
        assert greeted(port, scheme="grpcs").raw == b"abc"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["good"][0].parent / "absent"))
    monkeypatch.setenv("SSL_CERT_DIR", str(certificates["good"][0].parent / "absent"))
    with pytest.raises(BadInput, match="no authorities are known here"):
        greeted(1, scheme="grpcs")


@pytest.mark.parametrize(
    ("which", "trusting", "words"),
    [
        ("good", {}, r"not trusted: self-signed certificate. Name its authority with --set ca=FILE"),
        ("other", {"ca": "other"}, r"not trusted: Hostname mismatch, certificate is not valid for 'localhost'"),
        ("other", {"ca": "good"}, "not trusted"),
        ("expired", {"ca": "expired"}, "not trusted: certificate has expired"),
        (
            "expired",
            {"insecure": True},
            r"in spite of insecure=yes: .* has expired. Renew it, or ask a port without TLS",
        ),
    ],
)
def test_a_certificate_that_is_not_trusted(certificates, which, trusting, words):
    told = {name: str(certificates[value][0]) if name == "ca" else value for name, value in trusting.items()}
    with serving(echo, tls=certificates[which]) as port, pytest.raises(BadInput, match=words) as caught:
        greeted(port, scheme="grpcs", **told)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("trusting", [{}, {"insecure": True}])
def test_a_server_without_tls(trusting):
    with (
        serving(echo) as port,
        pytest.raises(BadInput, match=r"no TLS connection: .* or write grpc:// if it speaks no"),
    ):
        greeted(port, scheme="grpcs", **trusting)
    with pytest.raises(BadInput, match="nothing listens there"):
        greeted(h.unused_port(), scheme="grpcs", **trusting)


def test_a_server_of_http_behind_tls(certificates):
    with (
        h.Server(tls=h.served_by(certificates["good"])) as server,
        pytest.raises(BadInput, match="speaks no gRPC"),
    ):
        greeted(server.port, scheme="grpcs", ca=str(certificates["good"][0]))


def test_no_words_of_a_server_tell_a_secret():
    with (
        serving(lambda request, context: context.abort(grpc.StatusCode.INTERNAL, "no hunter22\x1b[31m")) as port,
        pytest.raises(TargetFailed) as caught,
    ):
        greeted(port, headers=[Header("x-key", "hunter22")])
    assert "INTERNAL: no ***" in str(caught.value)
    assert str(caught.value).isprintable()


def test_without_grpcio(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"gRPC needs grpcio. pip install 'pinchpoint\[grpc\]'"):
        greeted(1)


@pytest.mark.parametrize("name", ["a!b", "X-Y-bin"])
def test_a_header_that_is_no_metadata(name):
    with serving(echo) as port, pytest.raises(BadInput, match="cannot be sent as gRPC metadata"):
        greeted(port, headers=[Header(name, "x")])


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"ca": "crt.pem"}, {"insecure": True}])
def test_calls_and_the_server_that_does_nothing_are_over_tls_alike(tmp_path, monkeypatch, options):
    files = h.certificate(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "body").write_bytes(b"abc")
    with serving(echo, tls=files) as port:
        url = f"grpcs://localhost:{port}/test.Echo/Call"
        met = meet(*understood(LoadOptions(url, input=("body",), **options)), lambda _: None)
        crew = Crew(met.plan, 1)
        try:
            level = {"arrivals": {"loop": "closed", "concurrency": 3}, "seconds": 0.0, "count": 40}
            seen = crew.drive(level, lambda *_: "", 20.0)
        finally:
            crew.close()
    assert (met.greeted.raw, int(seen.outcomes[records.OK])) == (b"abc", 40)
    # The client speaks TLS there as well, so that nothing would be answered in the clear.
    proof = self_proof.client(met.plan, met.request, met.greeted.raw, 4, 1)
    assert (met.plan["tls"], proof.reason) == (True, "")
    assert self_proof.round_trip(met.plan, met.request, met.greeted.raw).value > 0


# --- a worker ------------------------------------------------------------------------------------------------------
def driven(port, *, count=40, request=b"abc", concurrency=3, check=(), timeout_s=5.0, meanwhile=None):
    """How many calls of a worker ended in each way."""
    plan = {
        "kind": "grpc", "requests": [base64.b64encode(request).decode()], "statuses": [], "check": list(check),
        "stream": False, "host": "127.0.0.1", "port": port, "unix": "", "tls": False, "name": "", "ca": None,
        "insecure": False, "timeout_s": timeout_s, "seed": 0, "target": "/test.Echo/Call", "metadata": [], "roots": "",
    }  # fmt: skip
    crew = Crew(plan, 1)
    try:
        level = {"arrivals": {"loop": "closed", "concurrency": concurrency}, "seconds": 0.0, "count": count}
        seen = crew.drive(level, meanwhile or (lambda *_: ""), 20.0)
    finally:
        crew.close()
    assert seen.counters[records.SENT] == seen.outcomes.sum()
    return {records.OUTCOMES[kind]: int(n) for kind, n in enumerate(seen.outcomes) if n}, seen.stopped


@pytest.mark.slow
def test_calls_end_each_in_one_way():
    calls = []

    def answer(request, context):
        calls.append(request)
        if len(calls) % 4 == 0:
            context.abort(grpc.StatusCode.INTERNAL, "no")
        return request if len(calls) % 4 else b""

    with serving(answer) as port:
        found, _ = driven(port)
    assert set(found) == {"ok", "status"}
    assert sum(found.values()) == len(calls) == 40


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda *_: bytes(70 << 20), "too_large"),
        (aborts(grpc.StatusCode.UNIMPLEMENTED), "status"),
        (aborts(grpc.StatusCode.UNAVAILABLE), "reset"),
        (lambda request, _: request * 10, "ok"),
    ],
)
def test_calls_that_all_end_alike(answer, kind):
    with serving(answer) as port:
        found, _ = driven(port, count=4 if kind == "too_large" else 40)
    assert set(found) == {kind}


@pytest.mark.slow
def test_a_server_that_dies_under_calls():
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serving(echo))

        def watch(seen, _seconds):
            if seen.done > 20:
                stack.close()
            return ""

        found, _ = driven(port, count=20_000, meanwhile=watch)
    assert sum(found.values()) == 20_000
    assert set(found) <= {"ok", "reset", "refused", "status"}
    assert found.get("refused", 0) + found.get("reset", 0) > 10


@pytest.mark.slow
def test_calls_that_are_never_answered():
    import threading

    over = threading.Event()
    try:
        with serving(lambda request, _: over.wait(30) and b"") as port:
            found, _ = driven(port, count=6, timeout_s=0.3)
            over.set()
    finally:
        over.set()
    assert found == {"timeout": 6}


@pytest.mark.slow
def test_calls_go_to_the_server_that_was_named(monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{h.unused_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(echo) as port:
        assert driven(port, count=4)[0] == {"ok": 4}


def test_a_call_that_is_given_up_at_once_ends():
    import asyncio

    from pinchpoint.load.grpc_worker import Slot

    class Worker:
        requests, metadata, check, ends = (b"",), None, None, ()

        def __init__(self):
            self.loop = asyncio.get_running_loop()

        async def ask(self, *_, **__):
            await asyncio.sleep(10)

        def ended(self, slot, outcome, _status, _done):
            self.ends += (outcome,)

    async def main():
        worker = Worker()
        slot = Slot(worker)
        slot.send(1, 0)
        slot.abort(records.CUT_OFF)
        await asyncio.sleep(0.01)
        return worker.ends, slot.busy

    assert asyncio.run(main()) == ((records.CUT_OFF,), False)
