"""A server that counts itself, through the command line: a double that tells its counters as TorchServe does, alone and shared."""

from __future__ import annotations

import pytest
from bench.live_servers import program, serving

from end_to_end import diagnose, status

pytestmark = [pytest.mark.slow, pytest.mark.alone]
BUDGET = 26
QUEUED_S = 0.02
# One request at a time is worked on, after a window of 20 ms; OTHERS requests are counted beside each.
SOURCE = """
import sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OTHERS = 0
counted = {"ts_inference_requests_total": 0, "ts_queue_latency_microseconds": 0.0, "ts_inference_latency_microseconds": 0.0}
one = threading.Lock()

class Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

    def do_GET(self):
        if self.path != "/metrics":
            return self.answer(404, b"")
        text = "".join(f"# TYPE {name} counter\\n{name}{{model_name=\\"m\\",}} {value}\\n" for name, value in counted.items())
        self.answer(200, text.encode() if TELLS else b"nothing")

    def do_POST(self):
        begin = time.perf_counter()
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.02)
        with one:
            scheduled = time.perf_counter()
            end = time.thread_time() + 0.005
            while time.thread_time() < end:
                pass
            times = 1 + OTHERS
            counted["ts_queue_latency_microseconds"] += times * (scheduled - begin) * 1e6
            counted["ts_inference_latency_microseconds"] += times * (time.perf_counter() - begin) * 1e6
            counted["ts_inference_requests_total"] += times
        self.answer(200, b"ok")

    def answer(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def asked(folder, others=0, tells=True):
    (folder / "body.json").write_text("{}")
    source = SOURCE.replace("OTHERS = 0", f"OTHERS, TELLS = {others}, {tells}")
    with serving(folder / "server", source, program) as port:
        return diagnose(folder, f"http://127.0.0.1:{port}/", "--input", "body.json", budget=BUDGET)


def test_a_server_that_counts_itself_has_a_queue_and_a_cause(tmp_path):
    found = asked(tmp_path)
    service = found["service"]
    assert (service["teller"], service["answered"]) == ("TorchServe", service["ours"])
    queue = next(each for each in service["counted"] if each["name"] == "queue")
    assert queue["count"] == service["ours"]
    assert queue["mean"]["low"] < queue["mean"]["value"] < queue["mean"]["high"]
    assert QUEUED_S < queue["mean"]["value"] < 2 * QUEUED_S
    rows = {row["source"]: row for row in found["ledger"] if row["question"] == "latency" and row["stage"] == "queue"}
    assert rows["the server's counters"]["seconds"] == queue["mean"]
    assert status(found, "W103") == "present"
    if not found["rungs"]:
        pytest.skip(f"inconclusive: {found['verdicts']['capacity']['sentence']}")
    most = service["queued"][-1]
    assert most["load"] > 1
    assert most["each"]["value"] > queue["mean"]["value"]  # one at a time is worked on: the others wait


def test_other_clients_are_seen_in_its_counts(tmp_path):
    found = asked(tmp_path, others=3)
    assert status(found, "V103") == "present"
    assert not found["valid"]
    (reason,) = [each for each in found["reasons"] if "other clients" in each]
    assert f"{found['service']['answered']:,} requests" in reason
    assert found["service"]["answered"] == 4 * found["service"]["ours"]


def test_a_server_that_tells_nothing_is_diagnosed_as_before(tmp_path):
    found = asked(tmp_path, tells=False)
    assert (found["service"]["answered"], found["service"]["counted"]) == (None, [])
    assert not [row for row in found["ledger"] if row["stage"] == "queue"]
    assert status(found, "V103") != "present"
