"""A lowered clock, on runs made by hand: machines without frequency control cannot be slowed down on purpose."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from pinchpoint.child.asides import fixed_loop_s
from pinchpoint.contracts import Tables
from pinchpoint.domain.aside import Asides, Mark
from pinchpoint.inquire import inquire
from pinchpoint.limits import shipped
from pinchpoint.plugins import builtin
from pinchpoint.signals.clock import slowdown
from synthetic import Script, marked, run_of


def with_loops(loops, noise=0.02, wild=0):
    """A run with these seconds of the fixed loop, by stretch; `wild` readings are far off at one end of their stretch."""
    rng = np.random.default_rng(0)
    stretches = []
    for number, seconds in enumerate(loops):
        readings = seconds * (1 + rng.uniform(0, noise, 2))
        if number < wild:
            readings[0] *= 3
        t = number * 600_000_000
        stretches.append(
            (Mark(t, number, 0, 1 << 20, readings[0]), Mark(t + 500_000_000, number + 1, 0, 1 << 20, readings[1]))
        )
    run = run_of(Script([marked("preprocess", 2000, cpu=2000)], requests=400))
    return replace(run, aside=Asides(stretches=tuple(stretches)))


@pytest.mark.parametrize(("loops", "status"), [
    (np.linspace(1.6e-3, 2.3e-3, 14), "present"),                        # hotter and hotter
    ([1.6e-3] * 7 + [2.4e-3] * 7, "present"),                            # a power limit, all at once
    ([1.6e-3] * 14, "absent"),
    (np.linspace(2.3e-3, 1.6e-3, 14), "absent"),                         # a clock that rises
    ([1.6e-3] * 4, "unknown"),                                           # too short
    ([-1.0] * 14, "unknown"),                                            # not to be read
])  # fmt: skip
def test_a_clock_that_falls_is_found(loops, status):
    found = inquire(with_loops(loops), builtin(), shipped())
    assert {f.code: f.status for f in found.findings}["C117"] == status
    if status == "present":
        assert "C117" in found.verdicts["latency"].also


def test_single_disturbed_readings_are_passed_over():
    assert slowdown.measure(Tables(with_loops([1.6e-3] * 14, wild=5), {})).high < 0.1


def test_the_loop_does_not_count_what_others_compute():
    alone = min(fixed_loop_s() for _ in range(5))
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            sum(range(1000))

    other = threading.Thread(target=busy)
    other.start()
    beside = min(fixed_loop_s() for _ in range(5))
    stop.set()
    other.join()
    assert beside < alone * 2  # half of the wall time is the other thread's
