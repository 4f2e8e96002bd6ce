"""Real servers through the command line: Triton, MLServer, TorchServe, BentoML, llama-server and a double of TensorFlow Serving.

Each is started with a fault planted in its model or its configuration, and healthy; `make servers` installs them.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from bench.live_servers import program, serving
from bench.real_servers import debian
from bench.real_servers.install import FOLDER, missing
from bench.real_servers.running import running
from bench.server_plants import SLOW_SERVICE

from end_to_end import decided, named, skip_if_busy, told

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.servers]
BUDGET = 26
JSON = ("--header", "Content-Type: application/json")
WAITS = {"W102", "W103", "W110", "I105"}  # what none of the healthy ones does
UNEXPLAINED, ALIKE = 0.10, 0.10
LATENCY, CAPACITY, LEDGER = "latency", "capacity", "ledger"


@dataclass(frozen=True, slots=True)
class Plant:
    """A server with something planted: the causes of latency and of capacity that are right, empty where none is due.

    `wrong` has the questions that pinchpoint answers wrong today, and what it says.
    """

    server: str
    name: str = "healthy"
    knobs: Mapping[str, object] = field(default_factory=dict)
    latency: tuple[str, ...] = ()
    capacity: tuple[str, ...] = ()
    wrong: Mapping[str, str] = field(default_factory=dict)

    def __str__(self):
        return f"{self.server}, {self.name}"


def fault(server, name, latency, capacity=(), wrong=()):
    """A fault of the model's own code."""
    return Plant(server, name, {"fault": name}, (latency,), capacity, dict(wrong))


def window(server, seconds, wrong=()):
    """A batch that never fills: by the server's counters, or by a timer."""
    return Plant(server, "long batching window", {"window_s": seconds}, ("W103", "W110"), (), dict(wrong))


def fat(server, wrong=()):
    """Numbers that nobody needs, as text."""
    return Plant(server, "fat JSON", {"needless_numbers": 40_000}, ("C104",), (), dict(wrong))


# What pinchpoint answers wrong today, question by question: each is to be mended there, and its mark to go.
NO_LOCK = (
    "capacity W104 'The lock of the server is held all the time': an idle thread of the worker's ThreadPoolExecutor, which has another"
    " home without requests, waits for work in its queue; the worker's own event loop is full, and hidden among two loops (59 %)"
)
JVM_COMPILES = (
    "unexplained -60 to -19 % while the JVM is young (-7 % after 1,500 requests): its compiler threads use 3.6 ms of CPU and 1.9 ms of"
    " waiting for a CPU a request beside it, which is divided by too few threads that were seen running"
)
HANDED_OVER = (
    "unexplained 5 to 17 % of 8.5 ms, its interval above 10 % (10 to 15): threads that hand over to each other are seen running at once,"
    " in 12 % of the moments, so that CPU time is divided by too many"
)
A_TIMED_WAIT = (
    "latency W104 'A LOCK is waited for in each request': the batcher's thread waits in a futex with a time limit, and nobody"
    " holds anything meanwhile"
)
PLANTS = (
    Plant("triton"),
    fault("triton", "too few instances", "W110", ("W102",)),
    fault("triton", "slow preprocessing", "C102"),
    window("triton", 0.02),
    Plant("mlserver", wrong={CAPACITY: NO_LOCK}),
    fault("mlserver", "slow preprocessing", "C102", wrong={CAPACITY: NO_LOCK}),
    fault("mlserver", "slow downstream call", "I105", wrong={CAPACITY: NO_LOCK}),
    Plant("torchserve", wrong={LEDGER: JVM_COMPILES}),
    fat("torchserve", wrong={LEDGER: JVM_COMPILES}),
    window("torchserve", 0.03, wrong={LATENCY: A_TIMED_WAIT}),
    Plant("bentoml"),
    fault("bentoml", "slow downstream call", "I105"),
    fat("bentoml"),
    Plant("llama", wrong={LEDGER: HANDED_OVER}),
    Plant("tensorflow"),
)


def asked(plant):
    """The plant with each question, which is expected to fail where the answer is known to be wrong."""
    for question in (LATENCY, CAPACITY, LEDGER):
        marks = [pytest.mark.xfail(strict=False, reason=plant.wrong[question])] if question in plant.wrong else []
        yield pytest.param(plant, question, id=f"{plant}, {question}", marks=marks)


