"""Real servers: an installation that fails says why and fails nothing; what is started is ready, and gone afterwards."""

from __future__ import annotations

import sys
import urllib.request

import psutil
import pytest
from bench.live_servers import free_port
from bench.plants.cgroups import needs_cgroup
from bench.real_servers import install, running, servers
from bench.real_servers.failed import Failed, run
from bench.real_servers.plants import PLANTS, Plant, Removal

from bench import real
from pinchpoint.domain.change import Change, Prediction
from pinchpoint.domain.quantity import Quantity
from pinchpoint.probes.cgroup import quota_cpus

SERVES = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(child.pid).encode())
    do_POST = do_GET
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Hello).serve_forever()
"""
ENDS = "import sys; sys.exit('no such model')"


@pytest.fixture
def recipe(monkeypatch, tmp_path):
    """Makes `made` be installed by a function; its folder."""

    def become(function):
        monkeypatch.setattr(install, "RECIPES", {"made": function})
        return tmp_path

    return become


def test_what_cannot_be_installed_says_why_and_leaves_nothing(recipe):
    def refused(folder):
        (folder / "half").touch()
        run([sys.executable, "-c", "import sys; sys.exit('ERROR: no wheel for this machine')"])

    into = recipe(refused)
    assert "no wheel for this machine" in install.installed("made", into)
    assert "no wheel for this machine" in install.missing("made", into)
    assert not (into / "made").exists()


def test_what_is_installed_is_left_until_its_recipe_changes(recipe, monkeypatch):
    into = recipe(lambda folder: (folder / "program").touch())
    assert install.missing("made", into) == "made is not installed: make servers"
    assert install.installed("made", into).startswith("installed in")
    assert install.missing("made", into) is None
    assert install.installed("made", into) == "there already"
    monkeypatch.setattr(install, "_mark", lambda _: "another")
    assert install.installed("made", into).startswith("installed in")


def test_a_program_that_is_not_there_is_a_reason(tmp_path):
    with pytest.raises(Failed, match="there is no frobnicate here"):
        run(["frobnicate"], tmp_path)


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Makes `made` be a server of a source; a folder for it."""

    def become(source):
        port = free_port()
        url = f"http://127.0.0.1:{port}/"
        start = servers.Start((sys.executable, "-c", source, str(port)), url, url, {})
        made = servers.Server("made", lambda *_: start)
        monkeypatch.setattr(running, "SERVERS", {"made": made})
        monkeypatch.setattr(running, "missing", lambda _: None)
        return tmp_path / "made"

    return become


def test_a_server_answers_while_it_runs_and_leaves_no_process(served):
    with running.running("made", served(SERVES)) as server, urllib.request.urlopen(server.url) as answer:
        child = int(answer.read())
        assert psutil.pid_exists(child)
    assert not alive(server.pid)
    assert not alive(child)


def test_a_server_that_dies_begins_again_where_it_was(served):
    with running.running("made", served(SERVES)) as server:
        first, url = server.pid, server.url
        with urllib.request.urlopen(url) as answer:
            child = int(answer.read())  # in a session of its own
        server.die()
        assert not alive(first)
        assert not alive(child)
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(url)
        server.begin()
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200
        assert server.pid != first


def test_a_quota_holds_for_the_server(served):
    if why := needs_cgroup("cpu")():
        pytest.skip(why)
    with running.running("made", served(SERVES), quota=0.5) as server:
        assert quota_cpus(server.pid) == pytest.approx(0.5)


def alive(pid):
    """Whether a process still runs; one that nobody has reaped does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_server_that_ends_is_told_with_its_log(served):
    with pytest.raises(running.DidNotStart, match="no such model"), running.running("made", served(ENDS)):
        pytest.fail("it did not start")


def test_a_server_that_is_not_installed_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "missing", lambda name: f"{name} is not installed: make servers")
    with pytest.raises(running.DidNotStart, match="make servers"), running.running("triton", tmp_path):
        pytest.fail("it did not start")


@pytest.mark.parametrize(("kind", "measured", "said"), [
    ("estimate", 2.0, "0.00"),
    ("estimate", 4.0, "0.69"),
    ("bound", 1.5, "bound"),
    ("bound", 2.6, "exceeded"),
])  # fmt: skip
def test_a_gain_beside_the_forecast(kind, measured, said):
    gain = Quantity(2.0, 1.8, 2.2, 10)
    foretold = Prediction(Change("remedy", "C104", "words", kind, ()), gain, gain, gain)
    gained = real.Gained(Removal(("remedy",)), foretold, Quantity(measured, measured * 0.99, measured * 1.01, 10))
    assert real._row(Plant("triton"), gained)[2:] == ("2.00", "1.80-2.20", f"{measured:.2f}", said)


def test_each_plant_has_a_name_of_its_own():
    assert len({str(each) for each in PLANTS}) == len(PLANTS)
