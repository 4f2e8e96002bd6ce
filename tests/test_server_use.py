"""What a server's processes used during a level: from readings that are known, and from a server that says itself what it spends."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from load_runs import BEGIN, a_level, a_run
from pinchpoint import LoadOptions, limits, load, store
from pinchpoint.domain.run import Telemetry
from pinchpoint.domain.served import Served, ServerProcess
from pinchpoint.load_figures import load_report
from pinchpoint.overseeing import CPU, DELAY, PROCESSES, RSS, THREADS
from pinchpoint.reporters import load_words

LIMITS = limits.shipped()
SERVED = Served((ServerProcess(4711, 1, "uvicorn"),), cpus=2.0)
READINGS = 101


def readings(cpus=0.4, thread=0.4, starved=0.1, **more):
    """Ten readings a second over ten seconds of processes that use so many CPUs, with a jitter that has no trend."""
    seconds = np.arange(READINGS) / 10
    jitter = np.random.default_rng(0).normal(0, 0.002, READINGS)
    columns = {
        CPU: 100 + cpus * seconds + jitter, DELAY: starved * seconds, THREADS: np.full(READINGS, 3.0),
        PROCESSES: np.ones(READINGS), RSS: np.full(READINGS, 5e7), "thread 4711/4711 python": thread * seconds + jitter,
        "thread 4711/4712 worker": 0.01 * seconds, **more,
    }  # fmt: skip
    return Telemetry(BEGIN + (seconds * 1e9).astype(np.int64), tuple(columns.items()))


def used(served=SERVED, **given):
    """The report's level of 1,000 requests of 10 ms, one after the other."""
    run = a_run(a_level(np.full(1000, 10.0)), served=served, telemetry=readings(**given))
    return load_report(run, LIMITS).levels[0].server


def test_a_request_costs_what_was_spent_over_what_was_answered():
    found = used()
    assert found.cpu_s_per_request.value == pytest.approx(0.004, rel=0.02)
    assert found.cpu_s_per_request.low < 0.004 < found.cpu_s_per_request.high
    assert found.starved_s_per_request.value == pytest.approx(0.001, rel=0.02)
    assert found.cpus_busy.value == pytest.approx(0.4, rel=0.02)
    assert found.busiest_thread.value == pytest.approx(0.4, rel=0.02)
    assert (found.busiest_thread_name, found.processes, found.threads) == ("4711/4711 python", 1, 3)
    assert found.throttled_share is None


@pytest.mark.parametrize(("given", "full"), [
    ({"cpus": 0.4, "thread": 0.4}, ""),
    ({"cpus": 0.97, "thread": 0.97}, "thread"),  # an event loop, or the interpreter's lock
    ({"cpus": 1.95, "thread": 0.98}, "cpus"),  # the CPUs go first: a second thread would find none
    ({"cpus": 0.97, "thread": 0.1}, ""),  # many threads that share one CPU's worth: a lock, perhaps, which is not seen here
    ({"cpus": 0.5, "thread": 0.5, "served": Served(SERVED.processes, cpus=0.5)}, "cpus"),  # a quota of half a CPU
    ({"cpus": 1.95, "thread": 0.2, "served": Served(SERVED.processes)}, ""),  # how many there are is not known
])  # fmt: skip
def test_what_is_full(given, full):
    assert used(**given).full == full


def test_a_quota_that_is_used_up():
    periods = {"cgroup.nr_periods": np.arange(READINGS) * 1.0, "cgroup.nr_throttled": np.arange(READINGS) * 0.8}
    assert used(**periods).throttled_share == pytest.approx(0.8)


def test_what_threads_waited_that_nobody_saw_is_not_known():
    found = used(**{"unseen.cpu_s": 0.1 * np.arange(READINGS) / 10})
    assert found.starved_s_per_request is None
    assert found.cpu_s_per_request is not None


def test_too_few_readings_are_no_figure():
    run = a_run(a_level(np.full(30, 10.0)), served=SERVED, telemetry=readings())
    assert load_report(run, LIMITS).levels[0].server is None
    assert load_report(a_run(a_level(np.full(1000, 10.0))), LIMITS).levels[0].server is None


def test_a_run_with_and_without_it_comes_back_from_its_folder(tmp_path):
    run = a_run(a_level(np.full(1000, 10.0)), served=SERVED, telemetry=readings())
    for number, each in enumerate((run, a_run(a_level(np.full(1000, 10.0))))):
        folder = tmp_path / str(number)
        folder.mkdir()
        store.save(each, folder)
        assert load_report(store.load_traffic(folder), LIMITS) == load_report(each, LIMITS)


@pytest.mark.parametrize(("served", "words"), [
    (SERVED, ["uvicorn (pid 4711), 1 process, may use 2 CPUs.", "CPU a request", "ONE THREAD IS FULL"]),
    (Served(reason="it is another machine"), ["What the server itself uses is not seen: it is another machine."]),
    (Served(SERVED.processes, tunnel="kubectl"), ["The port is held by kubectl, which passes on what it gets"]),
    (Served((ServerProcess(1, 0, "\x1b[31mred"),)), ["red (pid 1)"]),
])  # fmt: skip
def test_what_is_said(served, words):
    run = a_run(a_level(np.full(1000, 10.0)), served=served, telemetry=readings(cpus=0.97, thread=0.97))
    text = " ".join(load_words.server(load_report(run, LIMITS)))
    assert all(word in text for word in words), text
    assert "\x1b" not in text


SERVER = """
    import http.server, sys, time
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            end = time.thread_time() + 0.004
            while time.thread_time() < end:
                pass
            time.sleep(0.004)
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
        def log_message(self, *_):
            pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
"""


def test_a_server_that_spends_what_is_known(tmp_path):
    path = tmp_path / "toy_service.py"
    path.write_text(textwrap.dedent(SERVER))
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}/"
        report = load(LoadOptions(url, seconds=3.0), out=tmp_path / "runs").report
    finally:
        process.kill()
        process.communicate()
    (found,) = [each.server for each in report.levels]
    assert [(each.pid, each.name) for each in report.served.processes] == [(process.pid, "toy_service.py")]
    assert 0.004 < found.cpu_s_per_request.value < 0.008  # 4 ms of its own, and what handling a request takes
    assert found.busiest_thread.value == pytest.approx(found.cpus_busy.value, rel=0.05)
    assert found.full == ""
    assert found.busiest_thread_name.startswith(f"{process.pid}/{process.pid} ")
