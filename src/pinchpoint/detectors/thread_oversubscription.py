"""C106: more threads want to run than there are CPUs."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import any_of
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C106",
    title="thread oversubscription",
    question="Do the target's own threads wait for each other's CPU?",
    bound="cpu",
    cells=(("*", "starved"), ("model", "cpu")),
    needs=("threads.runnable_per_cpu", "threads.starved_cores", "cgroup.throttled_periods_share"),
    remedies=("fewer-threads",),
    lookalikes=("C108", "C109"),
)
def thread_oversubscription(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The target keeps more threads ready to run than it has CPUs, and they wait in the run queue.

    **Mechanism.** A CPU runs one thread at a time. When pools of a runtime, a BLAS library and several workers add up
    to more busy threads than CPUs, the kernel takes turns between them. A parallel operator ends with its last thread,
    so one that waits its turn holds all the others up, and those often burn CPU while they wait for it.
    **Looks like it, is not.** A neighbour takes the CPUs too, but then this program has no more runnable threads than
    CPUs (C109). A container's quota stops threads without a run queue (C108); where more threads run than it
    grants CPUs, both hold, and the quota leads. Sleeping threads, however many, do no harm.
    **Confirm.** Fewer threads: with as many as there are CPUs the latency must fall, and fall no further below that.
    Two ways of counting must agree: threads sampled as runnable, and the kernel's clock of time spent in run queues.
    **Remedies.** Set the runtime's intra-op threads and the BLAS and OpenMP threads so that workers x threads is at
    most the CPUs that the container grants; run fewer workers.
    """
    yield Evidence(signals["threads.runnable_per_cpu"], "above", limits.runnable_per_cpu)
    yield from any_of(
        Evidence(signals["threads.starved_cores"], "above", limits.starved_cores),
        Evidence(signals["cgroup.throttled_periods_share"], "above", limits.trivial_share),
    )
