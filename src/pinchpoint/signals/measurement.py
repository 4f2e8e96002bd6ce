"""How good the measurement itself is."""

from __future__ import annotations

import numpy as np

from pinchpoint import stats
from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.signals.blocked import starved, throttled
from pinchpoint.signals.processor import foreign, steal
from pinchpoint.timeline import steady

ASKED_PERCENTILE = 0.5
FEWEST_FOR_TYPICAL = 20


@signal("measurement.drift_share", unit="share", mechanism="wall clock")
def drift(tables: Tables) -> Quantity | str:
    """Relative change of the median from the first to the second half of the steady part."""
    latency = tables.run.requests.latency_s[steady(tables.run).main]
    if len(latency) < FEWEST_FOR_TYPICAL:
        return "too few requests to see a drift"
    moved = stats.drift(latency)
    return Quantity(abs(moved.value), _smallest(moved), max(abs(moved.low), abs(moved.high)), moved.n)


def _smallest(moved: Quantity) -> float:
    """The smallest size that the interval allows: zero where it spans zero."""
    return 0.0 if moved.low <= 0 <= moved.high else min(abs(moved.low), abs(moved.high))


@signal("measurement.noise_share", unit="share", mechanism="wall clock")
def noise(tables: Tables) -> Quantity | str:
    """Half-width of the interval of typical latency, relative to it."""
    latency = tables.typical.latency
    if latency.n < 2:
        return "too few requests"
    return exact((latency.high - latency.low) / 2 / latency.value, latency.n)


@signal("measurement.samples", unit="ratio", mechanism="count")
def samples(tables: Tables) -> Quantity:
    """Steady requests over the count that typical latency needs."""
    count = int(np.count_nonzero(steady(tables.run).main))
    return exact(count / FEWEST_FOR_TYPICAL, count)


@signal("measurement.error_share", unit="share", mechanism="count")
def errors(tables: Tables) -> Quantity:
    """Failed requests over all: a census of the run, so without an interval."""
    requests = tables.run.requests
    return exact(float(np.mean(~requests.ok)), len(requests.index))


@signal("measurement.foreign_share", unit="share", mechanism="counter")
def disturbance(tables: Tables) -> Quantity | str:
    """Effective CPUs used by others or stolen while the run was recorded."""
    others, stolen = foreign.measure(tables), steal.measure(tables)
    if isinstance(others, str):
        return others
    if isinstance(stolen, str):
        return stolen
    return Quantity(others.value + stolen.value, others.low + stolen.low, others.high + stolen.high, others.n).clipped(
        0.0, 1.0
    )


@signal("measurement.disturbed_share", unit="share", mechanism="run-queue clock and counters")
def disturbed(tables: Tables) -> Quantity | str:
    """Share of typical latency that a request waited for a CPU which others had: at most what it waited without a quota, and
    at most what others used, with what the hypervisor took.
    """
    waited, held, others = starved.measure(tables), throttled.measure(tables), disturbance.measure(tables)
    if isinstance(waited, str):
        return waited
    if isinstance(others, str):
        return others
    less = 0.0 if isinstance(held, str) else held.value
    ends = [max(end - less, 0.0) for end in (waited.value, waited.low, waited.high)]
    most = (others.value, others.low, others.high)
    value, low, high = (min(pair) for pair in zip(ends, most, strict=True))
    return Quantity(value, min(low, value), max(high, value), waited.n)


MEASUREMENT_SIGNALS = (drift, noise, samples, errors, disturbance, disturbed)
