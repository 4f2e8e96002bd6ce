"""What the client noted of requests to a server -> the run's requests, the phases of those answered by a stream, its tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.run import FAILED, TOLD, Asked, Ints, Requests, Spans
from pinchpoint.domain.service import Stream
from pinchpoint.load import records
from pinchpoint.load.crew import ROW, Rows

PREFILL, DECODE = PHASES = "prefill", "decode"  # until the first event of a stream, and from there to its end
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
    """Two spans for each answered request whose answer came as a stream of several events; their names are `PHASES`."""
    rows, _ = _ended(noted)
    mine = np.flatnonzero(_streamed(rows))
    begin, first, end = (rows[name][mine].astype(np.int64) for name in ("due_ns", "first_ns", "done_ns"))
    unread = np.full(2 * len(mine), -1, np.int64)
    return Spans(
        index=np.repeat(mine, 2).astype(np.int64),
        name=np.tile(np.arange(2, dtype=np.int64), len(mine)),
        kind=np.full(2 * len(mine), TOLD, np.int64),
        thread=unread,
        begin_ns=np.stack([begin, first], axis=1).ravel(),
        end_ns=np.stack([first, end], axis=1).ravel(),
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
