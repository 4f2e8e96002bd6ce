"""C110: threads spin while nothing is asked of them."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C110",
    title="idle spinning burns cores",
    question="Do threads of a pool burn CPU time after the answer is there?",
    bound="cpu",
    cells=(),
    needs=("idle.cpu_share", "idle.spinning_pools"),
    remedies=("stop-spinning",),
)
def idle_spinning(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """CPUs stay busy after an answer, by threads that only look whether there is more to do.

    **Mechanism.** A thread that sleeps takes some microseconds to wake, so runtimes let the threads of a pool look for
    work again and again (spin) for tens of milliseconds before they sleep. With requests back to back that costs
    nothing. With pauses between them every request is followed by CPU time for nothing, which neighbours, a quota and
    a power bill pay for. Pauses are made between a few requests, and the whole process's CPU clock is read in them.
    **Looks like it, is not.** Threads that share the work of a request are busy until the answer is there and not after
    it (C101). A job of the program's own goes on for as long as one waits, so what is still busy a quarter of a second
    later is taken off. Work that a request leaves to other threads on purpose also ends: only pools that may spin count.
    **Confirm.** Turn spinning off: CPU time in the pauses must go, and latency stay, within what waking a thread takes.
    **Remedies.** Turn the session's spinning off, shorten it, or use fewer threads. Where requests come back to back
    and no neighbour wants the CPU, leave it as it is.
    """
    yield Evidence(signals["idle.cpu_share"], "above", limits.leading_share)
    yield Evidence(signals["idle.spinning_pools"], "above", limits.switched_on)
