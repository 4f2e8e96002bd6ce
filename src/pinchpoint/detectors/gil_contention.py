"""W101: threads wait for Python's global interpreter lock."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import either
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W101",
    title="GIL contention",
    question="Do threads wait for the interpreter while CPUs are idle?",
    bound="wait",
    cells=(("*", "wait", "gil"),),
    needs=("request.interpreter_share", "capacity.gil_utilization", "capacity.idle_share"),
    remedies=("more-processes", "free-interpreter"),
)
def gil_contention(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """With several requests in flight the interpreter's lock is held nearly all the time, and CPUs are left idle.

    **Mechanism.** One thread at a time runs Python code; the others wait for the global interpreter lock (GIL), with
    CPUs idle. More threads then add latency and no throughput. Native code may let go of it (a runtime's run, a codec, a
    hash of large data), so it limits only what is Python. The interpreter's own note of who holds it is read at random
    moments, from another process.
    **Looks like it, is not.** With all CPUs busy the CPUs are the limit, whoever holds the lock. A lock of the
    program's own (W104) leaves the interpreter free. One request in flight waits for the GIL only where a thread in the
    background computes in Python, which keeps it for 5 ms at a time; else its work is C102, C103 or C104 for the latency.
    A runtime that was given one thread is C107.
    **Confirm.** Run the same work in processes instead of threads: throughput must grow with them until the CPUs are
    full.
    **Remedies.** Several processes, native code for the Python part, a free-threaded build of Python. What computes in the
    background belongs into a process of its own.
    """
    full = (
        Evidence(signals["capacity.gil_utilization"], "above", limits.saturated),
        Evidence(signals["capacity.idle_share"], "above", limits.idle_share),
    )
    alone = Evidence(signals["request.interpreter_share"], "above", limits.leading_share)
    if alone.status() == "present" and all(each.status() == "present" for each in full):
        yield from (*full, alone)
    else:
        yield from either(full, (alone,))
