"""Starts of synthetic runs: what a start is spent on is known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinchpoint import api, store
from pinchpoint.domain.quantity import exact
from pinchpoint.domain.run import BusyLine, Ceiling, Opening, Phase, Start
from pinchpoint.inquire import inquire
from pinchpoint.limits import shipped
from pinchpoint.plugins import builtin
from pinchpoint.startup import startup
from synthetic import Script, marked, run_of

MB = 1_000_000
TYPICAL = 0.002  # of the synthetic requests


def phases(reading=0.0, scale=1.0, **seconds):
    """The phases of a start; `reading` comes on top of opening the model, without CPU."""
    usual = {"interpreter": 0.01, "libraries": 0.05, "own code": 0.01, "session": 0.06, "first request": TYPICAL}
    taken = usual | {name.replace("_", " "): value for name, value in seconds.items()}
    detail = {"libraries": "numpy", "own code": "/srv/app.py", "session": "/srv/model.onnx"}
    made = []
    for name, value in taken.items():
        more = reading if name == "session" else 0.0
        made.append(Phase(name, value * scale + more, int(more * 1e9), detail.get(name, ""), value * scale, 10 * MB, 0))
    return (*made, Phase("inputs", 5.0, 0, "", 5.0, 0, 0))


def run_with(reading=None, noise=0.02, count=3, **seconds):
    """A run with `count` warm starts and, where `reading` is given, as many cold ones; each differs a little."""
    rng = np.random.default_rng(2)
    scales = 1 + noise * rng.uniform(-1, 1, size=(2, count))
    starts = [Start("warm", phases(scale=s, **seconds), 1.0) for s in scales[0]]
    if reading is not None:
        starts += [Start("cold", phases(reading=reading, scale=s, **seconds), 0.0) for s in scales[1]]
    run = run_of(Script([marked("preprocess", 2000, cpu=2000)]))
    ended = "" if reading is not None else "the kernel kept 100 % of its files in memory"
    return replace(
        run, startup=phases(**seconds), starts=tuple(starts), starts_ended="complete", cold_ended=ended,
        busy_lines=(BusyLine("own code", "/srv/app.py", 7, 0.9), BusyLine("own code", "/srv/app.py", 9, 0.1)),
    )  # fmt: skip


def diagnosed(run):
    return inquire(run, builtin(), shipped())


def finding(found, code):
    return next(f for f in found.findings if f.code == code).status


def test_reading_is_what_a_cold_start_takes_longer():
    table = startup(run_with(reading=0.33))
    assert table.whole is table.cold
    assert table.cold.value == pytest.approx(0.46, rel=0.05)
    assert table.warm.value == pytest.approx(0.13, rel=0.05)
    assert table.reading.low < 0.33 < table.reading.high
    assert table.reading.n == 3
    assert table.read_bytes == pytest.approx(330 * MB)
    assert sum(phase.seconds.value for phase in table.phases) == pytest.approx(table.warm.value)


def test_example_inputs_are_no_part_of_a_start():
    assert startup(run_with()).found.value < 1


@pytest.mark.parametrize(("run", "cause", "bound", "where"), [
    (run_with(reading=0.33), "I102", "io", "session"),              # the fault: weights come from disk
    (run_with(reading=0.00), None, "cpu", "session"),               # healthy twin: the same, read from memory
    (run_with(session=1.5, reading=0.01), None, "cpu", "session"),  # opening computes
    (run_with(own_code=1.0), None, "cpu", "own code"),              # the module's own code
    (run_with(libraries=0.9, reading=0.02), None, "cpu", "libraries"),
    (run_with(first_request=0.9), None, "cpu", "first request"),
])  # fmt: skip
def test_the_largest_part_is_the_answer(run, cause, bound, where):
    found = diagnosed(run)
    verdict = found.verdicts["startup"]
    assert (verdict.cause, verdict.bound, verdict.where) == (cause, bound, where)
    assert finding(found, "I102") == ("present" if cause == "I102" else "absent" if run.cold_ended == "" else "unknown")
    assert found.verdicts["latency"].cause == "C102"
    assert "I102" not in found.verdicts["latency"].also
    assert "STARTUP" in api.render(found)


def test_optimising_at_load_is_told_from_reading():
    run = run_with(session=1.2, reading=0.02)
    pairs = tuple(Opening(0, 1.1 + e, 0.1 + e) for e in (0.00, 0.01, 0.02))
    found = diagnosed(replace(run, openings=pairs))
    verdict = found.verdicts["startup"]
    assert (verdict.cause, verdict.bound, verdict.where, verdict.proof) == ("C112", "cpu", "session", "supported")
    assert finding(found, "I102") == "absent"
    assert verdict.gain.statistic == "startup"
    assert verdict.gain.value == pytest.approx(1.27 / 0.27, rel=0.1)
    assert "C112" not in found.verdicts["latency"].also  # for requests it is no news


def test_own_code_that_waits_is_named_with_its_line():
    run = run_with(own_code=1.0)
    idle = tuple(replace(s, phases=tuple(replace(p, cpu_s=0.001) for p in s.phases)) for s in run.starts)
    verdict = diagnosed(replace(run, starts=idle)).verdicts["startup"]
    assert (verdict.bound, verdict.where, verdict.cause) == ("wait", "own code", None)
    assert "app.py:7, waiting" in verdict.sentence


def test_what_is_over_in_no_time_has_nothing_to_explain():
    verdict = diagnosed(run_with(libraries=0.001, session=0.001)).verdicts["startup"]
    assert (verdict.bound, verdict.cause) == ("none", None)


def test_gains_of_less_reading():
    slow = Ceiling("disk_read_bytes_per_s", exact(2e9, 3), "B/s", "kernel", 1)
    run = run_with(reading=0.33)
    facts = replace(run.target, parameter_bytes=320 * MB)
    environment = replace(run.environment, ceilings=(slow,))
    found = diagnosed(replace(run, target=facts, environment=environment))
    gains = {p.change.remedy: p for p in found.predictions if p.change.statistic == "startup"}
    assert set(gains) == {"keep-warm", "faster-disk", "fewer-bytes"}
    assert gains["keep-warm"].after.value == pytest.approx(0.13, rel=0.05)
    assert gains["keep-warm"].after.low < 0.132 < gains["keep-warm"].after.high
    assert gains["faster-disk"].after.value == pytest.approx(0.13 + 0.165, rel=0.05)
    assert gains["fewer-bytes"].after.value == pytest.approx(0.13 + 0.33 / 4, rel=0.05)
    assert found.verdicts["startup"].gain.assuming == gains["keep-warm"].change.words


def test_a_single_start_is_seen_once_and_proves_nothing():
    run = replace(run_with(), starts=(), starts_ended="it did not start again: FileExistsError: lock", cold_ended="")
    found = diagnosed(replace(run, startup=phases(session=2.0)))
    assert found.verdicts["startup"].proof == "hypothesis"
    assert finding(found, "I102") == "unknown"
    screen = " ".join(api.render(found).split())
    assert "Seen once. Not again: it did not start again: FileExistsError: lock." in screen


def test_one_start_of_each_kind_decides_nothing():
    found = diagnosed(run_with(reading=0.33, count=1))
    assert finding(found, "I102") == "unknown"
    assert found.verdicts["startup"].proof == "hypothesis"
    assert "seen once" in api.render(found)


def test_why_there_was_no_cold_start_is_said():
    assert "No cold start: the kernel kept 100 %" in " ".join(api.render(diagnosed(run_with())).split())


def test_a_run_without_starts_has_no_answer():
    run = run_of(Script([marked("preprocess", 2000, cpu=2000)]))
    found = diagnosed(run)
    assert found.starts is None
    assert "startup" not in found.verdicts


def test_a_run_of_an_older_version_is_still_answered():
    old = (Phase("import", 0.3), Phase("session", 0.2), Phase("inputs", 0.1), Phase("first request", 0.05))
    verdict = diagnosed(replace(run_with(), startup=old, starts=())).verdicts["startup"]
    assert (verdict.where, verdict.cause, verdict.bound) == ("libraries", None, "unknown")


def test_starts_survive_on_disk_and_may_be_missing_there(tmp_path):
    run = replace(run_with(reading=0.33), openings=(Opening(0, 1.0, 0.5),))
    store.save(run, tmp_path)
    assert store.load(tmp_path).starts == run.starts
    assert store.load(tmp_path).openings == run.openings
    text = (tmp_path / "manifest.json").read_text()
    import json

    manifest = json.loads(text)
    for name in ("starts", "starts_ended", "cold_ended", "openings", "busy_lines"):
        del manifest["run"][name]
    manifest["run"]["startup"] = [{"name": "import", "seconds": 0.2, "read_bytes": None}]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    older = store.load(tmp_path)
    assert older.starts == ()
    assert older.startup == (Phase("import", 0.2),)


@pytest.mark.parametrize("form", ["terminal", "html", "json"])
def test_every_form_shows_a_start(form):
    shown = api.render(diagnosed(run_with(reading=0.33)), form)
    assert "I102" in shown
    if form == "terminal":
        assert max(map(len, shown.splitlines())) <= 80
