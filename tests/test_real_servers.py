"""Real servers through the command line: Triton, MLServer, TorchServe, BentoML, llama-server, transformers and a double of
TensorFlow Serving.

Each is started with a fault planted in its model or its configuration, and healthy; `make servers` installs them.
"""

from __future__ import annotations

import contextlib
import json
import re
import urllib.request

import numpy as np
import pytest
from bench.real_servers.install import missing
from bench.real_servers.plants import HEALTHY, PLANTS, WAITS, Plant, cannot, few, planted, window

from bench import peers
from end_to_end import decided, named, skip_if_busy, status, told
from pinchpoint.counted import tally
from pinchpoint.domain.served import Served
from pinchpoint.driving import LoadOptions, understood
from pinchpoint.scraping import Scraper, sources

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.servers]
BUDGET = 26
JSON = ("--header", "Content-Type: application/json")
UNEXPLAINED, ALIKE = 0.10, 0.10
LATENCY, CAPACITY, LEDGER, COUNTERS = "latency", "capacity", "ledger", "counters"
TELL = {"triton", "mlserver", "torchserve", "llama"}  # what they count themselves
COUNTED_ALIKE = 0.02
SENT = 40
# Every server is asked healthy each time, and every fault of one of them; the others are `more`.
USUAL = {
    ("triton", "too few instances"), ("triton", "long batching window"), ("triton", "window of a step"), ("triton", "leak"),
    ("mlserver", "slow preprocessing"), ("mlserver", "blocked event loop"), ("torchserve", "long batching window"),
    ("bentoml", "slow downstream call"), ("bentoml", "fat JSON"), ("llama", "a CPU quota"), ("mlserver", "threads x workers"),
}  # fmt: skip
ASKED = [
    each if each.name == HEALTHY or (each.server, each.name) in USUAL else pytest.param(each, marks=pytest.mark.more)
    for each in PLANTS
]
RESPONSES = 4  # of a request, where a model is decoupled


@contextlib.contextmanager
def serving(folder, plant):
    """The plant being served, where it can be had here."""
    if why := cannot(plant):
        pytest.skip(why)
    with planted(folder, plant) as running:
        yield running


@pytest.fixture(scope="module")
def answers():
    """Diagnoses so far, and which of their questions were looked at."""
    return {}


@pytest.fixture
def found(tmp_path, answers, plant, question):
    """The diagnosis of a plant, one for all questions; a new one for a question that is asked again."""
    document, seen = answers.get(plant.server + plant.name, (None, {question}))
    if question in seen:
        with serving(tmp_path, plant) as server:
            request = () if server.target != server.url else ("--input", str(server.body), *JSON)
            place = ("--set", f"metrics={server.metrics}") if server.metrics else ()
            code, stderr, document = told(tmp_path, server.target, *request, *place, budget=BUDGET)
        assert code in (0, 3), stderr
        seen = set()
    answers[plant.server + plant.name] = document, seen | {question}
    skip_if_busy(document)
    unseen = " ".join(document["unobservable"])
    if any(words in unseen for words in ("inside the server", "thread states")):
        pytest.skip(unseen)
    return document


@pytest.mark.parametrize("question", [LATENCY, CAPACITY, LEDGER, COUNTERS])
@pytest.mark.parametrize("plant", ASKED, ids=str)
def test_the_planted_cause_and_no_other(plant, question, found):
    if question == LEDGER:
        mostly_explained(found)
    elif question == COUNTERS:
        counted(found, plant)
    elif question == CAPACITY:
        answer = found["verdicts"][CAPACITY]
        assert answer["cause"] != "W104", answer["sentence"]  # there is no lock in any
        if plant.capacity:
            named(found, *plant.capacity, question=CAPACITY)
    elif plant.name == HEALTHY:
        answer = found["verdicts"][LATENCY]
        assert answer["cause"] not in WAITS, answer["sentence"]
        assert status(found, "M105") != "present"
    else:
        if plant.latency:
            named(found, *plant.latency)
        for code in plant.present:
            assert decided(found, code) == "present"


