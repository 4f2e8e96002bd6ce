"""Synthetic runs whose ledger is known by construction: no target, no clock, no sampling noise but what is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pinchpoint.domain.quantity import exact
from pinchpoint.domain.run import (
    MARKED,
    Ceiling,
    Environment,
    OperatorArm,
    OperatorTime,
    Probes,
    Requests,
    Run,
    Samples,
    Spans,
    Telemetry,
)
from pinchpoint.domain.target import Session, TargetFacts
from pinchpoint.domain.workload import Workload

MAIN, WORKER = 100, 101
US = 1000


@dataclass
class Script:
    """What every request does, in microseconds: (name, kind, wall, cpu, starved, site it is otherwise blocked on).

    Every `slow_every`-th request does `slow` instead, or as many at random.
    """

    steps: list[tuple[str, int, int, int, int, int]]
    requests: int = 400
    sample_every_us: int = 400
    ceilings: tuple[Ceiling, ...] = ()
    operators: tuple[OperatorTime, ...] = ()
    arms: tuple[OperatorArm, ...] = ()
    sessions: tuple[Session, ...] = ()
    kind: str = "python"
    faults: int = 0
    slow: list[tuple[str, int, int, int, int, int]] = field(default_factory=list)
    slow_every: int = 0
    slow_at_random: bool = False
    worker: list[tuple[str, int, int, int]] = field(
        default_factory=list
    )  # name, kind, begin, end after the request's start


def run_of(script: Script) -> Run:
    """A run in which each request follows the script; every second one is observed."""
    rng = np.random.default_rng(1)
    names: dict[str, int] = {}
    requests, probes, spans, timeline, workers = [], [], [], [], []
    now, cpu, delay = 1_000_000_000, 0, 0
    turns = np.arange(script.requests)
    if script.slow_at_random:
        turns = np.random.default_rng(3).permutation(turns)
    for index in range(script.requests):
        start, cpu0, delay0 = now, cpu, delay
        observed = index % 2
        slow = script.slow_every and turns[index] % script.slow_every == script.slow_every - 1
        for name, kind, wall, on_cpu, starved, site in script.slow if slow else script.steps:
            begin, cpu_begin, delay_begin = now, cpu, delay
            blocked = wall - on_cpu - starved
            now, cpu, delay = now + wall * US, cpu + on_cpu * US, delay + starved * US
            timeline.append((begin, begin + on_cpu * US + starved * US, 0))
            if blocked:
                timeline.append((now - blocked * US, now, site))
            if observed and name:
                number = names.setdefault(name, len(names))
                spans.append((index, number, kind, MAIN, begin, now, cpu_begin, cpu, delay_begin, delay, 0, 0))
        for name, kind, after, until in script.worker if observed else ():
            number = names.setdefault(name, len(names))
            spans.append((index, number, kind, WORKER, start + after * US, start + until * US, 0, 0, -1, -1, -1, -1))
            workers.append((start + after * US, start + until * US))
        requests.append((index, start, now, 2 * observed))
        if observed:
            probes.append(
                (index, cpu - cpu0, cpu - cpu0, delay - delay0, script.faults, 0, 0, 0, 0, 0, 0, cpu0, delay0)
            )
        now += 1 * US
    samples = _samples(timeline, workers, requests[0][1], now, script.sample_every_us, rng)
    return Run(
        id="synthetic", created="", version="0",
        target=TargetFacts(script.kind, "app.py:handle", sessions=script.sessions),
        workload=Workload(),
        environment=Environment("test", 2, 2, None, None, "Linux", False, script.ceilings),
        requests=Requests(*np.array(requests, dtype=np.int64).T),
        probes=Probes(*np.array(probes, dtype=np.int64).T),
        spans=Spans(*np.array(spans, dtype=np.int64).reshape(len(spans), 12).T),
        span_names=tuple(names),
        samples=samples,
        telemetry=Telemetry(np.empty(0, dtype=np.int64), ()),
        request_thread=MAIN,
        operators=script.operators,
        arms=script.arms,
    )  # fmt: skip


def _samples(timeline, workers, first: int, last: int, every_us: int, rng: np.random.Generator) -> Samples:
    rows = []
    begins = np.array([begin for begin, _, _ in timeline])
    t = first
    while t < last:
        t += int(rng.uniform(0.5, 1.5) * every_us * US)
        at = int(np.searchsorted(begins, t, side="right")) - 1
        begin, end, site = timeline[at]
        found = site if begin <= t < end else 0
        working = any(b <= t < e for b, e in workers)
        rows.append((t, MAIN, found, int(working)))
        rows.append((t, WORKER, 0 if working else 1, -1))
    return Samples(*np.array(rows, dtype=np.int64).T)


def marked(name: str, wall: int, cpu: int = 0, starved: int = 0, site: int = 0) -> tuple[str, int, int, int, int, int]:
    """A step that the user marked."""
    return (name, MARKED, wall, cpu, starved, site)


def session(threads: int = 1, optimization: str = "all") -> Session:
    """A runtime session."""
    return Session("onnxruntime", "1.0", "model.onnx", threads, 0, optimization, ("CPUExecutionProvider",))


def ceilings(threads: int = 1, flops: float = 100e9, bandwidth: float = 20e9) -> tuple[Ceiling, ...]:
    """Round ceilings: FLOP/s, bandwidth at every footprint, 1 us a dispatch, 10 us a run, 5 us a profiler event."""
    rows = [
        ("flops_per_s", flops, "float32", 0.0),
        ("flops_per_s", 4 * flops, "int8", 0.0),
        ("read_bytes_per_s", bandwidth, "float32", 64e6),
        ("triad_bytes_per_s", bandwidth, "float32", 96e6),
        ("dispatch_s", 1e-6, "", 0.0),
        ("run_s", 10e-6, "", 0.0),
        ("event_s", 5e-6, "", 0.0),
        ("near_row_s", 10e-9, "", 0.0),
        ("far_row_s", 70e-9, "", 0.0),
    ]
    return tuple(
        Ceiling(name, exact(value, 9), "", "test", threads, dtype, footprint) for name, value, dtype, footprint in rows
    )
