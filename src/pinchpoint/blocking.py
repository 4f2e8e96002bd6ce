"""What the request's thread was blocked on, from samples: seconds a request by owner and by site.

Each sample stands for the time since the one before it. Shares by site come from all typical requests; the observed ones
among them, whose stages are known, say which stage each site belongs to.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pinchpoint import stats, waits
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import DISK, FAULT, FUTEX, IPC, NETWORK, OTHER, RUNNING, SYNC, TIMER, Ints, Run
from pinchpoint.stage_names import Owner
from pinchpoint.timeline import Handed, Moments, Steady
from pinchpoint.waits import FOR_PROGRAMS, Parts, divided

LONGEST_GAP_NS = 25_000_000
BATCHES = 20
FEWEST_SAMPLES = 20
# Where the request's thread may be waiting for another thread of its own process.
HANDING_SITES = frozenset({FUTEX, IPC, OTHER, TIMER, NETWORK})
POOL_SITES = frozenset({FUTEX, OTHER, IPC})
STORAGE = frozenset({DISK, SYNC, FAULT})
SHORT_S = 300e-6  # of a wait: of shorter ones for a disk 4 to 100 % are seen, by where threads and interrupts lie
SEEN_AT_LEAST = 0.1  # of what the clocks leave: from less it is not known what was waited for


@dataclass(frozen=True, slots=True)
class Blocked:
    """Seconds a request that an owner was blocked at a site; RUNNING means that a pool's threads ran for it meanwhile, `computed`
    that programs did which it started.
    """

    owner: Owner
    site: int
    seconds: Quantity
    overlapped_s: float = 0.0
    computed: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    """Samples of the request's thread: when, where, how many other threads ran, and the nanoseconds each stands for."""

    t_ns: Ints
    site: Ints
    running: Ints
    weight: Ints


def blocked_seconds(run: Run, chosen: Steady, found: Moments, handed: Handed, latency_s: float) -> list[Blocked]:
    """Blocked seconds of typical requests; empty where there are too few samples to say."""
    seen = _samples(run)
    rows = _rows_at(run, seen.t_ns, chosen.typical & ~run.requests.control)
    inside = rows >= 0
    if np.count_nonzero(inside) < FEWEST_SAMPLES:
        return []
    shares = _site_shares(seen, inside)
    owned = _owned(run, seen, rows, found, handed)
    result = []
    for (raw, owner, site), weight in owned.blocked.items():
        if raw not in shares:
            continue
        part = weight / owned.weight_of_site[raw]
        result.append(Blocked(owner, site, _product(shares[raw].scaled(latency_s), part, owned.count_of_site[raw])))
    asked = _rows_at(run, seen.t_ns, chosen.main & ~run.requests.control) >= 0
    told_apart = waits.parts(run, seen.site[asked], seen.running[asked], seen.weight[asked].astype(float))
    return _with_overlap(_merged(list(_told_apart(result, told_apart))), owned, latency_s)


def with_short_waits(items: Sequence[Blocked], off_cpu_s: Mapping[Owner, float], switches: float) -> list[Blocked]:
    """What the request's thread waits for, of a disk as long as its clocks say where `switches` a request tell that waits are
    short (decision 026). Samples see too little of those, since a look is held up by what ends the wait; a thread that is
    neither on a CPU nor in line for one waits.
    """
    if switches <= 0 or sum(off_cpu_s.values()) / switches > SHORT_S:
        return list(items)
    stored: dict[Owner, float] = defaultdict(float)
    others: dict[Owner, float] = defaultdict(float)
    for item in items:
        (stored if item.site in STORAGE else others)[item.owner] += item.seconds.value
    factors = {}
    for owner, seen_s in stored.items():
        due_s = off_cpu_s.get(owner, 0.0) - others[owner]
        factors[owner] = due_s / seen_s if SEEN_AT_LEAST * due_s <= seen_s < due_s else 1.0
    return [_lengthened(item, factors[item.owner]) if item.site in STORAGE else item for item in items]


