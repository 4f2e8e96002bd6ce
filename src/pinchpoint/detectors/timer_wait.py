"""W110: requests sleep."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W110",
    title="a timer, poll interval or retry on the path",
    question="Do requests sleep for a fixed time?",
    bound="wait",
    cells=(("*", "wait", "timer"),),
    needs=("request.timer_share",),
    remedies=("replace-timer",),
    lookalikes=("W103", "W104"),
)
def timer_wait(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The request's thread sleeps in a timer while it serves a request.

    **Mechanism.** Code that asks again every so often, waits before a retry, limits its own rate or holds requests back
    to fill a batch sleeps for a constant time. The latency then hardly depends on the input and comes in steps of the
    interval. The thread's state is sampled: asleep in a timer.
    **Looks like it, is not.** A batching window (W103) is shared by all who come meanwhile. Waiting with a timeout for a
    lock (W104) or for a socket (I105) ends with the event, not with the time. A thread that is ready to run and gets no
    CPU is not asleep (C106, C108, C109).
    **Confirm.** Change the interval, in three doses: the latency must change in proportion, by half the interval on
    average for a poll, by all of it for a fixed delay.
    **Remedies.** Wait for an event (a condition, a future, a notification) instead of asking again; retry at once the
    first time; fit a batching window to the rate at which requests arrive.
    """
    yield Evidence(signals["request.timer_share"], "above", limits.trivial_share)
