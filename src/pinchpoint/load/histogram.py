"""Latencies as counts in buckets of one width in the logarithm: small, mergeable by adding, good to 0.8 % of the value.

A bucket is the exponent of a 64-bit float with the first seven bits of its fraction, so buckets of one octave have equal
widths (as in HdrHistogram by G. Tene), and finding one is a shift of bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pinchpoint.domain.outcomes import BUCKETS as BUCKETS
from pinchpoint.domain.outcomes import FRACTION_BITS as FRACTION_BITS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SHIFT = 52 - FRACTION_BITS
LEAST = int(np.float64(2.0**-31).view(np.int64) >> SHIFT)  # half a nanosecond


def bucketed(seconds: Floats) -> Ints:
    """Counts in each of `BUCKETS` buckets; what lies outside of them counts in the first or the last."""
    numbers = (np.maximum(seconds, 0.0).view(np.int64) >> SHIFT) - LEAST
    counts: Ints = np.bincount(np.clip(numbers, 0, BUCKETS - 1), minlength=BUCKETS).astype(np.int64)
    return counts


def edges(bucket: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Lower and upper end of buckets, in seconds."""
    numbers = np.asarray(bucket, dtype=np.int64) + LEAST
    return (numbers << SHIFT).view(np.float64), ((numbers + 1) << SHIFT).view(np.float64)


def quantile(counts: Ints, q: float) -> float:
    """The value below which a share `q` of all lies, by interpolation in its bucket; ValueError where nothing was counted."""
    total = int(counts.sum())
    if not total:
        raise ValueError("nothing was counted")
    below = np.cumsum(counts)
    rank = q * total
    bucket = int(np.searchsorted(below, rank, side="left")) if rank > 0 else int(np.flatnonzero(counts)[0])
    bucket = min(bucket, BUCKETS - 1)
    low, high = (float(end) for end in edges(bucket))
    inside = (rank - (below[bucket] - counts[bucket])) / max(int(counts[bucket]), 1)
    return low + (high - low) * min(max(float(inside), 0.0), 1.0)