def mostly_explained(found):
    """Less than a tenth is unexplained, or may be."""
    rows = [row for row in found["ledger"] if row["question"] == LATENCY and row["state"] == "unexplained"]
    for row in rows:
        low, high = (row["share"] * row["seconds"][end] / row["seconds"]["value"] for end in ("low", "high"))
        assert low < UNEXPLAINED and high > -UNEXPLAINED, found["ledger"]  # noqa: PT018  # one interval
        if abs(row["share"]) > UNEXPLAINED:
            pytest.skip(f"inconclusive: {row['share']:.0%} unexplained, {low:.0%} to {high:.0%}")


def counted(found, plant):
    """Servers that tell their counters agree with the client, and the ledger says what they say; the others tell nothing."""
    service = found["service"]
    parts = {each["name"]: each for each in service["counted"] if not each["step"]}
    assert {each["step"] for each in service["counted"]} - {""} == ({"scaler", "network"} if of_steps(plant) else set())
    assert bool(parts) == (plant.server in TELL)
    if service["answered"] is not None:  # llama-server counts tokens only
        assert service["answered"] == pytest.approx(service["ours"], rel=COUNTED_ALIKE, abs=2)
        inside = parts["request"]["seconds"] / parts["request"]["count"]
        assert 0 < inside < 1.02 * found["measured"]["latency_s"]["p50"]["value"] + 0.005
    rows = [row for row in found["ledger"] if row["source"] == "the server's counters" and row["question"] == LATENCY]
    queues = {each["step"]: each["seconds"] / each["count"] for each in service["counted"] if each["name"] == "queue"}
    for row in rows:
        assert row["seconds"]["value"] == pytest.approx(queues[row["label"]], rel=COUNTED_ALIKE)
    if "window_s" in plant.knobs:
        where = "network" if of_steps(plant) else ""
        assert queues[where] > 0.8 * plant.knobs["window_s"]
        assert max(rows, key=lambda row: row["share"])["label"] == where


def of_steps(plant):
    """Whether it is an ensemble."""
    return "ensemble" in plant.knobs


@pytest.mark.parametrize("server", ["triton", "llama"])
def test_counters_are_what_the_server_says_in_another_way(tmp_path, server):
    """GIVEN requests of our own THEN the page of metrics counts what Triton's statistics, or the answers of llama-server, say."""
    plant = window(server) if server == "triton" else Plant(server)  # so that there is a queue
    with serving(tmp_path, plant) as running:
        address = understood(LoadOptions(running.url))[1]
        scraper = Scraper(sources(address, "", Served(), running.metrics).read)
        scraper.watch(on=False)
        said = by_statistics(running) if server == "triton" else by_answers(running)
        scraper.watch(on=False)
    told = scraper.so_far()
    found = {each.name: each for each in tally(told, told.t_ns[0], told.t_ns[-1], SENT).counted}
    assert set(said) <= set(found)
    for name, (count, seconds) in said.items():
        assert found[name].count == count, name
        assert found[name].seconds == pytest.approx(seconds, rel=COUNTED_ALIKE, abs=SENT * 1e-6), (
            name
        )  # it counts whole us


def by_statistics(running):
    """Counts and seconds of SENT requests, by the statistics of the model."""
    place = running.url.removesuffix("/infer") + "/stats"
    before = answer(place)["model_stats"][0]["inference_stats"]
    for _ in range(SENT):
        answer(running.url, running.body.read_bytes())
    after = answer(place)["model_stats"][0]["inference_stats"]
    names = {"success": "request", "queue": "queue", "compute_infer": "compute"}
    return {
        ours: tuple((after[name][key] - before[name][key]) / unit for key, unit in (("count", 1), ("ns", 1e9)))
        for name, ours in names.items()
    }


def by_answers(running):
    """Tokens and seconds of SENT requests, as each answer tells them."""
    body = json.dumps(json.loads(running.body.read_text()) | {"n_predict": 128}).encode()
    timings = [answer(running.url, body)["timings"] for _ in range(SENT)]
    return {
        "decode": tuple(
            sum(each[f"predicted_{key}"] for each in timings) / unit for key, unit in (("n", 1), ("ms", 1e3))
        )
    }


