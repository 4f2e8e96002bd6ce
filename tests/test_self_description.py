"""What a server says of itself, by a double of the Open Inference Protocol, and what is asked of it then."""

from __future__ import annotations

import json
import random
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pinchpoint.driving import LoadOptions, understood
from pinchpoint.errors import BadInput
from pinchpoint.self_description import PROTOCOL, described, request_of, routes, statistics, steps

TWO_INPUTS = [
    {"name": "x", "datatype": "FP32", "shape": [-1, 3]},
    {"name": "words", "datatype": "BYTES", "shape": [2]},
]
STATISTICS = {
    "model_stats": [{"inference_stats": {"queue": {"count": 7, "ns": 3500}, "success": {"count": "7", "ns": 1}}}]
}
ANSWERS = {
    "/v2/models/m": {"name": "m", "inputs": TWO_INPUTS},
    "/v2/models/a%20b": {"name": "a b", "inputs": TWO_INPUTS},
    "/v2/models/half": {"inputs": [{"name": "x", "datatype": "FP16", "shape": [1]}]},
    "/v2/models/huge": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [65536, 65536]}]},
    "/v2/models/odd": {"inputs": [{"name": "x", "shape": "large"}]},
    "/v2/models/m/stats": STATISTICS,
    "/v2/repository/index": [{"name": "m"}, {"name": "bert"}, 3],
    "/openapi.json": {"paths": {"/health": {"get": {}}, "/predict": {"post": {}, "parameters": []}, "/odd": 3}},
}


