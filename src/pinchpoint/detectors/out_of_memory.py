"""M103: memory does not suffice, and pages come back from storage."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import any_of
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="M103",
    title="memory is full: swap, major faults, reclaim",
    question="Are pages fetched back from storage because memory is too small?",
    bound="memory",
    cells=(("*", "memory", "fault"), ("*", "disk", "fault")),
    needs=(
        "memory.major_faults",
        "memory.swap_in_bytes",
        "memory.pressure_share",
        "request.read_share",
        "memory.fault_share",
    ),
    remedies=("more-memory", "smaller-model"),
    lookalikes=("I101", "M104"),
)
def out_of_memory(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Requests wait for pages that were in memory before and had to make room.

    **Mechanism.** When the working set is larger than the memory, or than the container's limit, the kernel puts pages
    away and fetches them back when they are touched: from swap, or again from the file they came from. Each such major
    fault waits for storage, at some thousand times the cost of memory. The average CPU use falls while latency
    explodes.
    **Looks like it, is not.** Files that are read for the first time cause major faults as well, but nothing had to
    make room: no swap-in and no memory pressure (I101). Fresh memory costs minor faults, which never touch storage
    (M104).
    **Confirm.** Raise the memory limit, or shrink the working set (a smaller batch, one worker less): major faults must
    go to zero and the waiting with them.
    **Remedies.** More memory or a higher limit, a smaller or quantised model, fewer workers, one shared copy of the
    weights. Locking pages only moves the shortage elsewhere.
    """
    yield Evidence(signals["memory.major_faults"], "above", limits.major_faults)
    yield from any_of(
        Evidence(signals["memory.swap_in_bytes"], "above", limits.swap_in_bytes),
        Evidence(signals["memory.pressure_share"], "above", limits.memory_pressure_share),
    )
    yield from any_of(
        Evidence(signals["request.read_share"], "above", limits.trivial_share),
        Evidence(signals["memory.fault_share"], "above", limits.trivial_share),
    )
