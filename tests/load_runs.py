"""Runs of `load` that were never driven: rows with known times, as the engine would store them."""

from __future__ import annotations

import dataclasses

import numpy as np

import factories as f
from pinchpoint.domain.arrivals import Arrivals
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.traffic import MEASURED, Buckets, Client, Failure, Level, LoadRun, Sends, Traffic
from pinchpoint.load import records
from pinchpoint.load.histogram import bucketed

MS = 1_000_000
BEGIN = 10**15
COST = Quantity(2e-5, 1.9e-5, 2.1e-5, 5)
CLIENT = Client(1, COST, Quantity(50_000.0, 48_000.0, 52_000.0, 5))


def a_level(
    latency_ms,
    *,
    concurrency=1,
    rate_per_s=0.0,
    gap_ms=None,
    lag_ms=0.0,
    server_ms=0.0,
    outcomes=(),
    begin_ns=BEGIN,
    **more,
):
    """A level and its rows: requests of these latencies, due every `gap_ms`; in a closed loop one after the other."""
    latency = np.asarray(latency_ms, dtype=np.float64)
    gaps = latency / concurrency if gap_ms is None else np.full(latency.size, gap_ms)
    due = begin_ns + (np.cumsum(gaps) - gaps) * MS
    done = due + latency * MS
    kinds = np.zeros(latency.size, np.int64)
    kinds[: len(outcomes)] = outcomes
    rows = {
        "due_ns": due, "sent_ns": due + lag_ms * MS, "first_ns": done, "done_ns": done, "outcome": kinds,
        "status": np.where(kinds == records.OK, 200, 0), "payload": kinds * 0, "events": kinds * 0, "bytes": kinds + 100,
        "gap_ns": kinds * 0, "server_ns": kinds * 0 + int(server_ms * MS),
    }  # fmt: skip
    found = {name: np.asarray(values).astype(np.int64) for name, values in rows.items()}
    arrivals = Arrivals("poisson", rate_per_s=rate_per_s) if rate_per_s else Arrivals("closed", concurrency)
    cut = int((kinds == records.CUT_OFF).sum())
    failures = tuple(
        Failure(records.OUTCOMES[kind], int((kinds == kind).sum()))
        for kind in sorted(set(kinds.tolist()) - {records.OK, records.CUT_OFF})
    )
    end = int(found["done_ns"].max()) if latency.size else begin_ns + 1
    level = Level(
        arrivals, more.pop("purpose", MEASURED), begin_ns, end, latency.size, latency.size - cut, failures,
        more.pop("cpu_s", latency.size * COST.value), more.pop("delay_s", 0.0), more.pop("connects", 1), **more,
    )  # fmt: skip
    return level, found


def a_run(*levels, **changes):
    """A run of such levels."""
    tables = {name: [] for name in Sends.__slots__}
    cells = []
    for number, (_, rows) in enumerate(levels):
        tables["level"].append(np.full(len(rows["due_ns"]), number, np.int64))
        for name, values in rows.items():
            tables[name].append(values)
        answered = rows["outcome"] == records.OK
        counts = bucketed((rows["done_ns"] - rows["due_ns"])[answered] / 1e9)
        cells += [(number, int(bucket), int(counts[bucket])) for bucket in np.flatnonzero(counts)]
    sends = Sends(**{name: np.concatenate([*parts, np.empty(0, np.int64)]) for name, parts in tables.items()})
    buckets = Buckets(*np.array(cells, np.int64).reshape(-1, 3).T)
    made = LoadRun(
        "1123-1729", "2025-11-23T17:29:00+00:00", "0.1.0", "http", "http://127.0.0.1:8000/",
        Traffic(tuple(level.arrivals for level, _ in levels), warmup_s=0.0), f.environment(), sends, buckets,
        tuple(level for level, _ in levels), CLIENT, "a server",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)
