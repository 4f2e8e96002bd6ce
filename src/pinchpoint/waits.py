"""What a blocked thread waits for that its state does not tell: a time limit to be over, or programs that compute for it.

A thread in a lock looks the same whether another one holds it or nobody ever will: waits that nothing but their time limit ended
are counted by the target's own process. So is the CPU time of the processes that it starts, which it waits for in a pipe, in
`wait`, or in a lock at which a thread of a pool's hands results over. Both are shares of the time between marks, with one request
in flight; what is blocked meanwhile is told apart in the same proportion in all requests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pinchpoint import stats
from pinchpoint.domain.quantity import Quantity, exact, product
from pinchpoint.domain.run import FUTEX, IPC, OTHER, Ints, Run

FOR_PROGRAMS = (IPC, OTHER, FUTEX)
LEAST = 0.05  # of what is blocked: less is not told apart
EXPIRED, CHILDREN = "expired_s", "children_s"


@dataclass(frozen=True, slots=True)
class Parts:
    """Of the seconds in locks, the share that ended with a time limit; of all that may be a wait for programs, the share in which
    these computed.
    """

    of_timers: Quantity
    of_programs: Quantity


def share_of_time(run: Run, counter: str) -> Quantity | None:
    """What a counter of the marks rose by in a second, over the stretches of requests; None where it was not read."""
    pairs = [(getattr(begin, counter), getattr(end, counter), begin, end) for begin, end in run.aside.stretches]
    known = [
        (late - early, (end.t_ns - begin.t_ns) / 1e9) for early, late, begin, end in pairs if min(early, late) >= 0
    ]
    if len(known) < 2 or not any(rise > 0 for rise, _ in known):
        return None
    return stats.ratio_interval(*zip(*known, strict=True))


def parts(run: Run, site: Ints, running: Ints, weight: npt.NDArray[np.float64]) -> Parts:
    """How waits of all requests are divided, by samples of the request's thread within them: where it was, how many other threads
    ran, and the nanoseconds that each stands for. While one runs, a time limit is not what is waited for.
    """
    nothing, whole = exact(0.0), float(weight.sum())
    if not whole:
        return Parts(nothing, nothing)
    in_lock, alone = site == FUTEX, running <= 0
    locked, idle = (float(weight[mask].sum()) / whole for mask in (in_lock, in_lock & alone))
    timers = _part(share_of_time(run, EXPIRED), locked, idle)
    waiting = float(weight[np.isin(site, FOR_PROGRAMS)].sum()) / whole - locked * timers.value
    return Parts(timers, _part(share_of_time(run, CHILDREN), waiting, waiting))


def _part(share: Quantity | None, of: float, at_most: float) -> Quantity:
    """A share of the time as a part of another, which it cannot exceed."""
    if share is None or of <= 0 or share.value < LEAST * of:
        return exact(0.0)
    value, low, high = (min(max(end, 0.0), at_most) / of for end in (share.value, share.low, share.high))
    return Quantity(value, low, high, share.n)


def divided(seconds: Quantity, part: Quantity) -> tuple[Quantity, Quantity]:
    """Seconds as a part of them and the rest."""
    rest = Quantity(1 - part.value, 1 - part.high, 1 - part.low, part.n)
    return product(seconds, part), product(seconds, rest)
