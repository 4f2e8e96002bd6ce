"""New shapes: what is noted of them, and which requests they make slow, on runs whose truth is known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinchpoint.child import asides
from pinchpoint.child.pacing import Pacer
from pinchpoint.child.recorder import NEW_SHAPE, Recorder
from pinchpoint.domain.aside import Asides
from pinchpoint.inquire import inquire
from pinchpoint.limits import shipped
from pinchpoint.plugins import builtin
from pinchpoint.slow_requests import shape_seconds
from pinchpoint.timeline import first_of_shape, steady
from synthetic import Script, marked, run_of

USUAL = [marked("preprocess", 2000, cpu=2000)]
PLANNED = [marked("preprocess", 20000, cpu=20000)]


def test_payloads_of_equal_shapes_have_one_number():
    small, large = np.zeros((2, 3)), np.zeros((4, 3))
    found = asides.shape_numbers(
        [small, large, small + 1, {"x": small}, {"x": large}, {"x": small}, (small, 1), "text"]
    )
    assert found == [0, 1, 0, 2, 3, 2, 0, -1]


def test_other_values_of_the_same_shapes():
    values = {"x": np.arange(6).reshape(2, 3), "note": "kept"}
    other = asides.reversed_values(values, 4)
    assert other["x"].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert other["note"] == "kept"
    assert values["x"][0, 0] == 0
    assert asides.reversed_values("text", 4) is None
    assert asides.reversed_values([1, "a"], 4) is None


def test_a_runtime_that_gets_a_new_shape_marks_the_request(tmp_path):
    from pinchpoint.child import sessions

    known = sessions.CapturedSession(Pacer, b"model", None, None)

    def call(width):
        known.note_shapes({"x": np.zeros((1, width))})

    recorder = Recorder(str(tmp_path))
    Pacer(recorder, seed=0).drive(call, [3, 3, 4, 3, 4, 5], 60.0, 12, 0.5)
    recorder.close()
    flags = np.fromfile(next(tmp_path.glob("requests.*")), dtype=np.int64)[3:][: 12 * 4].reshape(-1, 4)[:, 3]
    assert np.flatnonzero(flags & NEW_SHAPE).tolist() == [0, 2, 5]


def run_with(slow_every=20, payloads=1200, requests=2000, again=(), slow=PLANNED, shapes=None):
    """A run in which each 20th request is slow; by default those are the first of their shape, and come again quickly."""
    run = run_of(Script(USUAL, requests=requests, slow=slow, slow_every=slow_every))
    numbers = [n if n % slow_every == slow_every - 1 else 0 for n in range(payloads)] if shapes is None else shapes
    latency = run.requests.end_ns - run.requests.start_ns
    if shapes is None:  # the second time round they are quick
        late = run.requests.index >= payloads
        end = np.where(late, run.requests.start_ns + np.minimum(latency, 2_000_000), run.requests.end_ns)
        run = replace(run, requests=replace(run.requests, end_ns=end))
    return replace(run, aside=Asides(payload_shapes=tuple(numbers), again=tuple(again)))


def findings(run):
    found = inquire(run, builtin(), shipped())
    return {f.code: f.status for f in found.findings}["W108"], found


def test_shapes_that_are_planned_for_make_requests_slow():
    run = run_with()
    fresh = first_of_shape(run)
    assert np.count_nonzero(fresh) == 61
    assert np.nansum(shape_seconds(run) > 0.017) == 60
    status, found = findings(run)
    assert status == "present"
    assert found.verdicts["tail"].cause == "W108"
    assert found.verdicts["tail"].gain.value == pytest.approx(10, rel=0.1)
    assert found.verdicts["latency"].cause == "C102"
    assert "W108" not in found.verdicts["latency"].also


def test_one_shape_is_not_new():
    run = run_with(shapes=[0] * 1200)
    assert np.flatnonzero(first_of_shape(run)).tolist() == [0]
    assert findings(run)[0] == "absent"


def test_large_inputs_are_slow_each_time():
    shapes = [1 + n % 3 if n % 20 == 19 else 0 for n in range(400)]
    assert findings(run_with(payloads=400, shapes=shapes))[0] == "absent"


def test_no_arrays_and_no_runtime_is_nothing_new():
    run = run_with(shapes=[-1] * 100)
    assert not np.any(first_of_shape(run))
    assert findings(run)[0] == "absent"


@pytest.mark.parametrize(("again_s", "status"), [(0.002, "present"), (0.0195, "absent"), (None, "unknown")])
def test_shapes_that_came_once_are_asked_again(again_s, status):
    again = [(n, again_s) for n in range(100, 120)] if again_s else []
    run = run_of(Script(PLANNED, requests=300))
    run = replace(run, aside=Asides(payload_shapes=tuple(range(400)), again=tuple(again)))
    found, diagnosis = findings(run)
    assert found == status
    if status == "present":
        assert diagnosis.verdicts["latency"].cause == "W108"
        assert diagnosis.verdicts["latency"].gain.value == pytest.approx(10, rel=0.1)


def test_new_shapes_are_not_cut_off_as_a_warm_up():
    run = run_with()
    assert np.count_nonzero(steady(run).main & first_of_shape(run)) >= 55


def test_the_first_requests_of_all_are_a_warm_up_though_their_shapes_are_new():
    run = run_of(Script(USUAL, requests=1000, slow=USUAL))
    run = replace(run, aside=Asides(payload_shapes=tuple(range(16))))
    assert not np.any(steady(run).main[:16])
    assert np.all(steady(run).main[20:])
