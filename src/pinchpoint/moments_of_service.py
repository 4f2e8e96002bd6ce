"""Run of a server -> what each moment looked at shows of it: who ran, and else what the request waited for.

A moment inside a request is `running` where any thread of the server can run. Else the blocked thread that waits for something
outside of the process names the site (storage, another service, a timer): whoever is blocked in a lock waits for such a one.
Where every thread sits where it sits without a request, nobody works on it: it is on the wire, or awaited unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import (
    DISK,
    FAULT,
    FUTEX,
    IPC,
    NETWORK,
    OTHER,
    PARKED,
    RUNNING,
    SYNC,
    TIMER,
    Floats,
    Ints,
    Run,
)
from pinchpoint.timeline import Mask

# The first of these that is there names a moment.
INNERMOST = (RUNNING, FAULT, DISK, SYNC, NETWORK, TIMER, IPC, FUTEX, OTHER, PARKED)
BATCHES = 20
FEWEST = 20


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments inside requests, in order of time: the site of each, and how many threads could run."""

    t_ns: Ints
    site: Ints
    running: Ints

    def share(self, site: int) -> Quantity:
        """The share of the moments with this site, by batch means."""
        return batched((self.site == site).astype(float), np.ones(len(self.site)))

    @property
    def parallelism(self) -> float:
        """Mean number of threads that can run while any can; at least 1."""
        some = self.running[self.running > 0]
        return float(some.mean()) if len(some) else 1.0


def moments(run: Run, chosen: Mask) -> Moments:
    """The moments inside the chosen requests."""
    found = every(run)
    starts, ends = run.requests.start_ns[chosen], run.requests.end_ns[chosen]
    if not len(starts) or not len(found.t_ns):
        return Moments(*(np.empty(0, dtype=np.int64) for _ in range(3)))
    at = np.searchsorted(starts, found.t_ns, side="right") - 1
    inside = (at >= 0) & (found.t_ns < ends[np.maximum(at, 0)])
    return Moments(found.t_ns[inside], found.site[inside], found.running[inside])


def every(run: Run) -> Moments:
    """All moments that were looked at."""
    samples = run.samples
    t = np.unique(samples.t_ns)
    at = np.searchsorted(t, samples.t_ns)
    order = np.empty(len(INNERMOST), dtype=np.int64)
    order[list(INNERMOST)] = np.arange(len(INNERMOST))
    rank = np.full(len(t), len(INNERMOST) - 1, dtype=np.int64)
    np.minimum.at(rank, at, order[samples.site])
    running = np.bincount(at[samples.site == RUNNING], minlength=len(t)).astype(np.int64)
    return Moments(t, np.array(INNERMOST, dtype=np.int64)[rank], running)


def batched(top: Floats, bottom: Floats) -> Quantity:
    """A ratio of sums over consecutive batches, of at least two values."""
    edges = np.linspace(0, len(top), min(BATCHES, len(top)) + 1).astype(int)[:-1]
    found = stats.ratio_interval(np.add.reduceat(top, edges), np.add.reduceat(bottom, edges))
    return Quantity(found.value, min(max(found.low, 0.0), found.value), found.high, len(top))
