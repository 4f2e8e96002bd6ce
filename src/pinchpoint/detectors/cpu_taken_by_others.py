"""C109: other programs or machines take the CPU."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C109",
    title="CPU taken by others",
    question="Do requests wait for a CPU that someone else is using?",
    bound="cpu",
    cells=(("*", "starved"),),
    needs=("request.starved_share", "threads.starved_cores", "measurement.foreign_share"),
    remedies=("isolate-cpu", "quiet-machine"),
    lookalikes=("C106", "C108"),
)
def cpu_taken_by_others(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Requests are ready to run and do not run, while other programs or the hypervisor use the CPUs.

    **Mechanism.** The kernel shares a CPU between all who want it, so beside one other busy program a thread gets half
    of it. On a virtual machine the hypervisor can take it away altogether (steal). The thread's run-queue clock says
    how long it waited, the machine's counters say who ran instead.
    **Looks like it, is not.** The target's own surplus of threads waits in the same queue (C106: more runnable threads
    than CPUs). A quota stops threads too, but that time is counted apart and taken off here (C108).
    **Confirm.** Pause the neighbour, or pin the target to CPUs of its own: the waiting must vanish and nothing else
    change.
    **Remedies.** Give the target CPUs of its own (cpuset, pinning, a dedicated node), move it or the neighbour, lower
    the neighbour's priority. Measure again on a quiet machine before changing the program.
    """
    yield Evidence(signals["request.starved_share"], "above", limits.trivial_share)
    yield Evidence(signals["threads.starved_cores"], "above", limits.starved_cores)
    yield Evidence(signals["measurement.foreign_share"], "above", limits.foreign_share)
