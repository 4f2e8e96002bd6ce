"""What the client itself can do: told with an interval, or with the reason why it is not known."""

from __future__ import annotations

import base64

import pytest
from test_worker import REQUEST, plan

import hostile_server as h
from pinchpoint.driving import LoadOptions, understood
from pinchpoint.errors import AnalysisFailed
from pinchpoint.load import self_proof
from pinchpoint.load.engine import meet


def proved(answer=h.ANSWER, in_flight=4, workers=1, **more):
    made = {key: value for key, value in plan(1, **more).items() if key not in ("worker", "workers")}
    return self_proof.client(made, REQUEST, answer, in_flight, workers)


@pytest.mark.slow
def test_the_ceiling_is_that_of_all_workers():
    found = proved(workers=3)
    assert found.workers == 3
    cost, ceiling = found.cpu_s_per_request, found.ceiling_per_s
    assert 0 < cost.low <= cost.value <= cost.high
    assert ceiling.low <= ceiling.value <= ceiling.high
    assert ceiling.value == pytest.approx(3 / cost.value)
    assert (cost.n >= 2, found.reason) == (True, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        h.answer(503),
        h.answer(body=bytes(100_000)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_any_answer_can_be_played_back(answer):
    assert proved(answer).ceiling_per_s is not None


@pytest.mark.slow
def test_it_is_measured_over_tls_where_the_target_wants_it(tmp_path):
    """The client speaks TLS to the server that does nothing, so that nothing would be answered in the clear."""
    files = h.certificate(tmp_path)
    with h.Server(tls=h.served_by(files)) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        met = meet(*understood(LoadOptions(url, ca=str(files[0]))), lambda _: None)
    found = self_proof.client(met.plan, met.request, met.greeted.raw, 4, 1)
    assert (met.plan["tls"], found.reason) == (True, "")
    assert self_proof.round_trip(met.plan, met.request, met.greeted.raw).value > 0


@pytest.mark.slow
def test_an_answer_that_costs_more_has_a_lower_ceiling():
    checked = proved(h.answer(body=b'{"a": 1}' + b" " * 50_000), check=["at", "a", "1"])
    assert checked.ceiling_per_s.value < proved().ceiling_per_s.value


@pytest.mark.slow
def test_why_it_is_not_known():
    assert "too large" in proved(None).reason
    assert proved(b"no answer at all", timeout_s=0.2).reason
    assert proved(h.ANSWER[:-3], timeout_s=0.2).ceiling_per_s is None


def test_a_server_that_cannot_start(monkeypatch):
    monkeypatch.setitem(self_proof.MODULES, "http", "pinchpoint.load.absent")
    assert "did not start" in proved().reason


def test_a_worker_that_fails_is_no_ceiling(monkeypatch):
    class Failing:
        def __init__(self, *_):
            raise AnalysisFailed(what="no", where="", todo="")

    monkeypatch.setattr(self_proof, "Crew", Failing)
    assert "no" in proved().reason


def test_nothing_is_imported_from_the_current_folder(monkeypatch, tmp_path):
    (tmp_path / "asyncio.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    assert proved().ceiling_per_s is not None


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_large_requests_are_taken_whole(workers):
    request = b"POST / HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)
    made = {key: value for key, value in plan(1).items() if key not in ("worker", "workers")}
    made["requests"] = [base64.b64encode(request).decode()]
    assert self_proof.client(made, request, h.ANSWER, 4, workers).ceiling_per_s is not None
