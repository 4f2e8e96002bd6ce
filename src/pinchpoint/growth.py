"""Run -> how memory grows with requests: within stretches of requests only, since what we load between them is ours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Run

WARM_UP = 0.25  # of the stretches
FEWEST_STRETCHES = 6  # after the warm-up
PAGES_OFF = 64 << 10  # bytes that the kernel's own count of pages may lag behind, at each end of a stretch
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes a completed request that the process keeps: in the first and in the second half after the warm-up."""

    early: Quantity
    late: Quantity
    requests_per_s: float


def growth(run: Run) -> Growth | str:
    """How memory grows, or why that is not known."""
    pairs = [(begin, end) for begin, end in run.aside.stretches if min(begin.anonymous_bytes, end.anonymous_bytes) >= 0]
    pairs = [(begin, end) for begin, end in pairs if end.served > begin.served]
    kept = pairs[max(1, round(len(pairs) * WARM_UP)) :]
    if len(kept) < FEWEST_STRETCHES:
        return "the kernel does not tell" if run.aside.stretches and not pairs else "too short a run to see growth"
    grown = np.array([end.anonymous_bytes - begin.anonymous_bytes for begin, end in kept], dtype=float)
    served = np.array([end.served - begin.served for begin, end in kept], dtype=float)
    seconds = sum(end.t_ns - begin.t_ns for begin, end in kept) / 1e9
    half = len(kept) // 2
    return Growth(
        _each(grown[:half], served[:half]), _each(grown[half:], served[half:]), float(served.sum()) / max(seconds, 1e-9)
    )


def _each(grown: Floats, served: Floats) -> Quantity:
    """Bytes a request, no better known than the kernel counts pages; without the stretch that grew most, since allocators
    grow in steps.
    """
    kept = np.delete(np.arange(len(grown)), int(np.argmax(grown)))
    grown, served = grown[kept], served[kept]
    found = stats.ratio_interval(grown, served)
    least = 2 * PAGES_OFF / float(served.sum())
    return Quantity(found.value, min(found.low, found.value - least), max(found.high, found.value + least), found.n)
