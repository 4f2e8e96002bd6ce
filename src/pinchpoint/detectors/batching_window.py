"""W103: requests wait for a batch to fill."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import either
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W103",
    title="batching window too long",
    question="Is a request that is alone held back for others to come?",
    bound="wait",
    cells=(("queue", "wait"), ("*", "wait", "timer")),
    needs=("request.queue_share", "request.timer_share", "request.together_share"),
    remedies=("shorter-window",),
)
def batching_window(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """A request waits in the server's queue although no other is there, or sleeps, and shares its sleep with who comes meanwhile.

    **Mechanism.** A batcher holds a request back for a while, in the hope of others to share a run with. With few requests in
    flight nobody comes, and each waits for the whole window: a constant that is added to every latency. The server's own
    counters say how long requests were in its queue while one was in flight. A window that a program makes itself, with a sleep
    or a wait with a time limit, is seen as a timer; requests sent three quarters of a latency apart then end together.
    **Looks like it, is not.** Under load a queue grows because workers are busy (W102): alone in flight nobody is before you.
    A timer of each request's own (W110) holds each back for as long, whoever else comes, and they end apart.
    **Confirm.** Shorten the window, in three doses: the latency alone must fall by as much, and throughput under load must
    not.
    **Remedies.** Fit the window to the rate at which requests arrive (it is worth waiting for the next one only where that
    comes soon), name preferred batch sizes, or let a free worker start at once.
    """
    queued = Evidence(signals["request.queue_share"], "above", limits.trivial_share)
    asleep = Evidence(signals["request.timer_share"], "above", limits.trivial_share)
    made = asleep, Evidence(signals["request.together_share"], "above", limits.together)
    yield from made if queued.signal.quantity is None else either((queued,), made)
