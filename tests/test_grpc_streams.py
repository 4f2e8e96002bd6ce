"""A decoupled model over gRPC, by a double of Triton: found out, asked by a stream, and its responses timed and counted."""

from __future__ import annotations

import time

import pytest

from pinchpoint.domain.run import OBSERVED
from pinchpoint.driving import LoadOptions, understood
from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.load import records, self_proof
from pinchpoint.load.crew import Crew
from pinchpoint.load.engine import meet
from pinchpoint.load.protobuf import Malformed, block, decoded
from pinchpoint.load.streamed_messages import error_of, framed, holds_outputs, unframed
from pinchpoint.self_description import described, statistics
from pinchpoint.service_requests import stream_of

grpc = pytest.importorskip("grpc")
from inference_double import DECOUPLED, FAILED, LAST, RESPONSE, aborts, serving  # noqa: E402  # it needs grpc

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def decoupled(answer):
    return serving(ModelConfig=lambda *_: DECOUPLED, ModelStreamInfer=answer, ModelInfer=None)


def met(place, folder):
    return meet(*understood(described(LoadOptions(f"oip+grpc://{place}/m"), folder, 0).options), lambda _: None)


def driven(plan, count=12):
    """The rows of so many calls, three at a time."""
    crew = Crew(plan, 1)
    try:
        level = {"arrivals": {"loop": "closed", "concurrency": 3}, "seconds": 0.0, "count": count}
        return crew.drive(level, lambda *_: "", 20.0).all_rows()
    finally:
        crew.close()


@pytest.mark.parametrize(("url", "asked"), [
    ("oip+grpc://{}/m", "grpc://{}"),
    ("triton+grpc://me:pass@{}/m/versions/2", "grpc://me:pass@{}"),
])  # fmt: skip
def test_a_decoupled_model_is_asked_by_a_stream(tmp_path, url, asked):
    with decoupled(lambda _: [RESPONSE]) as place:
        found = described(LoadOptions(url.format(place)), tmp_path, 0)
        assert statistics(understood(found.options)[1], "m") == {"queue": (7, 3500)}
    assert (found.options.url, found.model) == (asked.format(place) + STREAM, "m")
    assert found.protocol == "Open Inference Protocol (gRPC, decoupled)"
    assert len(found.options.input) == 1


@pytest.mark.parametrize(
    "config", [None, lambda *_: b"", lambda *_: b"\x0a\x05\x9a\x01\x02\x08\x00", lambda *_: b"no message"]
)
def test_any_other_model_is_not(tmp_path, config):
    with serving(ModelConfig=config) as place:
        url = f"oip+grpc://{place}/m"
        assert described(LoadOptions(url), tmp_path, 0).options.url == url


def test_the_port_that_is_usual_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("pinchpoint.grpc_description.is_decoupled", lambda _: True)
    (tmp_path / "body").touch()
    options = LoadOptions("triton+grpcs://h/m", input=(str(tmp_path / "body"),))
    assert described(options, tmp_path, 0).options.url == f"grpcs://h:8001{STREAM}"


def test_the_first_answer_is_all_of_its_messages(tmp_path):
    with decoupled(lambda _: [RESPONSE, RESPONSE, LAST]) as place:
        found = met(place, tmp_path)
    assert (found.greeted.stream, found.plan["stream"], found.greeted.host) == (True, True, "127.0.0.1")
    assert list(unframed(found.greeted.raw)) == [RESPONSE, RESPONSE, LAST]


@pytest.mark.parametrize(("answer", "kind", "words"), [
    (lambda _: [RESPONSE, FAILED], TargetFailed, "failed with UNKNOWN: oops"),
    (lambda _: [], TargetFailed, "the first call failed with no response. Check --input"),
    (lambda _: [b"\xff"], TargetFailed, "failed with INTERNAL: what came is no ModelStreamInferResponse"),
    (lambda _: iter(lambda: RESPONSE + bytes(8 << 20), b""), TargetFailed, "RESOURCE_EXHAUSTED|INTERNAL"),
    (lambda _: time.sleep(5), TargetFailed, "no answer to the first request within 0.5 s"),
])  # fmt: skip
def test_a_first_answer_that_is_none(tmp_path, answer, kind, words):
    with decoupled(answer) as place:
        options = described(LoadOptions(f"oip+grpc://{place}/m", timeout_s=0.5), tmp_path, 0).options
        with pytest.raises(kind, match=words) as caught:
            meet(*understood(options), lambda _: None)
    assert str(caught.value).isprintable()


