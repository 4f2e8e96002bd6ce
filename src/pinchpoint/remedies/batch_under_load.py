"""Requests that wait together served together: the CPU time of an item falls as its latency in a batch does."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint import demands
from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, DemandEdit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import Quantity
from pinchpoint.predict import predict
from pinchpoint.remedies.batch_requests import ITEMS, batch_requests


@remedy("batch-under-load", words="dynamic batching")
def batch_under_load(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Each item takes the share of the CPUs, and of the memory's bandwidth, that it takes of the time in a batch."""
    for alone in batch_requests.propose(tables, finding):
        gain = predict(tables.typical, alone).gain
        factor = Quantity(1 / gain.value, 1 / gain.high, 1 / gain.low, gain.n)
        one = Quantity(1.0, 1.0, 1.0, gain.n)
        edits = tuple(DemandEdit(each, factor, one) for each in (demands.CPU, demands.MEMORY))
        words = f"batches of {ITEMS} under load"
        yield Change("batch-under-load", finding.code, words, "estimate", (), statistic="throughput", demands=edits)
