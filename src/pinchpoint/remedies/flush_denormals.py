"""The smallest floats taken for zero."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.denormals import saved_share
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.remedies.operators import bounded


@remedy("flush-denormals", words="denormal floats taken for zero")
def flush_denormals(tables: Tables, finding: Finding) -> Iterator[Change]:
    """The model by what runs with such values taken for zero saved here, in turns with runs as they are."""
    share, ledger = saved_share(tables.run), tables.typical
    cells = [row.seconds.value for row in ledger.rows if row.stage == "model" and row.state != "unexplained"]
    model = sum(cells) / ledger.latency.value
    if isinstance(share, str) or model <= 0:
        return
    left, most, least = (min(max(1 - end / model, 0.0), 1.0) for end in (share.value, share.low, share.high))
    yield Change(
        "flush-denormals", finding.code, "denormal floats taken for zero", "estimate",
        (Edit(bounded(left, least, most, share.n), stage="model", anchored=True),),
        setting=(("session.set_denormal_as_zero", "1"),),
    )  # fmt: skip