def _lengthened(item: Blocked, factor: float) -> Blocked:
    """A wait by a factor, and at least what was seen of it."""
    whole = item.seconds.scaled(factor)
    return replace(item, seconds=Quantity(whole.value, item.seconds.low, whole.high, whole.n))


def _told_apart(items: Sequence[Blocked], parts: Parts) -> Iterator[Blocked]:
    """What is waited for until a time limit is over as a timer, and what programs compute that the target starts as theirs."""
    for item in items:
        rest, site = item.seconds, item.site
        if site == FUTEX and parts.of_timers.value:
            expired, rest = divided(rest, parts.of_timers)
            yield replace(item, site=TIMER, seconds=expired)
        if site in FOR_PROGRAMS and parts.of_programs.value:
            computed, rest = divided(rest, parts.of_programs)
            yield replace(item, seconds=computed, computed=True)
        yield replace(item, seconds=rest)


def _samples(run: Run) -> _Seen:
    samples = run.samples
    mine = np.flatnonzero(samples.thread == run.request_thread)
    order = mine[np.argsort(samples.t_ns[mine], kind="stable")]
    t = samples.t_ns[order]
    gaps = np.diff(t, prepend=t[0] if len(t) else 0)
    return _Seen(t, samples.site[order], samples.running[order], np.clip(gaps, 0, LONGEST_GAP_NS))


def _rows_at(run: Run, t_ns: Ints, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The row of the wanted request that was in flight at each moment, or -1."""
    starts, ends = run.requests.start_ns, run.requests.end_ns
    if not len(starts):
        return np.full(len(t_ns), -1, dtype=np.int64)
    at = np.searchsorted(starts, t_ns, side="right") - 1
    safe = np.maximum(at, 0)
    hit = (at >= 0) & (t_ns < ends[safe]) & wanted[safe]
    return np.where(hit, safe, -1)


def _site_shares(seen: _Seen, inside: npt.NDArray[np.bool_]) -> Mapping[int, Quantity]:
    """Share of the requests' time at each site but running, with batch-mean intervals."""
    weight = seen.weight[inside].astype(float)
    sites = seen.site[inside]
    edges = np.linspace(0, len(weight), BATCHES + 1).astype(int)[:-1]
    whole = np.add.reduceat(weight, edges)
    shares = {}
    for site in np.unique(sites):
        if site != RUNNING:
            part = np.add.reduceat(np.where(sites == site, weight, 0.0), edges)
            quantity = stats.ratio_interval(part, whole)
            count = int(np.count_nonzero(sites == site))
            shares[int(site)] = Quantity(quantity.value, max(quantity.low, 0.0), quantity.high, count)
    return shares


@dataclass(frozen=True, slots=True)
class _Owned:
    """Weights of blocked samples in observed requests by raw site, owner and final site, and of overlapped work."""

    blocked: Mapping[tuple[int, Owner, int], float]
    weight_of_site: Mapping[int, float]
    count_of_site: Mapping[int, int]
    overlapped: Mapping[Owner, float]
    whole: float


def _owned(run: Run, seen: _Seen, rows: npt.NDArray[np.int64], found: Moments, handed: Handed) -> _Owned:
    at = np.searchsorted(found.begin_ns, seen.t_ns, side="right") - 1
    safe = np.maximum(at, 0)
    hit = (rows >= 0) & (at >= 0) & (seen.t_ns < found.end_ns[safe]) & (found.request[safe] == rows)
    blocked: dict[tuple[int, Owner, int], float] = defaultdict(float)
    by_site: dict[int, float] = defaultdict(float)
    counts: dict[int, int] = defaultdict(int)
    overlapped: dict[Owner, float] = defaultdict(float)
    elsewhere = _Elsewhere(run, handed, found.owners)
    whole = 0.0
    for i in np.flatnonzero(hit):
        owner, raw, weight = found.owners[found.owner[safe[i]]], int(seen.site[i]), float(seen.weight[i])
        whole += weight
        if raw == RUNNING:
            helper = elsewhere.owner_at(int(rows[i]), int(seen.t_ns[i]))
            if helper is not None:
                overlapped[helper[0].account] += weight
            continue
        final = _followed(owner, raw, int(seen.running[i]), elsewhere, int(rows[i]), int(seen.t_ns[i]))
        blocked[(raw, final[0].account, final[1])] += weight
        by_site[raw] += weight
        counts[raw] += 1
    return _Owned(blocked, by_site, counts, overlapped, whole)


def _followed(owner: Owner, raw: int, running: int, elsewhere: _Elsewhere, row: int, t_ns: int) -> tuple[Owner, int]:
    """Whom the request really waits for: another thread that works for it, or the pool of the library it is in."""
    if raw in HANDING_SITES:
        other = elsewhere.owner_at(row, t_ns)
        if other is not None:
            return other
    if raw in POOL_SITES and owner.inside_library and running > 0:
        return owner, RUNNING
    return owner, raw


class _Elsewhere:
    """What other threads did for a request at a moment."""

    def __init__(self, run: Run, handed: Handed, owners: tuple[Owner, ...]) -> None:
        self._owners = owners
        self._by_request: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)
        for row, thread, owner, begin, end in zip(
            handed.request, handed.thread, handed.owner, handed.begin_ns, handed.end_ns, strict=True
        ):
            self._by_request[int(row)].append((int(begin), int(end), int(thread), int(owner)))
        others = run.samples.thread != run.request_thread
        keys = zip(run.samples.t_ns[others].tolist(), run.samples.thread[others].tolist(), strict=True)
        self._sites = dict(zip(keys, run.samples.site[others].tolist(), strict=True)) if self._by_request else {}

    def owner_at(self, row: int, t_ns: int) -> tuple[Owner, int] | None:
        """Owner and site of the other thread that ends last among those at work; the innermost of its stages."""
        active = [span for span in self._by_request.get(row, ()) if span[0] <= t_ns < span[1]]
        if not active:
            return None
        last = max(active, key=lambda span: span[1])[2]
        _, _, thread, owner = max((span for span in active if span[2] == last), key=lambda span: span[0])
        return self._owners[owner], self._sites.get((t_ns, thread), RUNNING)


