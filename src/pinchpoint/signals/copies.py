"""Time that only moves bytes from one place in memory to another."""

from __future__ import annotations

from pinchpoint import copies
from pinchpoint.contracts import Tables, signal
from pinchpoint.domain.quantity import Quantity
from pinchpoint.signals.stages import share


@signal("copies.share", unit="share", mechanism="timed calls")
def copied_share(tables: Tables) -> Quantity | str:
    """Copies of arrays and buffers, with page faults in what they copy into, as a share of the latency."""
    own_code = tables.run.target.kind == copies.PYTHON  # a model file's requests are handed over as they are
    why = copies.missing(tables.run) if own_code else None
    return why or share(tables.typical, lambda row: row.site == "copy")


COPY_SIGNALS = (copied_share,)
