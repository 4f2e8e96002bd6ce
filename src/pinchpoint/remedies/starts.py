"""What makes a start shorter: less to read, a faster disk, nothing to optimise."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import Quantity, exact

STATISTIC = "startup"
WEIGHTS_SHARE = 0.8  # of what is read is weights: then a quarter of their bytes is about a quarter of the reading
BYTES_LEFT = 0.25


@remedy("keep-warm", words="the files in the page cache before the start")
def keep_warm(tables: Tables, finding: Finding) -> Iterator[Change]:
    """No reading from disk at all: what starts with the files in the page cache took."""
    if tables.startup is not None and tables.startup.reading is not None:
        yield _change("keep-warm", finding, "start: its files already in memory", "estimate", "reading", exact(0.0))


@remedy("faster-disk", words="a faster or local disk")
def faster_disk(tables: Tables, finding: Finding) -> Iterator[Change]:
    """The same bytes at the rate that was measured on the disk of the run folder, where that is faster: a bound, since what
    reads them may not keep up.
    """
    found = tables.startup
    disk = next((c.value for c in tables.run.environment.ceilings if c.name == "disk_read_bytes_per_s"), None)
    if found is None or found.reading is None or not found.read_bytes or disk is None or found.reading.value <= 0:
        return
    seconds = found.read_bytes / disk.value
    if seconds < found.reading.value:
        yield _change("faster-disk", finding, "start: its files on this run's disk", "bound", "reading",
                      exact(seconds / found.reading.value))  # fmt: skip


@remedy("fewer-bytes", words="int8 weights: a quarter to read")
def fewer_bytes(tables: Tables, finding: Finding) -> Iterator[Change]:
    """A quarter of the bytes takes a quarter of the reading: for a model file whose weights are most of what is read."""
    found, held = tables.startup, tables.run.target.parameter_bytes
    if found is None or found.reading is None or not found.read_bytes or not held:
        return
    if held / found.read_bytes > WEIGHTS_SHARE:
        yield _change("fewer-bytes", finding, "start: int8 weights (a quarter to read)", "bound", "reading",
                      exact(BYTES_LEFT))  # fmt: skip


@remedy("store-optimised", words="the model stored as it is after optimisation")
def store_optimised(tables: Tables, finding: Finding) -> Iterator[Change]:
    """What opening with graph optimisation takes longer than without it."""
    if tables.startup is not None and tables.startup.optimising is not None:
        words = "start: the optimised model stored"
        yield _change("store-optimised", finding, words, "estimate", "optimising", exact(0.0))


def _change(name: str, finding: Finding, words: str, kind: str, part: str, factor: Quantity) -> Change:
    return Change(name, finding.code, words, kind, (Edit(factor, stage=part),), statistic=STATISTIC)


STARTS = (keep_warm, faster_disk, fewer_bytes, store_optimised)
