"""C107: the model runs on fewer CPUs than are free."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C107",
    title="too little parallelism",
    question="Would the model be faster on CPUs that are idle now?",
    bound="cpu",
    cells=(("model", "cpu"), ("model", "memory")),
    needs=("model.share", "scaling.thread_gain", "cpu.idle_share"),
    remedies=("more-threads",),
    lookalikes=("C105", "C114"),
)
def too_few_threads(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The model's session has fewer threads than CPUs, those CPUs are idle, and its operators would share out.

    **Mechanism.** A session that was given one thread uses one CPU, however many are free. Whether more would help
    follows from this machine's ceilings at both thread counts: arithmetic usually scales with threads, bandwidth only
    until the memory system is full, and operators of a few microseconds not at all.
    **Looks like it, is not.** On a machine, container or quota of one CPU there is nothing to gain. Busy CPUs are not
    free (C109). A model of tiny operators stays as slow with any number of threads (C105). One thread beside idle CPUs
    is compute- or memory-bound at the same time (C101, M101): both hold, but threads are the cheaper cure.
    **Confirm.** Run with 1, 2, 4 threads up to the number of CPUs: the latency must fall as predicted. For throughput
    the same CPUs can serve other requests instead, so check both.
    **Remedies.** Raise the intra-op threads to the CPUs that the container grants; split the work over inter-op threads
    or several sessions; batch work that comes in parts.
    """
    yield Evidence(signals["model.share"], "above", limits.trivial_share)
    yield Evidence(signals["scaling.thread_gain"], "above", limits.worthwhile_gain)
    yield Evidence(signals["cpu.idle_share"], "above", limits.idle_share)
