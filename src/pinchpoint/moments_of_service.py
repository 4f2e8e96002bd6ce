"""Run of a server -> what each moment looked at shows of it: who ran, and else what the request waited for.

A moment inside a request is `running` where any thread of the server can run. Else the blocked thread that waits for something
outside of the process names the site (storage, another service, a timer): whoever is blocked in a lock waits for such a one.
Where every thread sits where it sits without a request, nobody works on it: it is on the wire, or awaited unseen. A thread that
computes without a request does not work on it either: who waits for the interpreter meanwhile waits. Nor does a runtime's helper
that spins: OpenBLAS's threads do so for 105 ms after each product, ONNX Runtime's for 40 ms after each run (decision 028).
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
OUTSIDE = (FAULT, DISK, SYNC, NETWORK, TIMER)  # nobody in the server can end such a wait by computing
NEEDING = (RUNNING, FUTEX, IPC, OTHER)  # of Python's threads: they compute, or may wait for a helper
ALWAYS = 0.5  # of the looks without a request a thread runs: it is none that serves them
SEEN_SPINNING = 3  # looks
BATCHES = 20
FEWEST = 20


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments inside requests, in order of time: the site of each, how many threads could run, and how many more only spun."""

    t_ns: Ints
    site: Ints
    running: Ints
    spun: Ints

    def share(self, site: int) -> Quantity:
        """The share of the moments with this site, by batch means."""
        return batched((self.site == site).astype(float), np.ones(len(self.site)))

    @property
    def parallelism(self) -> float:
        """Mean number of threads that can run while any can; at least 1."""
        some = self.running[self.running > 0]
        return float(some.mean()) if len(some) else 1.0

    @property
    def worked(self) -> float:
        """The share of the threads that could run which did not only spin."""
        whole = float((self.running + self.spun).sum())
        return float(self.running.sum()) / whole if whole else 1.0


def moments(run: Run, chosen: Mask) -> Moments:
    """The moments inside the chosen requests."""
    found = every(run)
    starts, ends = run.requests.start_ns[chosen], run.requests.end_ns[chosen]
    if not len(starts) or not len(found.t_ns):
        return Moments(*(np.empty(0, dtype=np.int64) for _ in range(4)))
    at = np.searchsorted(starts, found.t_ns, side="right") - 1
    inside = (at >= 0) & (found.t_ns < ends[np.maximum(at, 0)])
    return Moments(found.t_ns[inside], found.site[inside], found.running[inside], found.spun[inside])


def every(run: Run) -> Moments:
    """All moments that were looked at."""
    samples = run.samples
    t = np.unique(samples.t_ns)
    at = np.searchsorted(t, samples.t_ns)
    site = samples.site.copy()
    if len(samples.place):
        site[(site == FUTEX) & (samples.place == INTERPRETER)] = GIL
    site[(site == RUNNING) & np.isin(samples.thread, background(run))] = PARKED
    spins = spinning(run)
    site[spins] = PARKED
    order = np.empty(len(INNERMOST), dtype=np.int64)
    order[list(INNERMOST)] = np.arange(len(INNERMOST))
    rank = np.full(len(t), len(INNERMOST) - 1, dtype=np.int64)
    np.minimum.at(rank, at, order[site])
    running, spun = (np.bincount(at[rows], minlength=len(t)).astype(np.int64) for rows in (site == RUNNING, spins))
    return Moments(t, np.array(INNERMOST, dtype=np.int64)[rank], running, spun)


def spinning(run: Run) -> Mask:
    """Which samples are of helpers that run and work on nothing: no thread of Python's in the helper's process computes, or waits
    for anybody in it, and some thread of Python's waits for what is outside of the server, or awaits another service's answer.

    Where all of Python's threads sit where they sit without a request, a helper may compute for a coroutine that awaits it: it
    spins if it was seen to do so while nothing was asked.
    """
    samples, service = run.samples, run.service
    known = {each.thread: each for each in service.threads} if service is not None else {}
    threads, which = np.unique(samples.thread, return_inverse=True)
    each = [known.get(thread) for thread in threads.tolist()]
    python = np.array([one is not None and one.python is True for one in each], dtype=bool)
    process = np.array([one.process if one is not None else 0 for one in each], dtype=np.int64)
    helping = np.isin(threads, _helpers(run))
    if not np.any(helping):
        return np.zeros(len(samples.t_ns), dtype=bool)
    t, at = np.unique(samples.t_ns, return_inverse=True)
    outside = np.zeros(len(t), dtype=bool)
    outside[at[(python | (threads == 0))[which] & np.isin(samples.site, OUTSIDE)]] = True
    processes, place = np.unique(process, return_inverse=True)
    crew = at * len(processes) + place[which]
    needed = np.zeros(len(t) * len(processes), dtype=bool)
    needed[crew[python[which] & np.isin(samples.site, NEEDING)]] = True
    idly = np.isin(threads, spinning_at_rest(run))[which]
    found: Mask = helping[which] & (samples.site == RUNNING) & ~needed[crew] & (outside[at] | idly)
    return found


def background(run: Run) -> list[int]:
    """The threads of Python that compute while nothing is asked. Those of a runtime may spin, and work on requests too."""
    samples, service = run.samples, run.service
    pythons = {each.thread for each in service.threads if each.python} if service is not None else set()
    at_rest = _at_rest(run)
    looks = len(np.unique(samples.t_ns[at_rest]))
    threads, counts = np.unique(samples.thread[at_rest & (samples.site == RUNNING)], return_counts=True)
    often = threads[counts > ALWAYS * looks].tolist() if looks >= FEWEST else []
    return [each for each in often if each in pythons]


def spinning_at_rest(run: Run) -> list[int]:
    """The helpers of Python's threads that were seen running while nothing was asked, as those that spin do after a request."""
    running = _at_rest(run) & (run.samples.site == RUNNING) & np.isin(run.samples.thread, _helpers(run))
    threads, counts = np.unique(run.samples.thread[running], return_counts=True)
    found: list[int] = threads[counts >= SEEN_SPINNING].tolist()
    return found


def _at_rest(run: Run) -> Mask:
    """Which samples are of times when nothing was asked."""
    t_ns = run.samples.t_ns
    found: Mask = np.zeros(len(t_ns), dtype=bool)
    for visit in run.ladder:
        if visit.load == 0:
            found |= (t_ns >= visit.begin_ns) & (t_ns < visit.end_ns)
    return found


def _helpers(run: Run) -> list[int]:
    """The threads that are none of Python's in processes with Python."""
    threads = run.service.threads if run.service is not None else ()
    with_python = {each.process for each in threads if each.python}
    return [each.thread for each in threads if each.python is False and each.process in with_python]


def batched(top: Floats, bottom: Floats) -> Quantity:
    """A ratio of sums over consecutive batches, of at least two values."""
    edges = np.linspace(0, len(top), min(BATCHES, len(top)) + 1).astype(int)[:-1]
    found = stats.ratio_interval(np.add.reduceat(top, edges), np.add.reduceat(bottom, edges))
    return Quantity(found.value, min(max(found.low, 0.0), found.value), found.high, len(top))
