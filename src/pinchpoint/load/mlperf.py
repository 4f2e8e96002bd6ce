"""MLPerf Inference's rules for a percentile of latency: how many queries it takes, and when a run may end early.

From the MLPerf Inference rules, "Early Stopping" and appendix: with `over` queries above a bound, a run of `n` shows at 99 %
confidence that the quantile `q` lies within the bound if n >= h + over, where h is the smallest with I(q; h, over + 1) <= 1 %
(the regularised incomplete beta function). The rules take queries as independent; where they queue they are not, and this says
less than our own intervals do.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from pinchpoint.domain.load_report import EarlyStopping

RISK = 0.01
Z_99 = 2.5758293  # the normal quantile that the rules' fixed counts are made with
MARGIN = 1 / 20  # of what lies above the quantile: the rules' margin


def queries_needed(quantile: float, over: int) -> int:
    """Queries that allow `over` of them above the bound: p99 459 with none, 2,010 with ten. ValueError unless 0 < q < 1."""
    if not 0 < quantile < 1 or over < 0:
        raise ValueError(f"no such rule: quantile {quantile}, {over} over")
    low, high = 0, 1
    while special.betainc(high, over + 1, quantile) > RISK:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if special.betainc(middle, over + 1, quantile) > RISK else (low, middle)
    return high + over


def queries_fixed(quantile: float) -> int:
    """Queries of a run that shows the quantile within a twentieth of what lies above it: p90 23,886, p99 262,742."""
    margin = (1 - quantile) * MARGIN
    return math.ceil(Z_99**2 * quantile * (1 - quantile) / margin**2)


def early_stopping(latency_s: npt.NDArray[np.float64], quantile: float) -> EarlyStopping:
    """The rules' bound of a quantile; a query that failed has an infinite latency, and an infinite bound is none."""
    n, least = len(latency_s), queries_needed(quantile, 0)
    if n < least:
        return EarlyStopping(quantile, n, 0, None, least, queries_fixed(quantile))
    low, high = 0, n  # the most queries over the bound that are permitted lie in low..high - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if queries_needed(quantile, middle) <= n else (low, middle)
    bound = float(np.partition(latency_s, n - 1 - low)[n - 1 - low])
    return EarlyStopping(quantile, n, low, bound if math.isfinite(bound) else None, least, queries_fixed(quantile))


def within(latency_s: npt.NDArray[np.float64], quantile: float, bound_s: float) -> bool:
    """Whether the rules let a run end here and say that the quantile lies within the bound."""
    return len(latency_s) >= queries_needed(quantile, int(np.count_nonzero(latency_s > bound_s)))