@contextlib.contextmanager
def planted(folder, plant):
    """The plant being served, and the slow service that it asks."""
    if why := missing(plant.server):
        pytest.skip(why)
    with contextlib.ExitStack() as beside:
        other = 0
        if plant.name == "slow downstream call":
            other = beside.enter_context(serving(folder / "other", SLOW_SERVICE, program))
        yield beside.enter_context(running(plant.server, folder / plant.server, other=other, **plant.knobs))


@pytest.fixture(scope="module")
def answers():
    """Diagnoses so far, and which of their questions were looked at."""
    return {}


@pytest.fixture
def found(tmp_path, answers, plant, question):
    """The diagnosis of a plant, one for all questions; a new one for a question that is asked again."""
    document, seen = answers.get(plant.server + plant.name, (None, {question}))
    if question in seen:
        with planted(tmp_path, plant) as server:
            request = () if server.target != server.url else ("--input", str(server.body), *JSON)
            code, stderr, document = told(tmp_path, server.target, *request, budget=BUDGET)
        assert code in (0, 3), stderr
        seen = set()
    answers[plant.server + plant.name] = document, seen | {question}
    skip_if_busy(document)
    unseen = " ".join(document["unobservable"])
    if any(words in unseen for words in ("inside the server", "thread states")):
        pytest.skip(unseen)
    return document


@pytest.mark.parametrize(("plant", "question"), [each for plant in PLANTS for each in asked(plant)])
def test_the_planted_cause_and_no_other(plant, question, found):
    if question == LEDGER:
        rows = [row for row in found["ledger"] if row["question"] == LATENCY and row["state"] == "unexplained"]
        assert abs(sum(row["share"] for row in rows)) < UNEXPLAINED, found["ledger"]
    elif question == CAPACITY:
        answer = found["verdicts"][CAPACITY]
        assert answer["cause"] != "W104", answer["sentence"]  # there is no lock in any
        if plant.capacity:
            named(found, *plant.capacity, question=CAPACITY)
    elif plant.name == "fat JSON":
        assert decided(found, "C104") == "present"
    elif plant.latency:
        named(found, *plant.latency)
    else:
        answer = found["verdicts"][LATENCY]
        assert answer["cause"] not in WAITS | {"W104"}, answer["sentence"]


def test_a_model_that_triton_does_not_serve_is_answered_with_those_that_it_does(tmp_path):
    with planted(tmp_path, Plant("triton")) as server:
        code, stderr, document = told(tmp_path, server.target.replace("/network", "/netwrok"))
    assert (code, document) == (2, None)
    assert "'netwrok'" in stderr
    assert re.search(r"[Ss]erved are network\b", stderr), stderr


def test_perf_analyzer_finds_the_latency_that_load_finds(tmp_path):
    """A peer that Triton's makers use: a model that sleeps, so that chance is small."""
    if why := missing("perf_analyzer"):
        pytest.skip(why)
    with planted(tmp_path, fault("triton", "too few instances", "W110")) as server:
        theirs = perf_analyzer(server.url.split("/")[2])
        ours = load(tmp_path, server)
    assert abs(ours / theirs - 1) < ALIKE, (ours, theirs)


def load(folder, server):
    """The same by `pinchpoint load`."""
    asking = ["--input", str(server.body), *JSON, "--duration", "4s", "--json", "load.json", "--quiet"]
    command = [sys.executable, "-m", "pinchpoint", "load", server.url, *asking]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "load.json").read_text())["levels"][0]["latency_s"]["p50"]["value"]


def perf_analyzer(address):
    """The median latency of one request in flight, in seconds."""
    place = FOLDER / "perf_analyzer"
    start = debian.command(
        place / "debian", str(place / "wheel/perf_analyzer/bin/perf_analyzer"), "/" + debian.LIBRARIES
    )
    asking = [
        "-m",
        "network",
        "-u",
        address,
        "--concurrency-range",
        "1",
        "-p",
        "1500",
        "-s",
        "50",
        "-r",
        "3",
        "--percentile",
        "50",
    ]
    done = subprocess.run([*start, *asking], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"p50 latency: (\d+) usec", done.stdout)
    assert found, done.stdout + done.stderr
    return int(found[1]) / 1e6