def answer(url, body=None):
    """What a server answers, as JSON."""
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=20) as came:
        return json.load(came)


def test_a_model_that_triton_does_not_serve_is_answered_with_those_that_it_does(tmp_path):
    with serving(tmp_path, Plant("triton")) as server:
        code, stderr, document = told(tmp_path, server.target.replace("/network", "/netwrok"))
    assert (code, document) == (2, None)
    assert "'netwrok'" in stderr
    assert re.search(r"[Ss]erved are network\b", stderr), stderr


@pytest.mark.parametrize("name", ["llama", "transformers"])
def test_tokens_of_a_stream(tmp_path, name):
    """A server of language models by its URL alone: tokens, their pace, and what is computed until the first one and after it."""
    with serving(tmp_path, Plant(name)) as server:
        code, stderr, found = told(tmp_path, f"openai+http://{server.url.split('/')[2]}", budget=BUDGET)
    assert code in (0, 3), stderr
    skip_if_busy(found)
    stream = found["service"]["stream"]
    assert (stream["unit"], found["service"]["protocol"]) == ("token", "OpenAI-compatible API")
    assert 1 < stream["units"] <= 32  # as many as were asked for, or the model ended before
    whole = stream["first_s"]["value"] + (stream["units"] - 1) * stream["between_s"]["value"]
    # A mean pace beside medians: a few slow answers part them; what is exact is in test_service_requests.
    assert 0.5 < whole / found["measured"]["latency_s"]["p50"]["value"] < 2
    assert stream["first_s"]["value"] < found["measured"]["latency_s"]["p50"]["value"]
    assert stream["first_s"]["value"] > stream["between_s"]["value"]  # a whole prompt is read before it
    if name == "llama":
        assert {"prefill", "decode"} <= {row["label"] for row in found["ledger"]}
        decode = next(each for each in found["service"]["counted"] if each["name"] == "decode")
        assert decode["of"] == "token"
        by_the_server = decode["seconds"] / decode["count"]
        assert 0.5 < by_the_server / stream["between_s"]["value"] < 1.5
    mostly_explained(found)


def test_responses_of_a_decoupled_model(tmp_path):
    """Triton by the model's name alone: how many responses a request has, and their pace; over HTTP, how to ask instead."""
    with planted(tmp_path, Plant("triton", "decoupled", {"responses": RESPONSES})) as server:
        infer = server.url.replace("/generate_stream", "/infer")
        refused = told(tmp_path, infer, "--input", str(server.body))
        code, stderr, found = told(tmp_path, server.target, budget=BUDGET)
    assert refused[0] == 2
    assert "answers in a stream of messages (decoupled)" in refused[1]
    assert code in (0, 3), stderr
    skip_if_busy(found)
    stream, latency_s = found["service"]["stream"], found["measured"]["latency_s"]["p50"]["value"]
    assert found["service"]["protocol"] == "Open Inference Protocol (gRPC, decoupled)"
    assert (stream["unit"], stream["units"]) == ("response", RESPONSES)
    whole = stream["first_s"]["value"] + (RESPONSES - 1) * stream["between_s"]["value"]
    assert 0.5 < whole / latency_s < 2
    assert stream["first_s"]["value"] < latency_s
    mostly_explained(found)


def test_perf_analyzer_finds_the_latency_that_load_finds(tmp_path):
    """A peer that Triton's makers use: a model that sleeps, so that chance is small."""
    if why := missing("perf_analyzer"):
        pytest.skip(why)
    with serving(tmp_path, few("triton")) as server:
        turns = (ask(tmp_path, server, 500) for ask in (peers.theirs, peers.ours))
        theirs, ours = (float(np.median(done_ns - sent_ns)) for sent_ns, done_ns in turns)
    assert abs(ours / theirs - 1) < ALIKE, (ours, theirs)
