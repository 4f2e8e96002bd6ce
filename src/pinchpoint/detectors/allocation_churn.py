"""M104: memory is taken and given back in every request."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="M104",
    title="allocation churn",
    question="Does getting fresh memory from the kernel take a good part of the request?",
    bound="memory",
    cells=(("*", "memory", "fault"),),
    needs=("memory.fault_share", "memory.major_faults"),
    remedies=("reuse-buffers",),
    lookalikes=("M103",),
)
def allocation_churn(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Page faults on fresh memory, at their calibrated cost, are a good part of the request.

    **Mechanism.** Large buffers come straight from the kernel and go back when they are freed. Fresh pages are only
    promised: on first touch each one faults, and the kernel finds a page and clears it. A program that makes its large
    arrays anew for every request pays this every time, and the profile shows it as ordinary CPU time in harmless lines.
    Here the faults are counted and multiplied by what one costs on this machine.
    **Looks like it, is not.** Heavy computing on the same arrays is C102 or C103: it causes few faults. Faults in memory
    that a copy goes into are the copy's (M106). Pages that come back from storage are major faults and mean that memory
    is too small (M103). A first request always faults; only steady requests are counted.
    **Confirm.** Reuse the buffers, or tell the allocator to keep what is freed (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
    minor faults must go to nearly zero, and the latency fall by their time.
    **Remedies.** Allocate buffers once and use them again (IO binding, out= arguments), keep the runtime's memory arena
    on, use an allocator that keeps memory, use huge pages for large buffers.
    """
    yield Evidence(signals["memory.fault_share"], "above", limits.churn_share)
    yield Evidence(signals["memory.major_faults"], "below", limits.major_faults)