def _product(seconds: Quantity, part: float, count: int) -> Quantity:
    """Seconds at a site times the part of it that one owner has, known from `count` samples (binomial)."""
    spread = 2.0 * math.sqrt(max(part * (1 - part), 0.0) / max(count, 1))
    value = seconds.value * part
    half = math.hypot((seconds.high - seconds.value) * part, seconds.value * spread)
    return Quantity(value, max(value - half, 0.0), value + half, seconds.n)


def _merged(items: list[Blocked]) -> list[Blocked]:
    """One row an owner and site."""
    grouped: dict[tuple[Owner, int, bool], list[Quantity]] = defaultdict(list)
    for item in items:
        grouped[(item.owner, item.site, item.computed)].append(item.seconds)
    merged = []
    for (owner, site, computed), parts in grouped.items():
        value = sum(p.value for p in parts)
        half = math.hypot(*(p.high - p.value for p in parts))
        seconds = Quantity(value, max(value - half, 0.0), value + half, sum(p.n for p in parts))
        merged.append(Blocked(owner, site, seconds, computed=computed))
    return merged


def _with_overlap(items: list[Blocked], owned: _Owned, latency_s: float) -> list[Blocked]:
    """Attach seconds that another thread worked while the request's own thread ran too."""
    result = list(items)
    for owner, weight in owned.overlapped.items():
        beside = weight / owned.whole * latency_s if owned.whole else 0.0
        at = next((i for i, item in enumerate(result) if item.owner == owner and item.site == RUNNING), None)
        if at is None:
            result.append(Blocked(owner, RUNNING, Quantity(0.0, 0.0, 0.0, 0), beside))
        else:
            result[at] = Blocked(owner, RUNNING, result[at].seconds, beside)
    return result
