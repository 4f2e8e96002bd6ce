"""Run -> how memory grows with requests: within stretches of requests only, since what we load between them is ours.

Of a server, the stretches are half seconds with one request in flight.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pinchpoint import stats
from pinchpoint.domain.aside import Mark
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Run

WARM_UP = 0.25  # of the stretches
FEWEST_STRETCHES = 6  # after the warm-up
PAGES_OFF = 64 << 10  # bytes of a process that the kernel's own count of pages may lag behind, at each end of a stretch
STRETCH_S, UNREAD = 0.5, -1
# Of a server's own memory: one that was just started fills its caches. BentoML's grew by 16 % in 35 s, and then stayed.
FILLING = 0.2
OWN = "process.own_bytes"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes a completed request that the process keeps: in the first and in the second half after the warm-up."""

    early: Quantity
    late: Quantity
    requests_per_s: float
    bytes_now: int


def growth(run: Run) -> Growth | str:
    """How memory grows, or why that is not known."""
    stretches = run.aside.stretches if run.service is None else _of_service(run)
    pairs = [(begin, end) for begin, end in stretches if min(begin.anonymous_bytes, end.anonymous_bytes) >= 0]
    pairs = [(begin, end) for begin, end in pairs if end.served > begin.served]
    kept = pairs[max(1, round(len(pairs) * WARM_UP)) :]
    if len(kept) < FEWEST_STRETCHES:
        return "the kernel does not tell" if stretches and not pairs else "too short a run to see growth"
    grown = np.array([end.anonymous_bytes - begin.anonymous_bytes for begin, end in kept], dtype=float)
    served = np.array([end.served - begin.served for begin, end in kept], dtype=float)
    seconds = sum(end.t_ns - begin.t_ns for begin, end in kept) / 1e9
    half, processes = len(kept) // 2, len(run.service.served.processes) if run.service else 1
    off = PAGES_OFF * max(processes, 1)
    early, late = _each(grown[:half], served[:half], off), _each(grown[half:], served[half:], off)
    grown_in_all = kept[-1][1].anonymous_bytes - pairs[0][0].anonymous_bytes
    if run.service and late.low > 0 and grown_in_all < FILLING * pairs[0][0].anonymous_bytes:
        return "it grows by so little that caches may be filling"
    return Growth(early, late, float(served.sum()) / max(seconds, 1e-9), kept[-1][1].anonymous_bytes)


def _of_service(run: Run) -> tuple[tuple[Mark, Mark], ...]:
    """Half seconds of requests one after the other; none where nobody read the memory of the server's processes."""
    readings = run.telemetry.column(OWN)
    if readings is None or len(readings) < 2:
        return ()
    t_ns = run.telemetry.t_ns
    edges = np.arange(t_ns[0], t_ns[-1], STRETCH_S * 1e9)
    own = np.interp(edges, t_ns, readings).astype(np.int64).tolist()
    served = np.searchsorted(np.sort(run.requests.end_ns[run.requests.ok]), edges).tolist()
    marks = [Mark(int(t), count, UNREAD, each, UNREAD) for t, count, each in zip(edges, served, own, strict=True)]
    return tuple(pairwise(marks))


def _each(grown: Floats, served: Floats, off: float) -> Quantity:
    """Bytes a request, no better known than the kernel counts pages; without the stretch that grew most, since allocators
    grow in steps.
    """
    kept = np.delete(np.arange(len(grown)), int(np.argmax(grown)))
    grown, served = grown[kept], served[kept]
    found = stats.ratio_interval(grown, served)
    least = 2 * off / float(served.sum())
    return Quantity(found.value, min(found.low, found.value - least), max(found.high, found.value + least), found.n)
