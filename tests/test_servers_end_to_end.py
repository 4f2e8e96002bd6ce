"""Live servers through the command line: real uvicorn, gunicorn and http.server with a fault planted, and without."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from bench.live_servers import gunicorn, program, serving, uvicorn
from bench.plants.cgroups import needs_cgroup
from bench.plants.networks import distant, needs_network
from bench.server_plants import OTHER, PLANTS, SLOW_SERVICE

import hostile_server
import pinchpoint
from end_to_end import diagnose, named, told
from pinchpoint import store
from pinchpoint.domain.ledger import TOLD
from pinchpoint.domain.service import SPANS

pytestmark = [pytest.mark.slow, pytest.mark.alone]
CHOSEN = ("loop computes", "threads in Python", "one worker sleeps", "one worker that fills the CPUs",
          "helpers spin while it sleeps", "a process of its own", "a lock", "fat JSON", "thin JSON", "another service",
          "awaited on kept connections", "session in each request", "a window of its own", "memory made anew",
          "a thread in the background",
          "standard library", "uneven processes", "even processes",
          "a quota")  # fmt: skip
BUDGET = 26
DOCS = Path(__file__).parents[1] / "docs"


@contextlib.contextmanager
def planted(folder, plant):
    """The plant being served; its URL and the options that it is asked with."""
    source = "\n".join(dedent(part) for part in plant.parts)
    with contextlib.ExitStack() as beside:
        if OTHER in source:
            source = source.replace(OTHER, str(beside.enter_context(serving(folder / "other", SLOW_SERVICE, program))))
        if plant.quota and (missing := needs_cgroup("cpu")()):
            pytest.skip(missing)
        port = beside.enter_context(serving(folder, source, plant.command, plant.quota, **plant.how))
        if plant.body is not None:
            (folder / "body.json").write_text(plant.body)
        yield f"http://127.0.0.1:{port}/", ["--input", "body.json"] if plant.body is not None else []


@pytest.mark.parametrize("plant", [each for each in PLANTS if each.name in CHOSEN], ids=lambda plant: plant.name)
def test_the_planted_cause_and_no_other(tmp_path, plant):
    with planted(tmp_path, plant) as (url, options):
        found = diagnose(tmp_path, url, *options, budget=BUDGET)
    unseen = " ".join(found["unobservable"])
    if any(words in unseen for words in ("inside the server", "what Python executes", "thread states")):
        pytest.skip(unseen)
    open_ones = []
    for question, due in (("latency", plant.latency), ("capacity", plant.capacity)):
        answer = found["verdicts"][question]
        if answer["cause"] is None and None not in due:
            open_ones.append(answer["sentence"])
        else:
            assert answer["cause"] in due, (question, answer["sentence"])
    rows = [row for row in found["ledger"] if row["question"] == "latency"]
    assert abs(sum(row["share"] for row in rows if row["state"] == "unexplained")) < 0.1
    if open_ones:
        pytest.skip(f"inconclusive: {open_ones}")


BY_SIZE = """
    import time
    from flask import Flask, request
    app = Flask(__name__)
    @app.post("/")
    def predict():
        time.sleep(0.06 if len(request.get_data()) > 100 else 0.002)
        return {"y": 1}
