"""W102: requests wait for one of too few workers."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W102",
    title="too few workers or instances",
    question="Do requests wait for a free worker while CPUs are idle?",
    bound="wait",
    cells=(),
    needs=("capacity.pool_utilization", "capacity.idle_share"),
    remedies=("more-workers",),
)
def too_few_workers(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """With several requests in flight all workers of a pool, or all places of a semaphore, are taken, and CPUs are idle.

    **Mechanism.** A pool of `k` threads, or a semaphore of `k` places, serves `k` requests at once; the others wait, even
    where those that are served only sleep or wait for another service. What is handed to the pools of the target's process
    is timed, and so are the semaphores that its own code makes. A server's workers are looked at from outside; those that wait
    for their next request to be handed over count as taken where others wait in line and as many are served at a time as
    there are workers.
    **Looks like it, is not.** Workers that wait for a lock (W104) or for the interpreter (W101) are all taken as well: one
    more of them would wait too. With all CPUs busy, more workers only share them.
    **Confirm.** One more worker: throughput must rise by 1 / k.
    **Remedies.** More workers or places, as far as memory and what stands behind them allow; or await instead of blocking.
    """
    yield Evidence(signals["capacity.pool_utilization"], "above", limits.saturated)
    yield Evidence(signals["capacity.idle_share"], "above", limits.idle_share)
