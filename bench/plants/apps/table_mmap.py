"""A memory-mapped embedding table, which 'costs no memory': rows are gathered from it for each request."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

from pinchpoint.stages import stage

FILE = "table.bin"
LOOKUPS = 200
WIDTH = 1024

with Path(FILE).open("rb") as _file:
    _mapped = mmap.mmap(_file.fileno(), 0, access=mmap.ACCESS_READ)
_mapped.madvise(mmap.MADV_RANDOM)  # no read-ahead: neighbours of a row are of no use
TABLE = np.frombuffer(_mapped, np.float32).reshape(-1, WIDTH)
PLACES = np.random.default_rng(1)


@stage("preprocess")
def gather(count: int) -> np.ndarray:
    """Rows of random items."""
    return TABLE[PLACES.integers(0, len(TABLE), count), :64]


def handle(count: int) -> float:
    """Their mean."""
    return float(gather(count).mean())


def example_inputs() -> list[int]:
    """How many items."""
    return [LOOKUPS] * 8
