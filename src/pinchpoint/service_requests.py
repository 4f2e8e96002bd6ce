"""What the client noted of requests to a server -> the run's requests, the phases of those answered by a stream, its tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.run import FAILED, TOLD, Asked, Ints, Requests, Spans
from pinchpoint.domain.service import CONNECTING, RECEIVING, Stream
from pinchpoint.load import records
from pinchpoint.load.crew import ROW, Rows

PREFILL, DECODE = PHASES = "prefill", "decode"  # until the first event of a stream, and from there to its end
SPANS = (*PHASES, CONNECTING, RECEIVING)
LONG_ENOUGH = 0.002  # of a request: a way that is shorter is not kept
NS = 1_000_000_000
MOST_ASKED = 500_000  # requests of which the payload is kept
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
    unread = np.full(len(index), -1, np.int64)
    return Spans(
        index=index[order], name=name[order], kind=np.full(len(index), TOLD, np.int64), thread=unread,
        begin_ns=begin[order], end_ns=end[order],
        begin_cpu_ns=unread, end_cpu_ns=unread, begin_delay_ns=unread, end_delay_ns=unread,
        begin_faults=unread, end_faults=unread,
    )  # fmt: skip


def stream_of(noted: Noted) -> Stream | None:
    """How the answers came as streams; None where they did not. Events where not all of them tell their tokens."""
    rows, _ = _ended(noted)
    rows = rows[_streamed(rows)]
    if not len(rows):
        return None
    told = bool(np.all(rows["tokens"] > 0))
    units = rows["tokens" if told else "events"].astype(float)
    further, some = (rows["done_ns"] - rows["first_ns"]) / NS, units > 1
    return Stream(
        unit="token" if told else "event",
        units=float(units.mean()),
        first_s=stats.quantile_interval((rows["first_ns"] - rows["due_ns"]) / NS, 0.5),
        between_s=stats.ratio_interval(further[some], units[some] - 1) if np.count_nonzero(some) > 1 else None,
    )


def _streamed(rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = (rows["outcome"] == records.OK) & (rows["events"] > 1)
    return found
