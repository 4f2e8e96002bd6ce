"""What computes in the event loop handed to threads."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint import demands
from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, DemandEdit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact


@remedy("off-the-loop", words="what computes moved off the event loop")
def off_the_loop(tables: Tables, finding: Finding) -> Iterator[Change]:
    """The loop is left with nothing to do; a bound, since handing over costs something and Python code still takes turns."""
    if any(each.resource == demands.LOOP for each in tables.demands):
        edit = DemandEdit(demands.LOOP, exact(0.0), exact(1.0))
        words = "what computes moved off the loop (asyncio.to_thread)"
        yield Change("off-the-loop", finding.code, words, "bound", (), statistic="throughput", demands=(edit,))
