"""Tables -> Pictures: the run in bins."""

from __future__ import annotations

import numpy as np

from pinchpoint.contracts import Tables
from pinchpoint.domain.picture import Bin, Curve, Mark, Moment, Pictures, Roof
from pinchpoint.domain.run import Floats, Run
from pinchpoint.timeline import Mask, steady
from pinchpoint.units import NS_PER_S

BINS, STRETCHES, OPERATORS = 48, 80, 200
OWN, OTHERS, WAITING, MEMORY = "this program", "other programs", "waiting for a CPU", "memory"
COUNTERS = ("process.cpu_s", "host.busy_s", "tool.cpu_s", "process.run_delay_s", "process.rss_bytes")
SHORTEST_S = 1e-6
CUT = 0.995  # of the requests are drawn in equal bins; the slowest share the last one


def pictures(tables: Tables) -> Pictures:
    """What a report draws of a run."""
    main = steady(tables.run).main
    run = tables.run
    return Pictures(_distribution(run, main), _course(run), _operators(tables), _roof(tables), _counters(run))


def _distribution(run: Run, main: Mask) -> tuple[Bin, ...]:
    latency = run.requests.latency_s[main]
    if len(latency) < 2:
        return ()
    low, high = float(latency.min()), float(np.quantile(latency, CUT))
    edges = np.linspace(low, max(high, low * 1.001), BINS + 1)
    counts, _ = np.histogram(np.minimum(latency, edges[-1]), edges)
    return tuple(Bin(float(a), float(b), int(n)) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True))


def _course(run: Run) -> tuple[Moment, ...]:
    requests = run.requests
    keep = requests.ok & ~requests.second
    if np.count_nonzero(keep) < 2:
        return ()
    at, latency = (requests.start_ns[keep] - requests.start_ns[keep][0]) / 1e9, requests.latency_s[keep]
    stretch = np.minimum((at / max(float(at[-1]), 1e-9) * STRETCHES).astype(int), STRETCHES - 1)
    found = []
    for number in np.unique(stretch):
        here = stretch == number
        values = latency[here]
        found.append(Moment(float(at[here][0]), len(values), float(np.median(values)), float(values.max())))
    return tuple(found)


def _operators(tables: Tables) -> tuple[Mark, ...]:
    marks = []
    for session in tables.sessions:
        for item in session.splits if session.told_apart else ():
            cost, seconds = item.operator.cost, item.seconds.value
            if cost is None or seconds <= 0 or cost.flops <= 0:
                continue
            moved = cost.weight_bytes + cost.activation_bytes
            if moved > 0:
                marks.append(
                    Mark(item.operator.name, item.operator.kind, cost.flops / moved, cost.flops / seconds, seconds)
                )
    return tuple(sorted(marks, key=lambda mark: -mark.seconds)[:OPERATORS])


def _roof(tables: Tables) -> Roof | None:
    for session in tables.sessions:
        peak = session.ceilings.value("flops_per_s", "float32")
        read = session.ceilings.at("read_bytes_per_s", session.arm.working_set_bytes)
        if peak is not None and read is not None:
            return Roof(peak.value, read.value)
    return None


def _counters(run: Run) -> tuple[Curve, ...]:
    """CPUs that the target and others kept busy, threads that waited for one, and memory: averages of stretches."""
    telemetry, requests = run.telemetry, run.requests
    if not len(requests.start_ns) or len(telemetry.t_ns) < 2:
        return ()
    at_s = (telemetry.t_ns - requests.start_ns[0]) / NS_PER_S
    during = np.flatnonzero(at_s >= 0)
    chosen = during[np.unique(np.linspace(0, len(during) - 1, min(STRETCHES + 1, len(during))).astype(int))]
    if len(chosen) < 2:
        return ()
    own, busy, tool, waited, memory = (telemetry.column(name) for name in COUNTERS)
    others = None if busy is None or own is None or tool is None else busy - own - tool
    found = [
        Curve(name, "CPUs", _rates(at_s[chosen], column[chosen]))
        for name, column in ((OWN, own), (OTHERS, others), (WAITING, waited))
        if column is not None
    ]
    if memory is not None:
        found.append(Curve(MEMORY, "B", tuple(zip(at_s[chosen].tolist(), memory[chosen].tolist(), strict=True))))
    return tuple(found)


def _rates(at_s: Floats, column: Floats) -> tuple[tuple[float, float], ...]:
    """What is added a second from each point to the next; less than nothing, as of clocks that tick apart, is none."""
    rates = np.maximum(np.diff(column) / np.maximum(np.diff(at_s), SHORTEST_S), 0.0)
    return tuple((at, rate) for at, rate in zip(at_s[:-1].tolist(), rates.tolist(), strict=True) if np.isfinite(rate))
