"""An OpenAI-compatible server's URL -> what it is asked: by a double that lists models and may or may not chat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinchpoint.driving import LoadOptions, understood
from pinchpoint.errors import BadInput
from pinchpoint.text_generation import PROMPTS, PROTOCOL, TOKENS, described, is_generation
from test_self_description import double

CHATS = {"/v1/chat/completions": {"choices": [{}]}}


def listing(*names):
    """Answers of a server with these models."""
    return {"/v1/models": {"data": [{"id": name} for name in names]}}


def asked(tmp_path, answers, path="", **options):
    """What is sent to the double."""
    with double(answers) as place:
        found = described(LoadOptions(f"openai+http://{place}{path}", **options), tmp_path, 3)
    return found, understood(found.options)[1]


@pytest.mark.parametrize(("answers", "path", "target", "key"), [
    (listing("m") | CHATS, "", "/v1/chat/completions", "messages"),
    (listing("m"), "", "/v1/completions", "prompt"),
    (listing("m") | CHATS, "/v1/completions", "/v1/completions", "prompt"),  # as it is written
    (listing("m") | CHATS, "/v1", "/v1/chat/completions", "messages"),
    (listing("org/m", "other"), "/org/m", "/v1/completions", "prompt"),
    (listing("m", "other"), "/v1/models/m", "/v1/completions", "prompt"),
])  # fmt: skip
def test_what_is_asked(tmp_path, answers, path, target, key):
    found, sending = asked(tmp_path, answers, path)
    assert (sending.address.target, found.protocol) == (target, PROTOCOL)
    bodies = [json.loads(each.body) for each in sending.bodies]
    assert len(bodies) == PROMPTS
    assert {body["model"] for body in bodies} == {found.model}
    assert all(key in body and body["stream"] and body["max_tokens"] == TOKENS for body in bodies)
    prompts = [body["prompt"] if key == "prompt" else body["messages"][0]["content"] for body in bodies]
    assert len(set(prompts)) == PROMPTS
    assert found.options.method == "POST"


@pytest.mark.parametrize(("path", "sent"), [("", None), ("/org/m", "org/m"), ("//models/m", "/models/m")])
@pytest.mark.parametrize("listed", [{}, listing()])
def test_a_server_that_lists_no_models_is_asked_for_whichever_it_has(tmp_path, listed, path, sent):
    """transformers lists what it has downloaded, and not the folder that it serves."""
    answers = {"/v1/chat/completions": {"choices": [{}], "model": "/models/m@main"}}
    found, sending = asked(tmp_path, listed | answers, path)
    assert sending.address.target == "/v1/chat/completions"
    assert {json.loads(each.body).get("model") for each in sending.bodies} == {sent}
    assert found.model == (sent or "/models/m@main")


def test_prompts_are_those_of_their_seed(tmp_path):
    with double(listing("m")) as place:
        url = LoadOptions(f"openai+http://{place}")
        bodies = [
            [Path(each).read_text() for each in described(url, tmp_path, seed).options.input] for seed in (1, 1, 2)
        ]
    assert bodies[0] == bodies[1] != bodies[2]


def test_a_given_request_is_sent_as_it_is(tmp_path):
    (tmp_path / "own.json").write_text("{}")
    found, sending = asked(tmp_path, {}, "/v1/chat/completions", input=(str(tmp_path / "own.json"),))
    assert (sending.address.target, [each.body for each in sending.bodies]) == ("/v1/chat/completions", [b"{}"])
    assert found.model == ""


@pytest.mark.parametrize(("answers", "path", "words"), [
    ({}, "", "it lists no models at /v1/models"),
    ({"/v1/models": {"data": 3}}, "", "it lists no models"),
    ({"/v1/models": {"data": ["m", {"name": "m"}]}}, "", "it lists no models"),
    ({"/v1/models": b"not JSON"}, "", "it lists no models"),
    (listing("m", "bert"), "", "it serves 2 models"),
    (listing("m", "bert"), "/resnet", "'resnet' is not served here. Served are m, bert"),
])  # fmt: skip
def test_in_one_line_what_cannot_be_asked(tmp_path, answers, path, words):
    with pytest.raises(BadInput) as raised:
        asked(tmp_path, answers, path)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_nobody_is_there(tmp_path):
    with pytest.raises(BadInput, match="nothing listens there"):
        described(LoadOptions("openai+http://127.0.0.1:9"), tmp_path, 0)


@pytest.mark.parametrize(("url", "is_one"), [
    ("openai+http://x", True), ("openai+https://x/m", True), ("http://x/v1/completions", False), ("oip+http://x/m", False), ("m.onnx", False),
])  # fmt: skip
def test_which_urls_are_of_such_servers(url, is_one):
    assert is_generation(url) is is_one
