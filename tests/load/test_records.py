"""The ring between a worker and the process above it: what is read is what was written, and what was lost is counted."""

from __future__ import annotations

import os

import numpy as np
import pytest

from pinchpoint.load import crew, records


@pytest.fixture
def ring():
    made = records.Ring(records.new_ring("test"))
    yield made
    made.close()


def write(ring, first, last, tell=True):
    """Rows whose numbers are in `due_ns` and `bytes`, as a worker writes them."""
    whole = np.frombuffer(ring.memory, crew.ROW, records.ROWS, records.HEAD_BYTES)
    numbers = np.arange(max(first, last - records.ROWS), last)
    whole["due_ns"][numbers % records.ROWS] = numbers
    whole["bytes"][numbers % records.ROWS] = numbers
    if tell:
        ring.head[records.WRITTEN] = last


def test_a_row_is_what_its_columns_say():
    assert crew.ROW.itemsize == records.ROW.size == 80
    values = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    row = np.frombuffer(records.ROW.pack(*values), crew.ROW)[0]
    assert tuple(row.item()) == values
    assert [name for name, _ in records.COLUMNS][4] == "outcome"
    assert records.OUTCOMES[records.CUT_OFF] == "cut_off"
    assert records.OUTCOMES[records.UNSENT] == "unsent"
    assert len(set(records.OUTCOMES)) == len(records.OUTCOMES)


def test_memory_that_nobody_wrote_to_is_not_taken():
    descriptor = records.new_ring("test")
    assert os.fstat(descriptor).st_size == records.RING_BYTES
    assert os.fstat(descriptor).st_blocks == 0
    os.close(descriptor)


def test_rows_are_read_once_and_in_order(ring):
    read, found = 0, []
    for last in (0, 1, 100, 100, 5000, records.ROWS - 3, records.ROWS + 1000, 2 * records.ROWS):
        write(ring, read, last)
        rows, lost, read = crew.records_since(ring, read)
        assert (lost, read) == (0, last)
        found.extend(rows["due_ns"].tolist())
    assert found == list(range(2 * records.ROWS))


@pytest.mark.parametrize("ahead", [records.READABLE, records.ROWS, records.ROWS + 1, 5 * records.ROWS + 17])
def test_a_reader_that_fell_behind_says_how_much_it_lost(ring, ahead):
    write(ring, 0, 1000)
    _, _, read = crew.records_since(ring, 0)
    write(ring, 1000, 1000 + ahead)
    rows, lost, read = crew.records_since(ring, read)
    assert read == 1000 + ahead
    assert lost == max(ahead - records.READABLE, 0)
    assert rows["due_ns"].tolist() == list(range(1000 + lost, 1000 + ahead))


def test_rows_that_may_be_written_just_now_are_not_read(ring):
    """A worker tells of each 64th row: those that follow are already there, over the oldest ones."""
    write(ring, 0, records.ROWS)
    write(ring, records.ROWS, records.ROWS + 64, tell=False)
    rows, lost, _ = crew.records_since(ring, 0)
    assert (rows["due_ns"] == rows["bytes"]).all()
    assert rows["due_ns"].tolist() == list(range(lost, records.ROWS))


class Overtaking:
    """A ring whose writer goes on between two looks at its count."""

    def __init__(self, ring, counts):
        self.memory, self.head, self._counts = ring.memory, self, iter(counts)

    def __getitem__(self, _):
        return next(self._counts)


@pytest.mark.parametrize(
    ("first", "then", "lost"),
    [(1000, 1000, 0), (1000, records.READABLE + 400, 400), (1000, 9 * records.ROWS, 1000), (0, 9 * records.ROWS, 0)],
)
def test_a_writer_that_overtakes_its_reader(ring, first, then, lost):
    write(ring, 0, 1000)
    rows, found, read = crew.records_since(Overtaking(ring, [first, then]), 0)
    assert (found, read) == (lost, first)
    assert len(rows) + found == first
    rows, more, read = crew.records_since(Overtaking(ring, [then, then]), read)
    assert found + more == max(then - records.READABLE, 0) or then == first  # each is counted once


def test_stages_have_a_ring_of_their_own_of_which_the_newest_are_kept(ring):
    for number in range(records.TIMINGS + 10):
        place = records.TIMINGS_AT + (number % records.TIMINGS) * records.TIMING.size
        records.TIMING.pack_into(ring.memory, place, number, -1, 5, b"a")
    ring.head[records.TIMINGS_WRITTEN] = records.TIMINGS + 10
    told, lost, read = crew.records_since(ring, 0, crew.TIMINGS)
    assert (len(told), lost, read) == (records.TIMINGS_READABLE, 10 + 64, records.TIMINGS + 10)
    assert told["done_ns"].tolist() == list(range(lost, read))
    assert len(crew.records_since(ring, 0)[0]) == 0
