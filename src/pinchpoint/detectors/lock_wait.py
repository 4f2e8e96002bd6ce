"""W104: requests wait for a lock."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import either
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W104",
    title="a lock or serial section",
    question="Do requests wait for something that another thread holds?",
    bound="wait",
    cells=(("*", "wait", "futex"),),
    needs=("request.lock_share", "request.own_lock_share", "capacity.lock_utilization"),
    remedies=("shorten-lock", "split-lock"),
    lookalikes=("W110",),
)
def lock_wait(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The request's thread is blocked in a lock while no thread of its own works for it.

    **Mechanism.** A lock, a queue or a condition lets one thread on while others wait. If the holder keeps it while it
    computes, reads or sleeps, every request waits for that, with CPUs idle. More load only makes the line longer. The
    thread's state is sampled: blocked in a futex, with nothing running on its behalf. Locks that the program's own code
    makes are timed: with one request in flight they must be what is waited for, and one that is held nearly all the time
    with several in flight is full.
    **Looks like it, is not.** Waiting for a runtime's own pool is a futex too, but the pool's threads run meanwhile:
    that is work, and counted as such. So is waiting for the result of a thread or of a process of one's own: as long as
    no lock of the program is waited for, a lock is neither found nor ruled out. A sleep is W110, a call to another
    service I105, being ready to run without a CPU C106 or C109.
    **Confirm.** Split the lock or take it away where that is safe, or shorten what is done under it in three steps: the
    waiting must follow the time held.
    **Remedies.** Hold the lock for less (prepare before, publish after), shard what it guards, read without it, or give
    each worker its own copy. Never hold it across a call or a sleep.
    """
    blocked = Evidence(signals["request.lock_share"], "above", limits.trivial_share)
    own = Evidence(signals["request.own_lock_share"], "above", limits.trivial_share)
    waiting = (blocked,) if blocked.status() == "absent" else (blocked, own)
    holding = Evidence(signals["capacity.lock_utilization"], "above", limits.saturated)
    yield from waiting if holding.signal.quantity is None else either(waiting, (holding,))
