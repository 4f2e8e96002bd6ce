"""Spans that a server told of its requests -> which stage a moment belongs to, and how long each stage took.

Where stages lie inside each other, a moment belongs to the one that began last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import MARKED, Floats, Ints, Run, Spans
from pinchpoint.domain.service import PHASES, SPANS, Counted
from pinchpoint.stack_stages import Place
from pinchpoint.stage_names import MODEL, UNPLACED, stage_of
from pinchpoint.timeline import Mask

MOST_OPEN = 40  # stages of one request
OURS = frozenset({"client", "network"})  # rows of the ledger that are outside of a server
BETWEEN = Place(UNPLACED, "")  # in none of the stages told


def are_told(run: Run) -> bool:
    """Whether the server told stages."""
    return bool(np.any(run.spans.name >= len(SPANS)))


def inside(run: Run) -> Spans:
    """The phases of streams, or the stages that the server told: what a moment within a request belongs to."""
    spans = run.spans
    kept = spans.name >= len(SPANS) if are_told(run) else spans.name < len(PHASES)
    return Spans(*(getattr(spans, each.name)[kept] for each in fields(Spans)))


def span_at(spans: Spans, t_ns: Ints) -> Ints:
    """The number of the innermost span at each moment, of requests that follow each other; -1 where there is none."""
    order = np.argsort(spans.begin_ns, kind="stable")
    last = np.searchsorted(spans.begin_ns[order], t_ns, side="right") - 1
    found = np.full(len(t_ns), -1, np.int64)
    for back in range(min(MOST_OPEN, len(order))):
        candidate = order[np.maximum(last - back, 0)]
        open_then = (found < 0) & (last >= back) & (t_ns < spans.end_ns[candidate])
        found[open_then] = candidate[open_then]
    return found


def places(run: Run) -> tuple[Place, ...]:
    """Where each name of the run's spans belongs: a user's own table decides before ours."""
    assert run.service is not None
    own = dict(run.service.frames)
    return tuple(
        Place(MODEL, name) if number < len(PHASES) else _place(name, own) for number, name in enumerate(run.span_names)
    )


def _place(name: str, own: Mapping[str, str]) -> Place:
    stage = own.get(name) or stage_of(name, MARKED) or UNPLACED
    stage = UNPLACED if stage in OURS else stage
    return Place(stage, "" if name == stage else name)


def lengths(run: Run) -> tuple[Counted, ...]:
    """Mean seconds a request of each name that the server told, with those inside it, of the requests of which it told any."""
    if not are_told(run):
        return ()
    spans = inside(run)
    some = np.unique(spans.index)
    at, seconds, found = np.searchsorted(some, spans.index), (spans.end_ns - spans.begin_ns) / 1e9, []
    for number, name in enumerate(run.span_names[len(SPANS) :], len(SPANS)):
        mine = spans.name == number
        each = np.bincount(at[mine], seconds[mine], len(some)).astype(np.float64)
        found.append(Counted(name, len(some), float(each.sum()), _mean(each)))
    return tuple(sorted(found, key=lambda each: -each.seconds))


def _mean(seconds: Floats) -> Quantity:
    return stats.mean_interval(seconds) if len(seconds) > 1 else exact(float(seconds[0]), 1)


def alone_s(run: Run, chosen: Mask) -> Mapping[Place, Quantity]:
    """Mean seconds of each stage in the chosen requests, without those of the stages inside it."""
    spans = inside(run)
    if not np.any(chosen):
        return {}
    edges = np.unique(np.concatenate([spans.begin_ns, spans.end_ns]))
    owner = span_at(spans, edges[:-1])
    owned = owner >= 0
    seconds, owner = np.diff(edges)[owned] / 1e9, owner[owned]
    each: dict[Place, Floats] = defaultdict(lambda: np.zeros(len(chosen)))
    for number, where in enumerate(places(run)):
        mine = spans.name[owner] == number
        if not np.any(mine):
            continue
        each[where] = each[where] + np.bincount(spans.index[owner[mine]], seconds[mine], len(chosen))
    return {where: _mean(values[chosen]) for where, values in each.items()}
