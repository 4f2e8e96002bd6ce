"""What a server of gRPC says of itself, by a double of the Open Inference Protocol, and what is asked of it then."""

from __future__ import annotations

import time

import pytest

import hostile_server as h
from pinchpoint.driving import LoadOptions, understood
from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.load.protobuf import MOST_BYTES, block
from pinchpoint.self_description import described, statistics, steps

grpc = pytest.importorskip("grpc")
import inference_double as double  # noqa: E402  # it needs grpc
from inference_double import aborts, serving  # noqa: E402


def sending(place, path="/m"):
    return understood(LoadOptions(f"oip+grpc://{place}{path}"))[1]


def refused(folder, place, path="/m"):
    """The line that says why nothing can be asked."""
    with pytest.raises((BadInput, TargetFailed)) as caught:
        described(LoadOptions(f"oip+grpc://me:hunter22@{place}{path}"), folder, 0)
    assert "hunter22" not in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(("url", "name", "version"), [
    ("oip+grpc://{}/m", "m", ""),
    ("triton+grpc://{}/m/", "m", ""),
    ("TRITON+GRPC://{}/v2/models/m", "m", ""),
    ("oip+grpc://{}/m/versions/3", "m", "3"),
])  # fmt: skip
def test_a_url_that_names_a_model_is_enough(tmp_path, url, name, version):
    with serving() as place:
        found = described(LoadOptions(url.format(place)), tmp_path, 0)
    traffic, sent = understood(found.options)
    assert (found.protocol, found.model, sent.address.version) == ("Open Inference Protocol (gRPC)", name, version)
    assert (sent.address.target, traffic.method) == ("/inference.GRPCInferenceService/ModelInfer", "")
    (body,) = (each.body for each in sent.bodies)
    assert body.startswith(
        block(1, name) + block(2, version) + b"\x2a\x0d\x0a\x01x\x12\x04FP32\x1a\x02\x01\x03\x3a\x0c"
    )
    assert len(body.partition(b"\x3a\x0c")[2]) == 3 * 4


def test_a_request_that_is_given_is_sent(tmp_path):
    (tmp_path / "mine.bin").write_bytes(b"mine")
    url = f"oip+grpc://127.0.0.1:{h.unused_port()}/m"
    found = described(LoadOptions(url, input=(str(tmp_path / "mine.bin"),)), tmp_path, 0)
    assert (found.options.url, found.options.input, found.model) == (url, (str(tmp_path / "mine.bin"),), "m")


UNKNOWN = aborts(grpc.StatusCode.NOT_FOUND)
READY_ONLY = "Served are m."


@pytest.mark.parametrize(("path", "handlers", "words"), [
    ("/resnet", {}, f"model 'resnet' is not served here. {READY_ONLY}"),
    ("/old", {}, "model 'old' is not ready (UNAVAIL: nloads). Load it, or name another."),
    ("/bert", {}, "model 'bert' is not ready (LOAD)"),
    ("/m/versions/9", {"ModelMetadata": UNKNOWN}, f"model 'm' is not served here in version '9'. {READY_ONLY}"),
    ("/", {}, "no model is named. Name one of bert, m, old."),
    ("/", {"RepositoryIndex": None}, "no model is named. Name one of unknown: it lists none."),
    ("/resnet", {"RepositoryIndex": lambda *_: b"\x0a"}, "Served are unknown: it lists none"),
    ("/a/b", {}, "names more than a model. Write it as oip+grpc://host:port/MODEL"),
    ("/m", {"ModelMetadata": None}, "it does not speak the protocol (Open Inference Protocol)"),
    ("/m", {"ModelMetadata": aborts(grpc.StatusCode.UNAUTHENTICATED)}, "the server wants credentials: UNAUTHENTICATED: some words"),
    ("/m", {"ModelMetadata": aborts(grpc.StatusCode.UNAVAILABLE)}, "is not served here"),
    ("/m", {"ModelMetadata": lambda *_: b"no message"}, "its metadata is not that of the protocol"),
    ("/m", {"ModelMetadata": lambda *_: b"\x22\x01\x08"}, "its metadata is not that of the protocol"),
    ("/m", {"ModelMetadata": lambda *_: block(4, block(1, "a\nb") + block(2, "FP8"))}, "its input 'a\\nb' (FP8 []) cannot be made up"),
    ("/m", {"ModelMetadata": lambda *_: bytes(MOST_BYTES + 1)}, "RESOURCE_EXHAUSTED"),
])  # fmt: skip
def test_what_cannot_be_asked_is_one_line_without_what_is_secret(tmp_path, path, handlers, words):
    with serving(**handlers) as place:
        assert words in refused(tmp_path, place, path)
    assert list(tmp_path.iterdir()) == []


