"""C108: the container's CPU quota stops the target."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C108",
    title="throttled by a CPU quota",
    question="Does the container's CPU limit stop requests in the middle?",
    bound="cpu",
    cells=(("*", "starved"),),
    needs=("request.throttled_share", "cgroup.throttled_periods_share"),
    remedies=("fit-threads-to-quota", "raise-quota"),
    lookalikes=("C109",),
)
def quota_throttling(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The kernel stops the container during requests, because it has used up its CPU time for the period.

    **Mechanism.** A limit of 2 CPUs means 200 ms of CPU time in every period of 100 ms, for all threads together. Eight
    busy threads use that up in 25 ms, and then everything stands still for 75. The average use looks harmless, and the
    requests that meet the pause are slow. The kernel counts the periods and the time in cpu.stat.
    **Looks like it, is not.** A neighbour makes threads wait without a throttled period (C109). Too many threads on a
    machine without a quota is C106; under a quota the throttled periods decide, and fitting the threads to it cures
    both.
    **Confirm.** Take the quota away or double it, or run with no more threads than it grants CPUs: throttled periods
    must go to zero, and the latency must fall by the throttled time.
    **Remedies.** Set the threads to the CPUs that the quota grants (runtimes often count the machine's instead), raise
    the limit, or pin CPUs instead of setting a quota.
    """
    yield Evidence(signals["request.throttled_share"], "above", limits.trivial_share)
    yield Evidence(signals["cgroup.throttled_periods_share"], "above", limits.trivial_share)
