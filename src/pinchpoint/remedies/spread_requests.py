"""Requests that go to whoever has the least to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pinchpoint import demands
from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change, DemandEdit
from pinchpoint.domain.demand import Demand
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact

OF_ALL = (demands.LOOP, demands.GIL, demands.LOCK)  # seen as one for all processes, or only in those that do anything


@remedy("spread-requests", words="requests spread evenly")
def spread_requests(tables: Tables, finding: Finding) -> Iterator[Change]:
    """Each of those that serve alike is used as much as they are on average; what a request takes stays as it is."""
    full = tables.saturated
    alike = demands.uneven(tables.run, tables.demands, full.load) if full else ()
    used = {each.resource: each.utilization.value for each in alike if each.utilization and each.utilization.value > 0}
    if used:
        mean = sum(used.values()) / len(alike)
        edits = [DemandEdit(name, exact(mean / share), exact(1.0)) for name, share in used.items()]
        if demands.kind_of(alike[0]) == demands.PROCESS:
            edits += _inside(alike, mean)
        edits.sort(key=lambda edit: -len(edit.resource))  # an edit names all resources that begin with its own
        what = "processes" if demands.kind_of(alike[0]) == demands.PROCESS else "pools"
        words = f"requests spread evenly over the {len(alike)} {what}"
        yield Change(
            "spread-requests", finding.code, words, "estimate", (), statistic="throughput", demands=tuple(edits)
        )


def _inside(processes: Sequence[Demand], mean: float) -> Iterator[DemandEdit]:
    """What each process has of its own goes along with it."""
    busiest = processes[0].utilization.value if processes[0].utilization else mean
    for each in processes:
        if each.utilization and each.utilization.value > 0:
            own = each.resource.removeprefix(demands.PROCESS)
            yield DemandEdit(f"{demands.LOOP} of process{own}", exact(mean / each.utilization.value), exact(1.0))
    yield from (DemandEdit(kind, exact(1.0), exact(busiest / mean)) for kind in OF_ALL)
