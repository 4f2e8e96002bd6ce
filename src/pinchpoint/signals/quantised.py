"""Quantised operators against the same operations in float32."""

from __future__ import annotations

from pinchpoint import roofline
from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity
from pinchpoint.float_twin import float_factor, is_quantised
from pinchpoint.signals.model import told_apart, weighted


@signal("model.quantised_share", unit="share", mechanism="profile")
def quantised(tables: Tables) -> Quantity | str:
    """Time of operators in int8, and of converting to and from it."""
    missing = told_apart(tables)
    return missing or weighted(tables, lambda item, _: item.seconds.value if is_quantised(item) else 0.0)


@signal("model.float_gain", unit="ratio", mechanism="roofline")
def float_gain(tables: Tables) -> Quantity | str:
    """Latency now over latency with the quantised operators in float32 at their usual distance from the floor."""
    missing = told_apart(tables)
    if missing:
        return missing
    latency, saved, n = tables.typical.latency.value, [0.0, 0.0, 0.0], 0
    for session in tables.sessions:
        if not session.told_apart:
            continue
        scale = roofline.scale(tables.typical, session)
        for item in session.splits:
            factor = float_factor(item, session)
            if factor is None and is_quantised(item):
                return f"the cost of {item.operator.kind} is not known"
            if factor is not None:
                for i, end in enumerate((factor.value, factor.high, factor.low)):
                    saved[i] += item.seconds.value * scale * (1 - end)
        n = max(n, session.arm.runs)
    gains = [latency / max(latency - part, latency / 100) for part in saved]
    return Quantity(gains[0], min(gains), max(gains), n)


QUANTISED_SIGNALS = (quantised, float_gain)
