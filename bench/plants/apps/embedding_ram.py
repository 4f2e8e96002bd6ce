"""Item embeddings kept in memory as one numpy table, looked up for every request."""

from __future__ import annotations

import numpy as np

from pinchpoint.stages import stage

TABLE_MB = 1200
LOOKUPS = 2000

ROWS = TABLE_MB * (1 << 20) // 4096
TABLE = np.random.default_rng(0).integers(-128, 128, (ROWS, 1024), dtype=np.int32)  # a row is a page: 4096 bytes
PLACES = np.random.default_rng(1)
HEAD = np.random.default_rng(2).standard_normal(1024).astype(np.float32)


@stage("preprocess")
def look_up(seed: int) -> np.ndarray:
    """Rows of the items of a request."""
    ids = PLACES.integers(0, ROWS, LOOKUPS)
    return TABLE[ids, : 14 + seed % 2]


def handle(seed: int) -> float:
    """The mean score."""
    rows = look_up(seed)
    with stage("model"):
        return float((rows.astype(np.float32) @ HEAD[: rows.shape[1]]).mean())


def example_inputs() -> list[int]:
    """Seeds."""
    return list(range(16))
