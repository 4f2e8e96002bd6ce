"""What the client noted of requests to a server -> the run's requests, the phases of those answered by a stream, its tokens, and
the stages that the server itself told (Server-Timing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.run import FAILED, TOLD, Asked, Ints, Requests, Spans
from pinchpoint.domain.service import PHASES, SPANS, Stream
from pinchpoint.load import records
from pinchpoint.load.crew import ROW, TIMING, Rows
from pinchpoint.load.wire import TOTAL
from pinchpoint.otlp import Traced

LONG_ENOUGH = 0.002  # of a request: a way that is shorter is not kept
NS = 1_000_000_000
MOST_ASKED = 500_000  # requests of which the payload is kept
MOST_TOLD = 1_000_000  # stages of all requests
MOST_NAMES, OTHERS = 32, "others"
MOST_OPEN, LONGEST_NAME = 40, 64  # spans of a trace, and characters of a name
ROUNDING = 1.01  # of figures that a server writes down
Noted = Sequence[tuple[Rows, int]]


def _ended(noted: Noted) -> tuple[Rows, Ints]:
    """All rows of requests that were not given up by ourselves, in the order in which they ended, and their flags."""
    parts = [
        (rows[kept := rows["outcome"] != records.CUT_OFF], np.full(np.count_nonzero(kept), flag))
        for rows, flag in noted
    ]
    if not parts:
        return np.empty(0, ROW), np.empty(0, np.int64)
    rows, flags = (np.concatenate(each) for each in zip(*parts, strict=True))
    return rows, np.where(rows["outcome"] == records.OK, flags, flags | FAILED).astype(np.int64)


def requests_of(noted: Noted) -> Requests:
    """All requests, in the order in which they ended."""
    rows, flags = _ended(noted)
    return Requests(
        np.arange(len(rows), dtype=np.int64), rows["due_ns"].astype(np.int64), rows["done_ns"].astype(np.int64), flags
    )


def asked_of(noted: Sequence[tuple[int, Rows]]) -> Asked:
    """The answered requests at each load with their payloads."""
    if not noted:
        return Asked()
    good = [(load, rows[rows["outcome"] == records.OK]) for load, rows in noted]
    load = np.concatenate([np.full(len(rows), load, np.int64) for load, rows in good])
    rows = np.concatenate([rows for _, rows in good])
    kept = slice(MOST_ASKED)
    return Asked(load[kept], *(rows[name][kept].astype(np.int64) for name in ("payload", "due_ns", "done_ns")))


def phases_of(noted: Noted) -> Spans:
    """The parts of each answered request as the client saw them, their names are `SPANS`: of a stream of several events its two
    phases, and how long a connection was made and an answer came, where that took any time.
    """
    rows, _ = _ended(noted)
    due, sent, first, done = (rows[name].astype(np.int64) for name in ("due_ns", "sent_ns", "first_ns", "done_ns"))
    good, streamed, least = rows["outcome"] == records.OK, _streamed(rows), LONG_ENOUGH * (done - due)
    parts = (
        (streamed, due, first), (streamed, first, done),
        (good & (sent - due > least), due, sent), (good & ~streamed & (done - first > least), first, done),
    )  # fmt: skip
    index = np.concatenate([np.flatnonzero(chosen) for chosen, _, _ in parts]).astype(np.int64)
    name = np.repeat(np.arange(len(parts), dtype=np.int64), [np.count_nonzero(chosen) for chosen, _, _ in parts])
    begin, end = (np.concatenate([part[at][part[0]] for part in parts]) for at in (1, 2))
    order = np.lexsort((name, index))
    return _told(index[order], name[order], begin[order], end[order])


def spans_of(
    noted: Noted, timings: Sequence[Rows], hidden: Callable[[str], str], traced: Sequence[Sequence[Traced]] = ()
) -> tuple[Spans, tuple[str, ...]]:
    """What the client saw of each request, and the stages that its trace holds, or else its answer told, but for streams, which
    have phases; with the names of all, in which `hidden` hides secrets.
    """
    seen, (told, names) = phases_of(noted), traced_of(noted, traced) if traced else stages_of(noted, timings)
    if np.any(seen.name < len(PHASES)):
        return seen, SPANS
    told = replace(told, name=told.name + len(SPANS))
    columns = (np.concatenate([getattr(seen, each.name), getattr(told, each.name)]) for each in fields(Spans))
    return Spans(*columns), (*SPANS, *map(hidden, names))


def stages_of(noted: Noted, timings: Sequence[Rows]) -> tuple[Spans, tuple[str, ...]]:
    """Spans of the stages that the server told of each answered request, and their names.

    The server's time lies in the middle of that from the sending to the first byte of the answer. Stages without a begin are
    laid one after the other, where they do not take more time than that together. What cannot be is left out.
    """
    rows, _ = _ended(noted)
    mine, told = _matched(rows, timings)
    at, end = _laid(mine, told)
    sent, first = rows["sent_ns"][mine], rows["first_ns"][mine]
    away = first - sent
    begin = sent + np.maximum(away - rows["server_ns"][mine], 0) // 2 + at
    last = np.minimum(begin + told["length_ns"], first)
    kept = (end <= away * ROUNDING) & (begin < last)
    names, number = _named(told["name"][kept])
    return _told(mine[kept], number, begin[kept], last[kept]), names


def traced_of(noted: Noted, traced: Sequence[Sequence[Traced]]) -> tuple[Spans, tuple[str, ...]]:
    """Spans of the traces of answered requests, with their names, and that of their service where it is another than the top's.

    A trace is that of the request within which the middle of its top lies; the top itself is no stage.
    """
    rows, _ = _ended(noted)
    order = np.argsort(rows["sent_ns"], kind="stable")
    middles = np.array([(family[0].begin_ns + family[0].end_ns) // 2 for family in traced], dtype=np.int64)
    at = np.searchsorted(rows["sent_ns"][order], middles, side="right") - 1
    found: list[tuple[int, bytes, int, int]] = []
    for family, place, middle in zip(traced, at.tolist(), middles.tolist(), strict=True):
        mine = int(order[max(place, 0)]) if len(order) else 0
        if place < 0 or rows["outcome"][mine] != records.OK or middle > rows["done_ns"][mine]:
            continue
        sent, done = int(rows["sent_ns"][mine]), int(rows["done_ns"][mine])
        for each in family[1:MOST_OPEN]:
            begin, end = max(each.begin_ns, sent), min(each.end_ns, done)
            if begin < end:
                found.append((mine, _called(each, family[0]), begin, end))
    columns = np.array([(mine, begin, end) for mine, _, begin, end in found], dtype=np.int64).reshape(-1, 3)
    names, number = _named(np.array([name for _, name, _, _ in found], dtype=f"S{LONGEST_NAME}"))
    return _told(columns[:, 0], number, columns[:, 1], columns[:, 2]), names


def _called(span: Traced, top: Traced) -> bytes:
    name = span.name if span.service == top.service else f"{span.service}: {span.name}"
    return name.encode("ascii", "replace")[:LONGEST_NAME]


def _matched(rows: Rows, timings: Sequence[Rows]) -> tuple[Ints, Rows]:
    """What answered requests told of their stages, each with the number of its request."""
    told = np.concatenate([np.empty(0, TIMING), *timings])[: MOST_TOLD if len(rows) else 0]
    told = told[np.char.lower(told["name"]) != TOTAL]
    order = np.argsort(rows["done_ns"], kind="stable")
    at = np.searchsorted(rows["done_ns"][order], told["done_ns"])
    mine = order[np.minimum(at, len(rows) - 1)]
    good = (rows["done_ns"][mine] == told["done_ns"]) & (rows["outcome"][mine] == records.OK)
    return mine[good], told[good]


def _laid(mine: Ints, told: Rows) -> tuple[Ints, Ints]:
    """When each stage began after the server got its request; and when it ended, or all those that are laid in a row did."""
    length, placed = told["length_ns"], told["at_ns"] >= 0
    loose = np.where(placed, 0, length)
    heads = np.flatnonzero(np.diff(mine, prepend=-1))
    request = np.cumsum(np.diff(mine, prepend=-1) != 0) - 1
    before = np.cumsum(loose) - loose
    at = np.where(placed, told["at_ns"], before - before[heads][request])
    together = np.bincount(request, loose, len(heads)).astype(np.int64)
    return at, np.where(placed, at + length, together[request])


def _named(names: np.ndarray[tuple[int], np.dtype[np.bytes_]]) -> tuple[tuple[str, ...], Ints]:
    """The most frequent names, and the number of each; the others have one in common."""
    known, number, counts = np.unique(names, return_inverse=True, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_NAMES])
    place = np.full(len(known), len(kept), np.int64)
    place[kept] = np.arange(len(kept))
    more = (OTHERS,) if len(known) > len(kept) else ()
    return (*(name.decode("ascii", "replace") for name in known[kept].tolist()), *more), place[number]


def _told(index: Ints, name: Ints, begin_ns: Ints, end_ns: Ints) -> Spans:
    """Spans of which nothing but the time is known."""
    unread = np.full(len(index), -1, np.int64)
    return Spans(
        index=index.astype(np.int64), name=name, kind=np.full(len(index), TOLD, np.int64), thread=unread,
        begin_ns=begin_ns.astype(np.int64), end_ns=end_ns.astype(np.int64),
        begin_cpu_ns=unread, end_cpu_ns=unread, begin_delay_ns=unread, end_delay_ns=unread,
        begin_faults=unread, end_faults=unread,
    )  # fmt: skip


def stream_of(noted: Noted, part: str = "event") -> Stream | None:
    """How the answers came as streams; None where they did not. A unit is a `part` where not all of them tell their tokens."""
    rows, _ = _ended(noted)
    rows = rows[_streamed(rows)]
    if not len(rows):
        return None
    told = bool(np.all(rows["tokens"] > 0))
    units = rows["tokens" if told else "events"].astype(float)
    further, some = (rows["done_ns"] - rows["first_ns"]) / NS, units > 1
    return Stream(
        unit="token" if told else part,
        units=float(units.mean()),
        first_s=stats.quantile_interval((rows["first_ns"] - rows["due_ns"]) / NS, 0.5),
        between_s=stats.ratio_interval(further[some], units[some] - 1) if np.count_nonzero(some) > 1 else None,
    )


def _streamed(rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = (rows["outcome"] == records.OK) & (rows["events"] > 1)
    return found
