"""Processes instead of threads: an interpreter for each CPU."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pinchpoint import demands
from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, DemandEdit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact

OWN_OF_A_PROCESS = (demands.GIL, demands.LOOP, demands.LOCK, *demands.POOLS)


@remedy("more-processes", words="processes instead of threads")
def more_processes(tables: Tables, finding: Finding) -> Iterator[Change]:
    """As many interpreters as there are CPUs, each with locks, pools and an event loop of its own; nothing else is saved."""
    most = max(1, math.floor(tables.run.environment.effective_cpus))
    if most > 1:
        edits = tuple(DemandEdit(each, exact(1.0), exact(float(most))) for each in OWN_OF_A_PROCESS)
        words = f"{most} processes instead of threads" if tables.run.service is None else f"{most} worker processes"
        yield Change("more-processes", finding.code, words, "estimate", (), statistic="throughput", demands=edits)
