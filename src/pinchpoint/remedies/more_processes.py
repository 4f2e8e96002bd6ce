"""Processes instead of threads: an interpreter for each CPU."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, DemandEdit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact


@remedy("more-processes", words="processes instead of threads")
def more_processes(tables: Tables, finding: Finding) -> Iterator[Change]:
    """As many interpreters, each with its lock, as there are CPUs; nothing else is shared or saved."""
    most = max(1, math.floor(tables.run.environment.effective_cpus))
    if most > 1:
        edit = DemandEdit("gil", exact(1.0), exact(float(most)))
        words = f"{most} processes instead of threads"
        yield Change("more-processes", finding.code, words, "estimate", (), statistic="throughput", demands=(edit,))
