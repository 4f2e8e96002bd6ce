"""Bad days of real servers, end to end: each dies, or dies and is started again, while it is diagnosed and while load is sent."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bench.real_servers.plants import Plant, cannot, planted

from pinchpoint import store
from pinchpoint.load import records

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.servers]
SERVERS = ("triton", "mlserver", "torchserve", "bentoml", "llama", "tensorflow")
MORE = pytest.mark.more
ONE_EACH_TIME = [SERVERS[0], *(pytest.param(each, marks=MORE) for each in SERVERS[1:])]
ALONE, TOGETHER = "one request in flight: ", "2 requests in flight"
JSON = ("--header", "Content-Type: application/json")


@pytest.fixture
def served(tmp_path, server):
    """A healthy server."""
    plant = Plant(server)
    if why := cannot(plant):
        pytest.skip(why)
    with planted(tmp_path, plant) as running:
        yield running


def asked(running):
    """What a plain URL is asked with."""
    return ("--input", running.body, *JSON) if running.target == running.url else ()


def diagnosed(day, running, act, wait_for):
    """The diagnosis of a server to which something happens once progress says a word."""
    options = ("--budget", "12", "--json", "d.json", *asked(running))
    return day.meanwhile(act, "diagnose", running.target, *options, wait_for=wait_for, then_s=0.5)


def kept(day, done):
    """One line, and what was measured until then on the screen, in the document and in the run folder."""
    assert "LATENCY" in done.out, done
    document = json.loads((day.folder / "d.json").read_text())
    (run,) = day.runs()
    assert document["measured"]["requests"] > 0
    assert np.count_nonzero(run.requests.ok) > 0
    return document, run


@pytest.mark.parametrize("wait_for", [ALONE, pytest.param(TOGETHER, marks=MORE)])
@pytest.mark.parametrize("server", SERVERS)
def test_death_while_it_is_diagnosed(day, served, wait_for):
    done = diagnosed(day, served, lambda _: served.die(), wait_for)
    document, run = kept(day, done)
    if wait_for == ALONE:
        done.said(3, served.url, "no request was answered", "what was measured until then is shown and kept")
        assert "no request was answered" in run.ended
    else:  # one request in flight was measured to the end
        assert done.code in (0, 3), done
        assert document["verdicts"]["capacity"]["cause"] is None
        assert run.ladder_ended != "complete"


@pytest.mark.parametrize("server", ONE_EACH_TIME)
def test_restart_while_it_is_diagnosed(day, served):
    def restart(_):
        served.die()
        served.begin()

    done = diagnosed(day, served, restart, ALONE)
    _, run = kept(day, done)
    assert done.code in (0, 3), done
    if run.ended != "complete":  # it was away for longer than we are patient
        done.said(3, served.url, "what was measured until then is shown and kept")


@pytest.mark.parametrize("returns", [True, False])
@pytest.mark.parametrize("server", ONE_EACH_TIME)
def test_load_on_a_server_that_dies(day, served, returns):
    """Requests fail while it is away, each is told of by its kind, and answers come again once it is back."""
    away = []

    def act(_):
        served.die()
        if returns:
            served.begin()
            away.append(True)

    options = ("--duration", "12s" if returns else "4s", "--timeout", "2s", "--json", "d.json", *asked(served))
    done = day.meanwhile(act, "load", served.target, *options, wait_for="1 in flight", then_s=1.5)
    assert done.code in (0, 3), done
    (level,) = json.loads((day.folder / "d.json").read_text())["levels"]
    failed = {each["kind"] for each in level["errors"]}
    assert level["done"] > level["failed"] or not returns
    assert failed
    assert failed <= {"refused", "reset", "closed", "short", "status", "timeout"}
    (run,) = [store.load_traffic(path) for path in (day.folder / "pinchpoint-runs").glob("*")]
    good = run.sends.outcome == records.OK
    last_failure = np.flatnonzero(~good & (run.sends.outcome != records.CUT_OFF))[-1]
    assert np.any(good[:last_failure])
    assert bool(away) == returns
    assert np.any(good[last_failure:]) == returns
