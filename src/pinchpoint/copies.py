"""Run -> what its requests copy, and in which stage: from the few requests whose copies were timed one by one.

What recognised libraries copy inside of their own calls is theirs: a codec's belongs to encoding and decoding, a session's to
its operators. All else is the target's own, and cells of the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.aside import UNSIZED, Copying, Watched
from pinchpoint.domain.copied import Copies, CopySite
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import MARKED, WRAPPED, Run
from pinchpoint.stage_names import Owner, owner_of, placed

COPIES, PYTHON = "copies", "python"
FEWEST = 3  # requests
SITES_TOLD = 8


@dataclass(frozen=True, slots=True)
class Moved:
    """CPU seconds a request that an owner copies, and page faults a request in what it copies into."""

    seconds: Quantity
    faults: float


def missing(run: Run) -> str | None:
    """Why it is not known what requests copy; None where it is."""
    if len(run.aside.copies) >= FEWEST:
        return None
    return next((why for what, why in run.aside.missing if what == COPIES), "copies were not timed in this run")


def by_owner(run: Run) -> dict[Owner, Moved]:
    """What each owner of a request's time copies; empty where that is not known."""
    if missing(run) is not None:
        return {}
    marked = _marked(run)
    watched = run.aside.copies
    seconds: dict[Owner, list[float]] = defaultdict(lambda: [0.0] * len(watched))
    faults: dict[Owner, int] = defaultdict(int)
    for number, request in enumerate(watched):
        for owner, entry in _copies_of(request, marked=marked):
            seconds[owner][number] += entry.cpu_s
            faults[owner] += entry.faults
    return {owner: Moved(stats.mean_interval(each), faults[owner] / len(watched)) for owner, each in seconds.items()}


def summary(run: Run) -> Copies | None:
    """What is copied a request, and where; None where nothing is or nothing is known."""
    if missing(run) is not None:
        return None
    marked, count = _marked(run), len(run.aside.copies)
    found = [tuple(_copies_of(request, marked=marked)) for request in run.aside.copies]
    if not any(found):
        return None
    sized = [sum(max(entry.size_bytes, 0) for _, entry in each) for each in found]
    whole = [_largest(request, each) for request, each in zip(run.aside.copies, found, strict=True)]
    return Copies(
        seconds=stats.mean_interval([sum(entry.cpu_s for _, entry in each) for each in found]),
        size_bytes=stats.mean_interval(sized),
        payloads=stats.mean_interval([size / most for size, most in zip(sized, whole, strict=True)]),
        sites=_sites([pair for each in found for pair in each], count),
    )


def _marked(run: Run) -> bool:
    return bool(np.any(run.spans.kind == MARKED))


def _copies_of(request: Watched, *, marked: bool) -> Iterator[tuple[Owner, Copying]]:
    """The target's own copies with their owners, placed as the ledger places moments."""
    owners = [owner_of(entry.stages) for entry in request.entries]
    gaps = [not entry.stages for entry in request.entries]
    stages = placed(owners, gaps_are_framework=marked, is_gap=gaps)
    for owner, stage, entry in zip(owners, stages, request.entries, strict=True):
        if entry.function and not any(kind == WRAPPED for _, kind in entry.stages):
            yield replace(owner, stage=stage).account, entry


def _largest(request: Watched, found: tuple[tuple[Owner, Copying], ...]) -> int:
    return max([request.payload_bytes, 1, *(entry.largest_bytes for _, entry in found)])


def _sites(found: list[tuple[Owner, Copying]], requests: int) -> tuple[CopySite, ...]:
    """The places with most seconds, a request."""
    grouped: dict[tuple[str, str, int, str], list[Copying]] = defaultdict(list)
    for owner, entry in found:
        grouped[(entry.function, entry.file, entry.line, owner.stage or "")].append(entry)
    sites = (_site(key, entries, requests) for key, entries in grouped.items())
    return tuple(sorted(sites, key=lambda site: -site.seconds)[:SITES_TOLD])


def _site(key: tuple[str, str, int, str], entries: list[Copying], requests: int) -> CopySite:
    times, seconds = sum(entry.times for entry in entries), sum(entry.cpu_s for entry in entries)
    told = all(entry.size_bytes != UNSIZED for entry in entries)
    size = sum(entry.size_bytes for entry in entries) / requests if told else None
    return CopySite(*key, times / requests, size, seconds / requests)