@contextmanager
def double(answers=ANSWERS):
    """The place of a server that answers what it is given, as JSON, and 404 to anything else."""

    class Double(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            known = answers.get(self.path)
            body = b"none" if known is None else known if isinstance(known, bytes) else json.dumps(known).encode()
            self.send_response(404 if known is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # as http.server calls it

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Double) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def sending(place):
    return understood(LoadOptions(f"http://{place}/"))[1]


@pytest.mark.parametrize(("scheme", "path", "target"), [
    ("oip+http", "/m", "/v2/models/m/infer"),
    ("triton+http", "/m/", "/v2/models/m/infer"),
    ("http", "/v2/models/m", "/v2/models/m/infer"),
    ("http", "/v2/models/m/infer", "/v2/models/m/infer"),
    ("oip+http", "/a%20b", "/v2/models/a%20b/infer"),
])  # fmt: skip
def test_a_url_that_names_a_model_is_enough(tmp_path, scheme, path, target):
    with double() as place:
        found = described(LoadOptions(f"{scheme}://{place}{path}"), tmp_path, 0)
        traffic, sent = understood(found.options)
    assert found.protocol == PROTOCOL
    assert (sent.address.target, traffic.method) == (target, "POST")
    (body,) = [json.loads(each.body) for each in sent.bodies]
    assert [(each["name"], each["shape"], len(each["data"])) for each in body["inputs"]] == [
        ("x", [1, 3], 3),
        ("words", [2], 2),
    ]


def test_any_other_url_is_taken_as_it_is(tmp_path):
    options = LoadOptions("http://127.0.0.1:1/predict?x=1")
    assert described(options, tmp_path, 0).options == options
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_is_given_is_sent(tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    with double() as place:
        found = described(LoadOptions(f"oip+http://{place}/m", input=(str(tmp_path / "mine.json"),)), tmp_path, 0)
    assert found.options.input == (str(tmp_path / "mine.json"),)
    assert found.options.url.endswith("/v2/models/m/infer")


@pytest.mark.parametrize(("path", "words"), [
    ("/resnet", "model 'resnet' is not served here, or tells nothing of its inputs. Served are bert, m"),
    ("/", "no model is named. Name one of bert, m"),
    ("/half", "its input 'x' (FP16 [1]) cannot be made up as JSON"),
    ("/huge", "cannot be made up as JSON"),
    ("/odd", "its metadata is not that of the protocol"),
])  # fmt: skip
def test_what_cannot_be_asked_is_one_line_without_what_is_secret(tmp_path, path, words):
    with double() as place, pytest.raises(BadInput) as caught:
        described(LoadOptions(f"oip+http://me:hunter22@{place}{path}"), tmp_path, 0)
    assert words in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_server_that_takes_bytes_is_given_bytes(tmp_path):
    """The form of Triton's extension: JSON that says how many bytes of each tensor follow, and a header with its own length."""
    inputs = [{"name": "x", "datatype": "FP16", "shape": [-1, 3]}, {"name": "ids", "datatype": "INT64", "shape": [2]}]
    told = {"/v2": {"extensions": ["binary_tensor_data"]}, "/v2/models/m": {"inputs": inputs}}
    with double(told) as place:
        found = described(LoadOptions(f"triton+http://{place}/m", header=("X-Key: 1",)), tmp_path, 0)
        payload = understood(found.options)[1].bodies[0]
    assert payload.kind == "application/octet-stream"
    assert found.options.header[0] == "X-Key: 1"
    head = int(found.options.header[1].removeprefix("Inference-Header-Content-Length: "))
    request = json.loads(payload.body[:head])
    assert request["inputs"] == [
        {"name": "x", "datatype": "FP16", "shape": [1, 3], "parameters": {"binary_data_size": 6}},
        {"name": "ids", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}},
    ]
    assert request["parameters"] == {"binary_data_output": True}
    assert len(payload.body) == head + 6 + 16


@pytest.mark.parametrize(("given", "words"), [
    ({"name": "x", "datatype": "FP8", "shape": [1]}, r"its input 'x' \(FP8 \[1\]\) cannot be made up"),
    ({"name": "x", "datatype": "FP32", "shape": "large"}, "its metadata is not that of the protocol"),
])  # fmt: skip
def test_bytes_that_cannot_be_made_up(tmp_path, given, words):
    told = {"/v2": {"extensions": ["binary_tensor_data"]}, "/v2/models/m": {"inputs": [given]}}
    with double(told) as place, pytest.raises(BadInput, match=words):
        described(LoadOptions(f"oip+http://{place}/m"), tmp_path, 0)


@pytest.mark.parametrize("extensions", [None, "binary_tensor_data", [], [3]])
def test_a_server_that_takes_none_is_given_text(tmp_path, extensions):
    with double(ANSWERS | {"/v2": {"extensions": extensions}}) as place:
        found = described(LoadOptions(f"oip+http://{place}/m"), tmp_path, 0)
    assert found.options.header == ()
    assert found.options.input[0].endswith(".json")


def test_a_model_that_answers_in_a_stream(tmp_path):
    config = {"/v2/models/m/config": {"model_transaction_policy": {"decoupled": True}}}
    words = r"in a stream of messages \(decoupled\).* triton\+grpc://.* or name /v2/models/m/generate_stream"
    with double(ANSWERS | config) as place:
        found = described(LoadOptions(f"triton+http://{place}/m"), tmp_path, 0)
        with pytest.raises(BadInput, match=words):
            described(LoadOptions(f"triton+http://{place}/m", input=found.options.input), tmp_path, 0)
    assert (found.options.url, found.options.method) == (f"http://{place}/v2/models/m/generate_stream", "POST")
    body = json.loads((tmp_path / "random-values.json").read_text())
    assert {name: len(values) for name, values in body.items()} == {"x": 3, "words": 2}
    for other in ([], {"model_transaction_policy": 3}, {"model_transaction_policy": {"decoupled": False}}):
        with double(ANSWERS | {"/v2/models/m/config": other}) as place:
            assert described(LoadOptions(f"triton+http://{place}/m"), tmp_path, 0).model == "m"


def test_where_nobody_listens_that_is_said(tmp_path):
    with pytest.raises(BadInput, match="nothing listens there"):
        described(LoadOptions("oip+http://127.0.0.1:1/m"), tmp_path, 0)
    assert statistics(sending("127.0.0.1:1"), "m") == {}  # one that was there, and went


@pytest.mark.parametrize("url", ["http://[::1", "oip+http://host:port/m", "http://"])
def test_what_is_no_url_is_one_line(tmp_path, url):
    with pytest.raises(BadInput):
        described(LoadOptions(url), tmp_path, 0)


def test_what_a_server_counted():
    with double() as place:
        assert statistics(sending(place), "m") == {"queue": (7, 3500)}  # a count that is a text is none
        assert statistics(sending(place), "bert") == {}


@pytest.mark.parametrize(("config", "found"), [
    ({"ensemble_scheduling": {"step": [{"model_name": "a"}, {"model_name": "b"}, {"model_name": "a"}]}}, ("a", "b", "a")),
    ({"ensemble_scheduling": {"step": [{"model_name": 3}, "b", {}]}}, ()),
    ({"ensemble_scheduling": {"step": {"model_name": "a"}}}, ()),
    ({"ensemble_scheduling": []}, ()),
    ({"instance_group": []}, ()),
    ([1], ()),
])  # fmt: skip
def test_the_steps_of_an_ensemble(config, found):
    with double({"/v2/models/m/config": config}) as place:
        assert steps(sending(place), "m") == found
        assert steps(sending(place), "bert") == ()


@pytest.mark.parametrize(("answers", "found"), [
    (ANSWERS, ("POST /predict", "GET /health")),
    ({}, ()),
    ({"/openapi.json": b"no JSON"}, ()),
    ({"/openapi.json": b"[" * 100_000}, ()),  # deeper than anyone needs
    ({"/openapi.json": [1]}, ()),
])  # fmt: skip
def test_the_routes_of_a_service_that_tells_them(answers, found):
    with double(answers) as place:
        assert routes(sending(place)) == found


def test_values_are_drawn_by_the_seed():
    drawn = [request_of(TWO_INPUTS, random.Random(seed), "here")["inputs"][0]["data"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