def test_an_endless_answer_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("pinchpoint.grpc_description.TIMEOUT_S", 0.5)

    def endless(_request, _context):
        while True:
            yield b"\x0a\x01m"

    with serving(ModelMetadata=endless, streams=("ModelMetadata",)) as place:
        assert refused(tmp_path, place)


def test_an_answer_that_never_comes(tmp_path, monkeypatch):
    monkeypatch.setattr("pinchpoint.grpc_description.TIMEOUT_S", 0.3)
    with serving(ModelMetadata=lambda *_: time.sleep(2)) as place:
        assert "no answer to the first request within 0.3 s" in refused(tmp_path, place)


def test_who_listens_there(tmp_path):
    assert "nothing listens there" in refused(tmp_path, f"127.0.0.1:{h.unused_port()}")
    with h.Server() as server:
        assert "what listens there speaks no gRPC" in refused(tmp_path, f"127.0.0.1:{server.port}")


def test_a_server_that_wants_tls(tmp_path):
    chain, key = (each.read_bytes() for each in h.certificate(tmp_path))
    options = {"ca": str(tmp_path / "crt.pem")}
    with serving(grpc.ssl_server_credentials([(key, chain)])) as place:
        assert "what listens there wants TLS. Write oip+grpcs://" in refused(tmp_path, place)
        secured = place.replace("127.0.0.1", "localhost")
        found = described(LoadOptions(f"oip+grpcs://{secured}/m", **options), tmp_path, 0)
        assert statistics(understood(found.options)[1], "m") == {"queue": (7, 3500)}


def test_what_a_server_counted():
    with serving() as place:
        assert statistics(sending(place), "m") == {"queue": (7, 3500)}
    with serving(ModelStatistics=None) as place:  # as MLServer
        assert statistics(sending(place), "m") == {}
    with serving(ModelStatistics=lambda *_: b"no message") as place:
        assert statistics(sending(place), "m") == {}
    assert statistics(sending(f"127.0.0.1:{h.unused_port()}"), "m") == {}  # one that was there, and went


@pytest.mark.parametrize(("answer", "found"), [
    (block(1, block(15, block(1, block(1, "a")) + block(1, block(1, "b")))), ("a", "b")),
    (b"", ()),
    (b"no message", ()),
    (b"\x0a\x02\x78\x01", ()),  # a number where the steps are
])  # fmt: skip
def test_the_steps_of_an_ensemble(answer, found):
    with serving(ModelConfig=lambda *_: answer) as place:
        assert steps(sending(place), "m") == found
    with serving() as place:  # as MLServer
        assert steps(sending(place), "m") == ()


def test_tensorflow_serving(tmp_path):
    from test_prediction_messages import LOADING, METADATA

    service = "/tensorflow.serving.PredictionService/"
    with serving(**{f"{service}GetModelMetadata": lambda *_: METADATA}) as place:
        found = described(LoadOptions(f"tfserving+grpc://{place}/m/versions/3"), tmp_path, 0)
        sent = understood(found.options)[1]
        assert statistics(sent, "m") == {}
    assert (found.protocol, found.model, sent.address.target) == ("TensorFlow Serving (gRPC)", "m", f"{service}Predict")
    assert sent.bodies[0].body.startswith(b"\x0a\x18\x0a\x01m\x12\x02\x08\x03\x1a\x0fserving_default\x12")
    status = {"/tensorflow.serving.ModelService/GetModelStatus": lambda *_: LOADING}
    with serving(**{f"{service}GetModelMetadata": UNKNOWN}, **status) as place, pytest.raises(BadInput) as caught:
        described(LoadOptions(f"tfserving+grpc://{place}/m"), tmp_path, 0)
    assert "model 'm' is not ready (LOADING)" in str(caught.value)
    with serving() as place, pytest.raises(BadInput, match=r"does not speak the protocol \(TensorFlow Serving"):
        described(LoadOptions(f"tfserving+grpc://{place}/m"), tmp_path, 0)


def test_the_double_is_what_it_says():
    assert double.METADATA.startswith(block(1, "m"))
