"""W105: one coroutine computes in the event loop while the others wait."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W105",
    title="event loop blocked",
    question="Does one request compute in the event loop while others stand still?",
    bound="wait",
    cells=(),
    needs=("capacity.loop_utilization", "capacity.idle_share"),
    remedies=("more-processes", "off-the-loop"),
)
def event_loop_blocked(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """With several requests in flight the event loop is never idle, and CPUs are.

    **Mechanism.** An event loop runs one coroutine at a time. One that computes between two awaits, or calls something that
    blocks, holds up all others that the loop has accepted. What the loop does beside waiting in its selector is timed.
    **Looks like it, is not.** Where that computing is Python code, threads would wait for the interpreter instead: W101,
    which then leads. A loop that waits in its selector most of the time is not blocked, whatever its requests take.
    **Confirm.** Move the computing to a thread: throughput must rise where it lets go of the interpreter, and only
    processes can raise it where it does not.
    **Remedies.** `asyncio.to_thread` or an executor for what computes natively or blocks; several processes for Python code.
    """
    yield Evidence(signals["capacity.loop_utilization"], "above", limits.saturated)
    yield Evidence(signals["capacity.idle_share"], "above", limits.idle_share)