def test_the_method_that_answers_once_says_how_a_stream_is_asked(tmp_path):
    words = "ModelInfer RPC doesn't support models with decoupled transaction policy"
    with serving(ModelInfer=aborts(grpc.StatusCode.UNIMPLEMENTED, words)) as place:
        found = described(LoadOptions(f"oip+grpc://{place}/m"), tmp_path, 0)
        with pytest.raises(
            BadInput, match=r"in a stream of messages \(decoupled\).* Name the model, as in triton\+grpc://"
        ):
            meet(*understood(found.options), lambda _: None)


def test_what_a_message_says():
    assert [holds_outputs(each) for each in (RESPONSE, LAST, FAILED, b"")] == [True, False, False, False]
    assert [error_of(each) for each in (RESPONSE, LAST, FAILED, b"")] == ["", "", "oops", ""]
    final = decoded(decoded(LAST).blocks(2)[0]).message(4)
    assert (final.text(1), final.message(2).integer(1)) == ("triton_final_response", 1)
    for none in (b"\xff", b"\x12\x01\xff", b"\x12\x05abc"):
        with pytest.raises(Malformed):
            _ = error_of(none), holds_outputs(none)
    assert holds_outputs(block(2, block(5, b"") + block(7, bytes(8 << 20))))  # larger than what else is read


@pytest.mark.parametrize("answers", [(), (b"",), (b"a", b"", bytes(70_000))])
def test_messages_as_one(answers):
    assert tuple(unframed(framed(answers))) == answers


@pytest.mark.slow
def test_responses_are_counted_and_timed_and_the_last_word_is_no_response(tmp_path):
    def three(_request):
        for number in range(3):
            time.sleep(0.03 if number == 2 else 0.01)
            yield RESPONSE
        time.sleep(0.01)
        yield LAST

    with decoupled(three) as place:
        found = met(place, tmp_path)
        rows = driven(found.plan)
    assert set(rows["outcome"]) == {records.OK}
    assert set(rows["events"]) == {3}
    first, gap, done = (rows[name] for name in ("first_ns", "gap_ns", "done_ns"))
    assert (first - rows["sent_ns"] >= 0.01e9).all()
    assert (gap > 0).all()
    assert (done - first >= gap).all()
    assert (done - rows["sent_ns"] >= 0.06e9).all()  # the last word as well
    told = stream_of([(rows, OBSERVED)], "response")
    assert (told.unit, told.units, told.first_s.n, told.between_s.n) == ("response", 3.0, 12, 12)


@pytest.mark.slow
@pytest.mark.parametrize(("later", "outcome", "status"), [
    ([RESPONSE, FAILED], records.STATUS, grpc.StatusCode.UNKNOWN.value[0]),
    ([RESPONSE, b"\xff"], records.MALFORMED, 0),
    ([RESPONSE + block(2, bytes(40 << 20))] * 2, records.TOO_LARGE, 0),
    ([LAST], records.OK, 0),
])  # fmt: skip
def test_a_stream_that_ends_in_another_way(tmp_path, later, outcome, status):
    asked = []

    def answer(request):
        asked.append(request)
        return [RESPONSE] if len(asked) == 1 else later

    with decoupled(answer) as place:
        rows = driven(met(place, tmp_path).plan, count=3)
    assert (set(rows["outcome"]), set(rows["status"])) == ({outcome}, {status})
    assert (rows["first_ns"] >= rows["sent_ns"]).all()


@pytest.mark.slow
def test_the_server_that_does_nothing_answers_by_the_same_messages(tmp_path):
    with decoupled(lambda _: [RESPONSE, RESPONSE, LAST]) as place:
        found = met(place, tmp_path)
    raw = found.greeted.raw
    with self_proof.null_server(found.plan, found.request, raw) as (port, _):
        again = meet(*understood(LoadOptions(f"grpc://127.0.0.1:{port}{STREAM}")), lambda _: None)
    assert again.greeted.raw == raw
    assert self_proof.client(found.plan, found.request, raw, 4, 1).reason == ""
    assert self_proof.round_trip(found.plan, found.request, raw).value > 0
