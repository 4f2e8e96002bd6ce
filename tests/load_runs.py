"""Runs of `load` made up from latencies, for what is above them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from factories import environment
from pinchpoint.domain.arrivals import CLOSED, POISSON, Arrivals
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.traffic import MEASURED, Buckets, Client, Failure, Level, LoadRun, Sends, Traffic
from pinchpoint.load import records
from pinchpoint.load.histogram import bucketed

CLIENT = Client(1, Quantity(1e-5, 9e-6, 1.1e-5, 5), Quantity(1e5, 9e4, 1.1e5, 5))


def level(number, latency_s, arrivals=Arrivals(CLOSED, 1), outcome=None, lag_s=0.0, gap_s=None, **changes):  # noqa: B008
    """A level of requests that follow each other, or come every `gap_s`; its rows and its histogram."""
    latency_s = np.asarray(latency_s, dtype=float)
    gaps = latency_s / max(arrivals.concurrency, 1) if gap_s is None else np.full(len(latency_s), gap_s)
    due = 10**12 + number * 10**12 + np.r_[0, np.cumsum(gaps)[:-1]] * 1e9
    outcome = np.zeros(len(latency_s), int) if outcome is None else np.asarray(outcome)
    due_ns, done_ns = due.astype(np.int64), (due + latency_s * 1e9).astype(np.int64)
    zeros = np.zeros(len(due_ns), np.int64)
    rows = Sends(
        zeros + number,
        due_ns,
        due_ns + int(lag_s * 1e9),
        done_ns,
        done_ns,
        outcome,
        zeros + 200,
        zeros,
        zeros,
        zeros + 100,
        zeros,
    )
    failed = [
        (int(kind), int(count)) for kind, count in zip(*np.unique(outcome, return_counts=True), strict=True) if kind
    ]
    failures = tuple(Failure(records.OUTCOMES[kind], count) for kind, count in failed if kind != records.CUT_OFF)
    end = int(done_ns.max()) if len(done_ns) else (10**12)
    made = Level(
        arrivals,
        MEASURED,
        int(due_ns[0]) if len(due_ns) else end,
        end,
        len(due_ns),
        len(due_ns),
        failures,
        0.01,
        0.0,
        1,
    )
    return replace(made, **changes), rows, bucketed(latency_s[outcome == 0])


def run_of(*levels, traffic=None, client=CLIENT, **changes):
    """A run of levels that `level` made."""
    made, rows, counts = zip(*levels, strict=True)
    sends = Sends(*(np.concatenate([getattr(each, name) for each in rows]) for name in Sends.__slots__))
    buckets = [(n, np.flatnonzero(c), c) for n, c in enumerate(counts)]
    traffic = traffic or Traffic(tuple(each.arrivals for each in made))
    run = LoadRun(
        "1124-1629", "2026-11-24T16:29:00+00:00", "0.1.0", "http", "http://127.0.0.1:8000/predict", traffic, environment(), sends,
        Buckets(
            np.concatenate([np.full(len(at), n) for n, at, _ in buckets]), np.concatenate([at for _, at, _ in buckets]),
            np.concatenate([c[at] for _, at, c in buckets]),
        ),
        tuple(made), client, "toy",
    )  # fmt: skip
    return replace(run, **changes)


def sweep(loads=(1, 2, 4, 8), seconds=0.01, most_per_s=250.0, n=2000):
    """A closed sweep against a server that takes `seconds` alone and serves `most_per_s` at most."""
    noise = np.random.default_rng(0)
    found = []
    for number, load in enumerate(loads):
        latency_s = max(seconds, load / most_per_s) * noise.gamma(50, 1 / 50, n)
        found.append(level(number, latency_s, Arrivals(CLOSED, load)))
    return run_of(*found)


def at_rate(rate, latency_s, number=0, **changes):
    """An open-loop level."""
    return level(number, latency_s, Arrivals(POISSON, rate_per_s=rate), gap_s=1 / rate, **changes)
