"""What is drawn of a run, from runs made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinchpoint.contracts import Tables
from pinchpoint.domain.run import Telemetry
from pinchpoint.ledger import latency_ledger
from pinchpoint.pictures import STRETCHES, pictures
from synthetic import Script, marked, run_of

NS = 1_000_000_000


def drawn(columns, seconds=10.0, points=1000):
    """The counters of a run of 0.4 s of requests and this telemetry, which begins a second before the first request."""
    run = run_of(Script([marked("preprocess", 1000, cpu=1000)]))
    t_ns = int(run.requests.start_ns[0]) - NS + np.linspace(0, seconds * NS, points).astype(np.int64)
    after = np.linspace(0, seconds, points)
    telemetry = Telemetry(t_ns, tuple((name, make(after)) for name, make in columns.items()))
    run = replace(run, telemetry=telemetry)
    return {curve.name: curve for curve in pictures(Tables(run, {"latency": latency_ledger(run)})).counters}


def test_counters_are_told_by_who_used_them():
    """GIVEN 1.5 CPUs of which the target has 1 and we 0.1, and a thread that waits a fifth of the time THEN so it is drawn."""
    found = drawn(
        {
            "process.cpu_s": lambda t: t,
            "host.busy_s": lambda t: 1.5 * t,
            "tool.cpu_s": lambda t: 0.1 * t,
            "process.run_delay_s": lambda t: 0.2 * t,
            "process.rss_bytes": lambda t: 1e6 * t,
        }
    )
    rates = {name: [value for _, value in curve.points] for name, curve in found.items() if curve.unit == "CPUs"}
    assert rates["this program"] == pytest.approx([1.0] * STRETCHES)
    assert rates["other programs"] == pytest.approx([0.4] * STRETCHES)
    assert rates["waiting for a CPU"] == pytest.approx([0.2] * STRETCHES)
    at, grown = zip(*found["memory"].points, strict=True)
    assert at[0] == pytest.approx(0.0, abs=0.02)  # nothing of what was before the first request
    assert grown[0] == pytest.approx(1e6, rel=0.02)
    assert grown[-1] == pytest.approx(1e7)


def test_what_was_not_read_is_not_drawn():
    assert set(drawn({"process.rss_bytes": lambda t: t, "process.cpu_s": lambda t: t})) == {"memory", "this program"}
    assert drawn({}) == {}
    assert drawn({"process.rss_bytes": lambda t: t}, points=1) == {}
