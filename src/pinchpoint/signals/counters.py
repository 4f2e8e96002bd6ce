"""Rates from counters that grow: batch means over the telemetry, so that intervals know about correlation."""

from __future__ import annotations

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Run

FEWEST_READINGS = 4


def slope(run: Run, column: str) -> Quantity | str:
    """Growth a second of a counter while the run was recorded; a str says why it is not known."""
    values = run.telemetry.column(column)
    if values is None or len(values) < FEWEST_READINGS:
        return f"{column} could not be read" if values is None else "too short a run"
    steps = np.maximum(np.diff(values), 0.0)
    seconds = np.diff(run.telemetry.t_ns) / 1e9
    return stats.ratio_interval(steps, seconds)


def level(run: Run, column: str) -> Quantity | str:
    """Mean of a gauge over the run."""
    values = run.telemetry.column(column)
    if values is None or len(values) < FEWEST_READINGS:
        return f"{column} could not be read" if values is None else "too short a run"
    return stats.mean_interval(values)
