"""Servers under the load of others, watched through the command line without a request of ours: what is full is named."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from textwrap import dedent

import pytest
from bench.live_servers import FLASK, WORK, gunicorn, serving
from bench.server_plants import PLANTS

from end_to_end import status

pytestmark = [pytest.mark.slow, pytest.mark.alone]
BUDGET = 15
# A closed loop of some threads, each request on a connection of its own; it ends with its parent.
CLIENT = """
    import sys, threading, urllib.request
    def ask():
        while True:
            with urllib.request.urlopen(sys.argv[1]) as answer: answer.read()
    for _ in range(int(sys.argv[2])): threading.Thread(target=ask, daemon=True).start()
    sys.stdin.read()
"""
COMPUTES = """
    @app.get("/")
    def predict():
        spin(20)
        return {"y": 1}
"""


@contextlib.contextmanager
def asked(port, clients):
    """The load of others."""
    command = [sys.executable, "-c", dedent(CLIENT), f"http://127.0.0.1:{port}/", str(clients)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(timeout=10)


def tool(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "pinchpoint", *arguments, "--quiet"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def observed(folder, *target):
    """The diagnosis of a run in which nothing was sent."""
    recorded = tool(folder, "record", *target, "--passive", "--budget", str(BUDGET))
    assert recorded.returncode == 0, recorded.stderr
    told = tool(folder, "diagnose", recorded.stdout.strip(), "--json", "out.json")
    assert told.returncode == 0, told.stderr
    found = json.loads((folder / "out.json").read_text())
    unseen = " ".join(found["unobservable"])
    if any(words in unseen for words in ("what Python executes", "thread states")):
        pytest.skip(unseen)
    if "with other programs" in (said := found["verdicts"]["capacity"]["sentence"]):
        pytest.skip(f"the machine is too busy to tell: {said}")
    return found


def used(found, kind):
    """The share of the fullest resource of a kind; None where there is none."""
    return max(
        (each["used"]["value"] for each in found["observed"]["uses"] if each["resource"].startswith(kind)), default=None
    )


@pytest.mark.parametrize(("name", "clients", "cause"), [
    ("loop computes", 4, "W105"),
    ("loop computes", 0, None),
    ("loop awaits", 4, None),
    ("threads in Python", 4, "W101"),
    ("one worker sleeps", 4, "W102"),
    ("one worker sleeps", 0, None),
    ("a lock", 4, "W104"),
])  # fmt: skip
def test_what_is_full_under_the_load_of_others(tmp_path, name, clients, cause):
    plant = next(each for each in PLANTS if each.name == name)
    source = "\n".join(dedent(part) for part in plant.parts)
    with serving(tmp_path, source, plant.command, **plant.how) as port, asked(port, clients):
        found = observed(tmp_path, f"http://127.0.0.1:{port}/")
    answer = found["verdicts"]["capacity"]
    if "TOO CLOSE" in answer["sentence"]:
        pytest.skip(answer["sentence"])
    assert answer["cause"] == cause, answer["sentence"]
    assert (answer["bound"] == "unknown") == (cause is None)
    if cause:
        assert status(found, cause) != "absent"  # others on the machine may leave open whether CPUs are idle
        assert found["observed"]["cpu_time"] or name in ("one worker sleeps", "a lock")
    if name == "one worker sleeps" and clients:
        assert found["observed"]["backlog"]["value"] > 1  # of four clients one is served
    assert found["observed"]["tool_cpus"]["value"] < 0.5


def test_cpus_that_are_full_are_told_with_what_takes_them(tmp_path):
    source = "\n".join(dedent(part) for part in (WORK, FLASK, COMPUTES))
    with serving(tmp_path, source, gunicorn, workers=3) as port, asked(port, 6):
        found = observed(tmp_path, f"http://127.0.0.1:{port}/")
    if found["environment"]["affinity"] > 2:
        pytest.skip("three workers do not fill so many CPUs")
    answer = found["verdicts"]["capacity"]
    if "TOO CLOSE" in answer["sentence"]:
        pytest.skip(answer["sentence"])
    assert (answer["bound"], answer["cause"], answer["where"]) == ("cpu", None, "framework"), answer["sentence"]
    assert "spin()" in answer["sentence"]
    assert used(found, "pool") > 0.85


def test_a_process_is_watched_by_its_number_until_it_ends(tmp_path):
    ends = "import time; time.sleep(8)"
    with subprocess.Popen([sys.executable, "-c", ends]) as process:
        done = tool(tmp_path, "record", "--pid", str(process.pid), "--passive", "--budget", "30")
    assert done.returncode == 3
    assert "the process ended while it was watched after" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert tool(tmp_path, "diagnose", done.stdout.strip()).returncode == 3
