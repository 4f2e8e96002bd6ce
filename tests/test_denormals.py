"""Denormal floats: the switch that takes them for zero, and what is made of runs in turns."""

from __future__ import annotations

import platform
import threading
from dataclasses import replace

import pytest

from pinchpoint import denormals
from pinchpoint.child.denormals import FloatUnit
from pinchpoint.domain.aside import Asides, Flushed
from pinchpoint.inquire import inquire
from pinchpoint.limits import shipped
from pinchpoint.plugins import builtin
from synthetic import Script, run_of, session

WRAPPED = 1
TINY = [float.fromhex("0x1p-1074"), 1.0]
only_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="only known how on x86-64")


@only_x86
def test_the_switch_holds_for_this_thread_and_is_put_back():
    unit, seen = FloatUnit(), []
    unit.flush(on=True)
    inside = TINY[0] * TINY[1]
    other = threading.Thread(target=lambda: seen.append(TINY[0] * TINY[1]))
    unit.flush(on=False)
    other.start()
    other.join()
    assert inside == 0.0
    assert seen == [TINY[0]]
    assert TINY[0] * TINY[1] > 0.0


def with_pairs(ratio, count=20, share=1.0):
    """A run whose session takes `share` of each request, and runs that take `ratio` of its time when flushed."""
    steps = [("model:session 0", WRAPPED, int(4000 * share), int(4000 * share), 0, 0)]
    steps += [("preprocess", 0, 4000 - int(4000 * share), 4000 - int(4000 * share), 0, 0)] if share < 1 else []
    run = run_of(Script(steps, sessions=(session(),)))
    pairs = tuple((0.004 * (1 + n % 3 / 100), 0.004 * (1 + n % 3 / 100) * ratio) for n in range(count))
    return replace(run, aside=Asides(flushed=(Flushed(0, pairs),)))


@pytest.mark.parametrize(("ratio", "share", "status"), [
    (0.4, 1.0, "present"), (0.4, 0.5, "present"), (1.0, 1.0, "absent"), (0.4, 0.01, "absent"), (1.4, 1.0, "absent"),
])  # fmt: skip
def test_what_goes_is_a_share_of_the_latency(ratio, share, status):
    run = with_pairs(ratio, share=share)
    assert denormals.saved_share(run).value == pytest.approx((1 - ratio) * share, abs=0.01)
    found = inquire(run, builtin(), shipped())
    assert {f.code: f.status for f in found.findings}["C111"] == status


def test_the_forecast_is_what_was_seen():
    found = inquire(with_pairs(0.4), builtin(), shipped())
    (flush,) = [p for p in found.predictions if p.change.remedy == "flush-denormals"]
    assert flush.gain.value == pytest.approx(2.5, rel=0.02)
    assert flush.change.setting == (("session.set_denormal_as_zero", "1"),)
    assert found.verdicts["latency"].cause == "C111"


def test_few_pairs_are_all_within_the_interval_and_too_few_say_nothing():
    assert denormals.saved(Flushed(0, ((1.0, 0.9), (1.0, 0.5), (1.0, 0.7), (1.0, 0.6)))).low == pytest.approx(0.1)
    assert isinstance(denormals.saved_share(with_pairs(0.4, count=3)), str)
    missing = replace(with_pairs(0.4), aside=Asides(missing=(("denormals", "only known how on x86-64"),)))
    assert denormals.saved_share(missing) == "only known how on x86-64"
