"""Reading a server's own counters beside the load, from doubles that serve recorded pages; times decide nothing."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pinchpoint import api, scraping
from pinchpoint.counted import Tally
from pinchpoint.domain.served import Served, ServerProcess
from pinchpoint.domain.service import Counted
from pinchpoint.driving import LoadOptions, understood
from pinchpoint.errors import BadInput
from pinchpoint.scraping import MOST_FAILURES, Scraper, Sources, sources
from pinchpoint.server_counters import KINDS, steps_of
from pinchpoint.server_counters import TRITON as KIND_OF_TRITON
from server_pages import LLAMA, TENSORFLOW, TORCHSERVE, TRITON, VLLM

METRICS = "/metrics"
STATISTICS = {
    "model_stats": [{"inference_stats": {"success": {"count": 7, "ns": 70_000_000}, "queue": {"count": 7, "ns": 700}}}]
}


@contextmanager
def double(pages):
    """The place of a server that serves these pages, and what it was asked with which headers."""
    asked = []

    class Double(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, dict(self.headers)))
            text = pages.get(self.path)
            self.send_response(404 if text is None else 200)
            body = (text or "").encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Double) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def sending(place, *headers):
    return understood(LoadOptions(f"http://{place}/predict", header=headers))[1]


@pytest.mark.parametrize(("path", "page", "kind"), [
    (METRICS, LLAMA, "llama-server"),
    ("/monitoring/prometheus/metrics", TENSORFLOW, "TensorFlow Serving"),
])  # fmt: skip
def test_the_page_at_the_server_s_own_port_is_found(path, page, kind):
    with double({path: page}) as (place, _):
        found = sources(sending(place), "", Served())
        assert found.kind.name == kind
        assert next(each() for each in found.read)
        assert found.unseen(Tally()) == ()


def test_another_port_is_asked_only_if_the_same_processes_listen_there(monkeypatch):
    mine, other = Served((ServerProcess(7, 1, "java"),)), Served((ServerProcess(8, 1, "java"),))
    with double({METRICS: TORCHSERVE}) as (place, asked), double({}) as (served, _):
        port = int(place.split(":")[1])
        monkeypatch.setattr(scraping, "KINDS", tuple(kind for kind in KINDS if kind.name == "TorchServe"))
        at_that_port = ((port, METRICS),)
        monkeypatch.setattr(scraping, "KINDS", tuple(_placed(kind, at_that_port) for kind in scraping.KINDS))
        monkeypatch.setattr(scraping, "served_by", lambda *_: other)
        assert sources(sending(served), "", mine).read == ()
        assert asked == []
        monkeypatch.setattr(scraping, "served_by", lambda *_: mine)
        assert sources(sending(served, "X-Key: hunter22"), "", mine).kind.name == "TorchServe"
        assert "hunter22" not in str(asked)  # what is for one port is not told to another


def _placed(kind, places):
    from dataclasses import replace

    return replace(kind, places=places)


def test_nothing_is_asked_on_another_machine_unless_it_is_named(monkeypatch):
    monkeypatch.setattr(scraping, "resolved", lambda _: ("192.0.2.1",))
    with double({METRICS: LLAMA}) as (place, asked):
        assert sources(sending(place), "", Served()) == Sources()
        assert asked == []
        assert sources(sending(place), "", Served(), f"http://{place}/metrics").kind.name == "llama-server"


def test_headers_go_to_the_server_that_they_are_for_and_to_no_other():
    with double({METRICS: LLAMA}) as (place, mine), double({METRICS: LLAMA}) as (elsewhere, theirs):
        sources(sending(place, "Authorization: Bearer hunter22"), "", Served())
        assert "hunter22" in str(mine)
        sources(sending(place, "Authorization: Bearer hunter22"), "", Served(), f"http://{elsewhere}/metrics")
        assert theirs
        assert "hunter22" not in str(theirs)


@pytest.mark.parametrize(("path", "words"), [
    ("/nothing", "no counters that are known are told there"),
    ("/other", "no counters that are known"),
])  # fmt: skip
def test_a_named_place_that_tells_nothing_is_one_line(path, words):
    with double({"/other": "python_info 1\n"}) as (place, _), pytest.raises(BadInput) as caught:
        sources(sending(place), "", Served(), f"http://me:hunter22@{place}{path}")
    assert words in str(caught.value)
    assert "vLLM" in str(caught.value)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["localhost:8002/metrics", "grpc://127.0.0.1:1/a.B/C", "http://127.0.0.1:1/metrics", ""]
)
def test_a_place_that_is_none(url):
    with double({}) as (place, _):
        if url:
            with pytest.raises(BadInput):
                sources(sending(place), "", Served(), url)
        else:
            assert sources(sending(place), "", Served(), url) == Sources()


@pytest.mark.parametrize(("process", "software", "words"), [
    ("llama-server", "", "--metrics"),
    ("uvicorn", "llama.cpp", "--metrics"),
    ("model_service_worker.py", "", "metrics_mode=prometheus"),
    ("tensorflow_model_server", "", "--monitoring_config_file"),
    ("uvicorn", "uvicorn", ""),
])  # fmt: skip
def test_a_known_server_that_tells_nothing_is_told_how_to(process, software, words):
    with double({}) as (place, _):
        found = sources(sending(place), "", Served((ServerProcess(1, 0, process),)), software=software)
    assert found.read == ()
    unseen = dict(found.unseen(Tally()))
    assert words in unseen.get("what the server itself counts", "")
    assert bool(unseen) == bool(words)


@pytest.mark.parametrize(("counts", "words"), [
    (Tally(), ""),
    (Tally((Counted("request", 9, 0.1), Counted("queue", 9, 0.1)), 9), ""),
    (Tally((Counted("request", 9, 0.1),), 9), "queueing in the server: llama-server does not tell it"),
    (Tally(reason="its counters fell"), "what the server itself counts: its counters fell"),
])  # fmt: skip
def test_what_a_server_does_not_tell_is_said(counts, words):
    with double({METRICS: LLAMA}) as (place, _):
        found = sources(sending(place), "", Served())
    assert "; ".join(f"{what}: {why}" for what, why in found.unseen(counts)) == words


def test_a_page_that_tells_nothing_of_the_model_is_none():
    with double({METRICS: VLLM}) as (place, _):
        assert len(sources(sending(place), "meta-llama/Llama-3.1-8B", Served()).read) == 1
        assert sources(sending(place), "another", Served()).read == ()


def test_statistics_of_a_model_and_the_gauges_of_the_page_beside_them():
    pages = {"/v2/models/network/stats": json.dumps(STATISTICS), METRICS: TRITON}
    with double(pages) as (place, _):
        scraper = Scraper(sources(sending(place), "network", Served(), f"http://{place}/metrics").read)
        scraper.watch(on=False)
        found = {name: values[0] for name, values in scraper.so_far().columns}
    assert (found["requests"], found["waiting"], found["batches"]) == (7, 3, 80)
    assert found["request_s"] == pytest.approx(0.07)


def test_the_steps_of_an_ensemble_are_read_too():
    steps = {"ensemble_scheduling": {"step": [{"model_name": "scaler"}, {"model_name": "network"}]}}
    told = {f"/v2/models/{name}/stats": json.dumps(STATISTICS) for name in ("pipeline", "scaler", "network")}
    with double(told | {"/v2/models/pipeline/config": json.dumps(steps)}) as (place, _):
        scraper = Scraper(sources(sending(place), "pipeline", Served()).read)
        scraper.watch(on=False)
        found = {name: values[0] for name, values in scraper.so_far().columns}
    assert steps_of(found) == ("scaler", "network")
    assert (found["requests"], found["request_count@network"]) == (7, 7)


def test_statistics_alone_are_enough():
    with double({"/v2/models/network/stats": json.dumps(STATISTICS)}) as (place, _):
        found = sources(sending(place), "network", Served())
        assert found.kind is KIND_OF_TRITON
        assert found.unseen(Tally()) == ()
        assert len(found.read) == 1


@pytest.mark.parametrize(("settings", "words"), [
    ({"intra_op_threads": "1"}, "a server that runs is not changed"),
    ({"metrics": "http://127.0.0.1:1/metrics", "x": "1"}, "a server that runs is not changed"),
])  # fmt: skip
def test_of_settings_a_server_takes_the_place_of_its_metrics_alone(tmp_path, settings, words):
    with pytest.raises(BadInput, match=words):
        api.diagnose("http://127.0.0.1:1/", settings=settings, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- the series ----------------------------------------------------------------------------------------------------
def counting():
    """A source that counts how often it was asked."""
    counts = iter(range(1000))
    return lambda: {"requests": float(next(counts)), "running": 1.0}


def test_each_switch_reads_once_and_off_reads_no_more():
    scraper = Scraper((counting(),), every_s=1e-3)
    scraper.start()
    scraper.watch(on=False)
    scraper.watch(on=False)
    count = len(scraper.so_far().t_ns)
    threading.Event().wait(0.05)
    assert count == len(scraper.so_far().t_ns) == 2
    scraper.watch(on=True)
    for _ in range(400):
        if len(scraper.so_far().t_ns) > 5:
            break
        threading.Event().wait(0.05)
    scraper.stop()
    found = scraper.so_far()
    assert len(found.t_ns) > 5
    assert (found.t_ns[1:] >= found.t_ns[:-1]).all()
    assert found.column("requests").tolist() == list(range(len(found.t_ns)))


def test_without_sources_nothing_is_read():
    scraper = Scraper(())
    scraper.start()
    scraper.watch(on=True)
    scraper.stop()
    assert len(scraper.so_far().t_ns) == 0


def test_what_is_not_answered_is_left_out_and_after_a_few_it_is_not_asked_again():
    answers = [{"a": 1.0}, {}, {"a": 2.0, "b": 5.0}, *[{}] * MOST_FAILURES]
    given = iter(answers)
    scraper = Scraper((lambda: next(given),))
    for _ in range(len(answers) + 5):  # an answer too many would raise
        scraper.watch(on=False)
    found = scraper.so_far()
    assert [(name, values.tolist()) for name, values in found.columns] == [("a", [1.0, 2.0])]
