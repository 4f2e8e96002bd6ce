"""What was seen of a stretch of load -> a visit of the ladder, and what it took of our own side."""

from __future__ import annotations

import numpy as np

from pinchpoint.domain.run import QUANTILES, Telemetry, Visit
from pinchpoint.domain.traffic import Client
from pinchpoint.load import records
from pinchpoint.load.crew import Seen
from pinchpoint.overseeing import CPU

NS = 1_000_000_000


def visit_of(seen: Seen, load: int, seconds: float) -> Visit:
    """A visit from what was seen: answers between the moment when the first ones were there and its nominal end, so that neither
    filling nor draining the line counts.
    """
    rows = seen.all_rows()
    good = rows[rows["outcome"] == records.OK]
    done = np.sort(good["done_ns"])
    first = min(load, len(done)) - 1
    begin = int(done[first]) if len(done) > 2 * load else seen.begin_ns
    end = seen.begin_ns + int(seconds * NS) if len(done) > 2 * load else seen.end_ns
    inside = int(np.count_nonzero((done > begin) & (done <= end)))
    latency = (good["done_ns"] - good["due_ns"]) / NS
    return Visit(
        load, begin, max(end, begin + 1), inside * seen.thinned, seen.failed, 0.0, float(latency.mean()),
        tuple(float(each) for each in np.quantile(latency, QUANTILES)),
    )  # fmt: skip


def failure_of(seen: Seen) -> str | None:
    """How requests failed, in a few words; None where none did."""
    kind = next((n for n, count in enumerate(seen.outcomes) if count and n not in (records.OK, records.CUT_OFF)), None)
    if kind == records.STATUS and seen.statuses:
        return f"they were answered with {max(seen.statuses, key=lambda status: seen.statuses[status])}"
    return None if kind is None else records.OUTCOMES[kind]


def used_of_client(seen: Seen, client: Client) -> float:
    """The share of the client's ceiling that was used, or of its workers' time, whichever is more."""
    seconds = (seen.end_ns - seen.begin_ns) / NS
    busy = seen.counters.get(records.CPU_NS, 0) / NS / seconds / client.workers
    return max(busy, seen.done / seconds / client.ceiling_per_s.value if client.ceiling_per_s else 0.0)


def spent(found: Telemetry, visit: Visit) -> float:
    """CPU seconds of the server during a visit, by the readings around its ends."""
    values = found.column(CPU)
    if values is None or len(values) < 2:
        return 0.0  # nothing was seen: the demand table has no such row then
    return float(np.diff(np.interp([visit.begin_ns, visit.end_ns], found.t_ns, values))[0])