"""


@pytest.mark.parametrize("threads", [1, 16])
def test_small_requests_behind_large_ones(tmp_path, threads):
    """GIVEN one large input in twenty THEN one worker makes small ones wait for it, and sixteen threads do not."""
    (inputs := tmp_path / "inputs").mkdir()
    for number in range(20):
        (inputs / f"{number}.json").write_text("[]" if number else json.dumps([1.0] * 1000))
    with serving(tmp_path / "server", BY_SIZE, gunicorn, threads=threads) as port:
        found = diagnose(tmp_path, f"http://127.0.0.1:{port}/", "--input", inputs, budget=BUDGET)
    if threads == 1:
        named(found, "W107", question="tail")
        (line,) = [each for each in found["predictions"] if each["change"]["remedy"] == "size-aware-queue"]
        assert line["gain"]["low"] > 1.5
    else:
        assert found["verdicts"]["tail"]["cause"] != "W107"


def test_a_run_of_a_server_gives_the_same_answer_from_its_folder_alone(tmp_path):
    plant = next(each for each in PLANTS if each.name == "thin JSON")
    with planted(tmp_path, plant) as (url, options):
        first = diagnose(tmp_path, url, *options, budget=14)
    again = diagnose(tmp_path, next((tmp_path / "pinchpoint-runs").iterdir()))
    assert again == first
    assert first["service"]["frameworks"][0] == "FastAPI"


def test_over_tls(tmp_path):
    """GIVEN a server with a certificate of its own THEN it is refused in words, and diagnosed where its authority is named."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    certificate, key = hostile_server.certificate(tmp_path / "tls", "127.0.0.1")
    plant = next(each for each in PLANTS if each.name == "preprocessing")

    def command(port):
        return [*uvicorn(port), "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]

    with serving(tmp_path / "server", "\n".join(map(dedent, plant.parts)), command) as port:
        url = f"https://127.0.0.1:{port}/"
        code, said, _ = told(tmp_path, url)
        found = diagnose(tmp_path, url, "--set", f"ca={certificate}", budget=BUDGET)
    assert code == 2
    assert "its certificate is not trusted" in said
    named(found, "C102")
    rows = [row for row in found["ledger"] if row["question"] == "latency"]
    assert abs(sum(row["share"] for row in rows if row["state"] == "unexplained")) < 0.1


def the_example():
    """The program of docs/servers.md, which finds this pinchpoint wherever it is served."""
    source = (DOCS / "servers.md").read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    return f"import sys\nsys.path.insert(0, {str(Path(pinchpoint.__file__).parents[1])!r})\n{source}"


def test_stages_that_a_server_tells_are_exact(tmp_path):
    """GIVEN the example of the docs: 8 ms of computing, then 5 ms of a timer THEN the cells of each stage are as long as it says."""
    with serving(tmp_path / "server", the_example()) as port:
        found = diagnose(tmp_path, f"http://127.0.0.1:{port}/predict", budget=BUDGET)
    run = store.load(next((tmp_path / "pinchpoint-runs").iterdir()))
    assert sorted(run.span_names[len(SPANS) :]) == ["model", "preprocess"]
    assert np.count_nonzero(run.spans.name >= len(SPANS)) == 2 * np.count_nonzero(run.requests.ok)
    answer = found["verdicts"]["latency"]
    assert answer["stages_from"] == "server"
    rows = [row for row in found["ledger"] if row["question"] == "latency"]
    assert not [row for row in rows if row["source"] == "Server-Timing"]  # all of it was seen
    whole_ns = (run.requests.end_ns - run.requests.start_ns).mean()
    for name, state in (("preprocess", "cpu"), ("model", "wait")):
        mine = run.spans.name == run.span_names.index(name)
        told = (run.spans.end_ns - run.spans.begin_ns)[mine].mean() / whole_ns
        seen = sum(row["share"] for row in rows if (row["stage"], row["state"]) == (name, state))
        if name == "preprocess":  # where it wanted a CPU is not told apart by stages
            seen += sum(row["share"] for row in rows if row["state"] == "starved")
        assert seen == pytest.approx(told, rel=0.1), (name, rows)
    assert (answer["cause"], answer["where"]) == ("C102", "preprocess")


def test_stages_that_a_server_tells_into_which_nobody_looks(tmp_path):
    """GIVEN the same example on another machine, as far as can be seen THEN its word is what is known of its stages."""
    if missing := needs_network():
        pytest.skip(missing)

    def command(port):
        return [*uvicorn(port), "--host", "0.0.0.0"]  # of a network namespace of its own

    with distant(0.002) as place, serving(tmp_path / "server", the_example(), command, place=place) as port:
        found = diagnose(tmp_path, f"http://{place.host}:{port}/predict", budget=14)
    answer = found["verdicts"]["latency"]
    assert (answer["bound"], answer["cause"], answer["where"]) == ("unknown", None, "preprocess")
    assert "as the server tells" in answer["sentence"]
    rows = [row for row in found["ledger"] if row["question"] == "latency"]
    told_of = {row["stage"]: row["seconds"]["value"] for row in rows if row["site"] == TOLD}
    assert told_of["preprocess"] == pytest.approx(0.008, rel=0.1)
    assert told_of["model"] == pytest.approx(0.005, rel=0.1)
    assert abs(sum(row["share"] for row in rows if row["state"] == "unexplained" and row["site"] != TOLD)) < 0.1


TRACED = """
    import time
    from fastapi import FastAPI, Request
    from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(FileSpanExporter("../traces.jsonl"), schedule_delay_millis=500))
    tracer, propagator = provider.get_tracer("app"), TraceContextTextMapPropagator()
    app = FastAPI()
    @app.get("/")
    def predict(request: Request):
        with tracer.start_as_current_span("GET /", propagator.extract(dict(request.headers))):
            with tracer.start_as_current_span("preprocess"):
                end = time.thread_time() + 0.008
                while time.thread_time() < end: pass
            with tracer.start_as_current_span("model"):
                time.sleep(0.005)
        return {"y": 1}
"""


def test_stages_of_the_traces_that_a_service_writes(tmp_path):
    """GIVEN a service with OpenTelemetry's own SDK, which writes an OTLP file THEN each of our requests has its spans in it, and the
    ledger its stages.
    """
    with serving(tmp_path / "server", TRACED) as port:
        url = f"http://127.0.0.1:{port}/"
        found = diagnose(tmp_path, url, "--set", f"traces={tmp_path / 'traces.jsonl'}", budget=BUDGET)
    run = store.load(next((tmp_path / "pinchpoint-runs").iterdir()))
    assert sorted(run.span_names[len(SPANS) :]) == ["model", "preprocess"]
    assert np.count_nonzero(run.spans.name >= len(SPANS)) == 2 * np.count_nonzero(run.requests.ok)
    assert (found["service"]["stages_by"], found["verdicts"]["latency"]["stages_from"]) == ("OTLP", "server")
    rows = [row for row in found["ledger"] if row["question"] == "latency"]
    assert sum(row["share"] for row in rows if (row["stage"], row["state"]) == ("model", "wait")) > 0.2
    assert sum(row["share"] for row in rows if (row["stage"], row["state"]) == ("preprocess", "cpu")) > 0.3


def test_a_service_that_writes_no_traces_is_answered_with_what_that_needs(tmp_path):
    plant = next(each for each in PLANTS if each.name == "thin JSON")
    with planted(tmp_path, plant) as (url, options):
        found = diagnose(tmp_path, url, *options, "--set", f"traces={tmp_path / 'none.jsonl'}", budget=14)
    assert any("has no span of them" in each for each in found["unobservable"])
