"""Run of a server -> what each moment looked at shows of it: who ran, and else what the request waited for.

A moment inside a request is `running` where any thread of the server can run. Else the blocked thread that waits for something
outside of the process names the site (storage, another service, a timer): whoever is blocked in a lock waits for such a one.
Where every thread sits where it sits without a request, nobody works on it: it is on the wire, or awaited unseen. A thread that
computes without a request does not work on it either: who waits for the interpreter meanwhile waits.
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
    GIL,
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
from pinchpoint.domain.service import INTERPRETER
from pinchpoint.timeline import Mask

# The first of these that is there names a moment.
INNERMOST = (RUNNING, FAULT, DISK, SYNC, NETWORK, TIMER, IPC, GIL, FUTEX, OTHER, PARKED)
ALWAYS = 0.5  # of the looks without a request a thread runs: it is none that serves them
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
    site = samples.site.copy()
    if len(samples.place):
        site[(site == FUTEX) & (samples.place == INTERPRETER)] = GIL
    site[(site == RUNNING) & np.isin(samples.thread, background(run))] = PARKED
    order = np.empty(len(INNERMOST), dtype=np.int64)
    order[list(INNERMOST)] = np.arange(len(INNERMOST))
    rank = np.full(len(t), len(INNERMOST) - 1, dtype=np.int64)
    np.minimum.at(rank, at, order[site])
    running = np.bincount(at[site == RUNNING], minlength=len(t)).astype(np.int64)
    return Moments(t, np.array(INNERMOST, dtype=np.int64)[rank], running)


def background(run: Run) -> list[int]:
    """The threads of Python that compute while nothing is asked. Those of a runtime may spin, and work on requests too."""
    samples, service = run.samples, run.service
    pythons = {each.thread for each in service.threads if each.python} if service is not None else set()
    at_rest = np.zeros(len(samples.t_ns), dtype=bool)
    for visit in run.ladder:
        if visit.load == 0:
            at_rest |= (samples.t_ns >= visit.begin_ns) & (samples.t_ns < visit.end_ns)
    looks = len(np.unique(samples.t_ns[at_rest]))
    threads, counts = np.unique(samples.thread[at_rest & (samples.site == RUNNING)], return_counts=True)
    often = threads[counts > ALWAYS * looks].tolist() if looks >= FEWEST else []
    return [each for each in often if each in pythons]


def batched(top: Floats, bottom: Floats) -> Quantity:
    """A ratio of sums over consecutive batches, of at least two values."""
    edges = np.linspace(0, len(top), min(BATCHES, len(top)) + 1).astype(int)[:-1]
    found = stats.ratio_interval(np.add.reduceat(top, edges), np.add.reduceat(bottom, edges))
    return Quantity(found.value, min(max(found.low, 0.0), found.value), found.high, len(top))
