"""Time that goes into the smallest floats."""

from __future__ import annotations

from pinchpoint import denormals
from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity


@signal("model.denormal_share", unit="share", mechanism="paired runs")
def denormal_share(tables: Tables) -> Quantity | str:
    """Share of the latency that goes when denormal floats are taken for zero."""
    return denormals.saved_share(tables.run)


DENORMAL_SIGNALS = (denormal_share,)
