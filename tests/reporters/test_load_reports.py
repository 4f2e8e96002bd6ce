"""The forms of a report of `load`: 80 columns, the same words in all of them, and nothing from a server that could run."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from browser import BROWSER, shown
from load_runs import a_level, a_run
from pinchpoint.api import render_load
from pinchpoint.domain.traffic import CONFIRMED, SOUGHT, Slo, Traffic
from pinchpoint.errors import BadInput
from pinchpoint.limits import shipped
from pinchpoint.load import records
from pinchpoint.load_figures import load_report

FORMS = ("terminal", "terminal-colour", "json", "html", "markdown", "notebook")
EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&\x1b[31m\u202e"


def report(run):
    return load_report(run, shipped())


def sweep(loads=(1, 2, 4, 8), alone_ms=10.0, most_per_s=250.0, n=2000):
    """A closed sweep against a server that takes `alone_ms` alone and serves `most_per_s` at most."""
    noise = np.random.default_rng(0)
    return a_run(
        *(
            a_level(max(alone_ms, load * 1e3 / most_per_s) * noise.gamma(50, 1 / 50, n), concurrency=load)
            for load in loads
        )
    )


def failing():
    outcomes = [records.STATUS, *[records.TIMEOUT] * 50]
    return a_run(a_level(np.full(1000, 10.0), concurrency=4, outcomes=outcomes), ended="interrupted", notes=("a note",))


def at_rate(rate, latency_ms, **more):
    return a_level(latency_ms, rate_per_s=rate, gap_ms=1e3 / rate, **more)


def searched():
    levels = [
        a_level(np.full(100, 10.0), purpose=SOUGHT),
        at_rate(100, np.full(500, 10.0), purpose=SOUGHT, promise="kept"),
        at_rate(100, np.full(900, 10.0), purpose=CONFIRMED, promise="kept"),
        at_rate(106, np.full(900, 90.0), purpose=CONFIRMED, promise="broken"),
    ]
    return a_run(*levels, traffic=Traffic((), slo=Slo(0.99, 0.05)))


RUNS = {"sweep": sweep(), "failing": failing(), "searched": searched()}


@pytest.mark.parametrize("name", RUNS)
def test_the_screen_fits_and_no_form_is_empty(name):
    found = report(RUNS[name])
    assert all(len(line) <= 80 for line in render_load(found).splitlines())
    for form in FORMS:
        assert "127.0.0.1" in render_load(found, form)


def test_all_forms_say_the_same():
    found = report(RUNS["sweep"])
    for form in ("terminal", "html", "markdown"):
        said = " ".join(render_load(found, form).split())
        for words in ("KNEE at 4 in flight", "GET; 10.0 s each", "Served by a server", "n=8,000 answered"):
            assert words in said, (form, words)


def test_the_highest_rate_is_said_with_both_ends():
    assert "UP TO 100/s keeps p99 within 50.0 ms (n=900); broken at 106/s." in render_load(report(RUNS["searched"]))


def test_failures_are_counted_by_kind_and_make_the_run_invalid():
    found = report(RUNS["failing"])
    screen = render_load(found)
    assert not found.valid
    assert {each.code for each in found.reasons} == {"V105", "ended"}
    for words in ("NOT VALID", "51 of 1,000 (5 %), in no latency above", "50 not answered in time", "A note."):
        assert words in screen, words


def test_json_is_the_report(tmp_path):
    tree = json.loads(render_load(report(RUNS["sweep"]), "json"))
    assert tree["schema"] == "pinchpoint/load/1"
    assert [each["concurrency"] for each in tree["levels"]] == [1, 2, 4, 8]
    assert tree["levels"][0]["latency_s"]["p99"]["n"] == 2000
    assert tree["knee"]["concurrency"] == 4


def test_a_format_that_is_none():
    with pytest.raises(BadInput, match="no format 'perfetto'"):
        render_load(report(RUNS["sweep"]), "perfetto")


def test_nothing_from_a_server_runs_or_steers():
    run = replace(failing(), uri=f"http://127.0.0.1/{EVIL}", server=EVIL, notes=(EVIL,), id=EVIL)
    found = report(run)
    page = render_load(found, "html")
    assert "<script" not in page
    assert "<img" not in page
    assert "default-src 'none'" in page
    assert "<script" not in render_load(found, "markdown")
    assert "\x1b" not in render_load(found)
    assert "\x1b[31m" not in render_load(found, "terminal-colour")


def test_the_page_draws_curves_of_a_sweep_and_pictures_of_levels():
    page = render_load(report(RUNS["sweep"]), "html")
    assert page.count("<svg") == 2 + 2 * 4
    assert not re.search(r"(?:src|href)=", page)
    assert len(page) < 3 << 20


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_a_browser_shows_it(tmp_path):
    document = shown(render_load(report(RUNS["sweep"]), "html"), tmp_path, 1200)
    assert "Median latency" in document
    assert document.count("<svg") == 10


def test_a_level_beyond_what_is_served_has_no_latency():
    found = report(a_run(at_rate(400, 10 + np.arange(2000) * 2.0)))
    assert found.levels[0].ended == "over-saturated"
    assert found.levels[0].latency_s.p50 is None
    assert "400/s is more than it serves" in render_load(found)


def test_a_level_that_keeps_up_is_not_taken_for_one_that_does_not():
    steady = np.random.default_rng(0).exponential(50, 4000)
    assert report(a_run(at_rate(100, steady))).levels[0].ended == "complete"


@pytest.mark.parametrize(("kind", "part"), [("http", "event"), ("grpc", "response")])
def test_the_parts_of_a_stream(kind, part):
    level, rows = a_level(np.full(100, 40.0))
    rows |= {
        "first_ns": rows["done_ns"] - 30_000_000,
        "events": rows["events"] + 4,
        "gap_ns": rows["gap_ns"] + 10_000_000,
    }
    told = render_load(report(a_run((level, rows), kind=kind)))
    assert f"100 {part}s/s a request after the first; first {part} p50 10.0 ms; longest gap p50" in " ".join(
        told.split()
    )
