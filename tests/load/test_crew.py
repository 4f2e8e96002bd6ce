"""Rows of a ring that has been round."""

import numpy as np
import pytest

from pinchpoint.load import records
from pinchpoint.load.crew import ROW, _Worker


@pytest.mark.parametrize(("read", "written", "lost"), [
    (0, 0, 0),
    (0, 10, 0),
    (records.ROWS - 5, records.ROWS + 5, 0),                 # over the end
    (records.ROWS, 2 * records.ROWS, 0),                     # exactly all of it
    (0, records.ROWS + 7, 7),                                # a whole ring behind
    (3, 3 * records.ROWS, 2 * records.ROWS - 3),
])  # fmt: skip
def test_new_rows_come_in_their_order_and_none_twice(read, written, lost):
    worker = object.__new__(_Worker)
    worker.ring, worker._read = records.Ring(records.new_ring("test")), read
    whole = np.frombuffer(worker.ring.memory, ROW, records.ROWS, records.HEAD_BYTES)
    numbers = np.arange(max(written - records.ROWS, 0), written)
    whole["due_ns"][numbers % records.ROWS] = numbers
    worker.ring.head[records.WRITTEN] = written
    rows, missed = worker.new_rows()
    assert missed == lost
    assert list(rows["due_ns"]) == list(range(read + lost, written))
    del whole
    assert len(worker.new_rows()[0]) == 0
