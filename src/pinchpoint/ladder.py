"""A crew + a deadline -> Visits at 0, 1, 2, 4, ... requests in flight, until throughput stops growing.

The visits of one load are spread over the whole ladder in random order, so that a machine that changes meanwhile widens
their spread instead of bending the curve.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from pinchpoint.crews import Crew
from pinchpoint.domain.run import Visit
from pinchpoint.process import Ended

COMPLETE = "complete"
LEAST_S = 2.5  # below this there is no curve, only noise
SHORTEST_S, LONGEST_S = 0.25, 2.0  # of a visit, unless a request takes longer
REQUESTS_A_VISIT = 5  # of one client
GROWS = 1.05  # times the best throughput so far: less is no growth
PATIENCE = 2  # loads without growth, one after the other
MOST_LOAD = 64
ROUNDS, LOADS = 5, 7  # visits of each load that are wished for, and loads that a ladder is likely to have
FAILING = 0.01  # of the requests: more failures than without company are the company's


class Unsafe(Exception):  # not an error, but what was found out
    """The target cannot serve several requests at once in this way: in words, why, and the visits until then."""

    def __init__(self, why: str, visits: tuple[Visit, ...]) -> None:
        super().__init__(why)
        self.visits = visits


@dataclass(frozen=True, slots=True)
class Climb:
    """What a ladder may use: time until `deadline` (monotonic seconds), and patience with a single request.

    `fails_alone` is the share of requests that fail with one in flight; `compared` says that answers can be compared.
    """

    typical_s: float
    deadline: float
    fails_alone: float
    seed: int
    compared: bool
    progress: Callable[[str], None] = lambda _: None

    def visit_s(self, now: float) -> float:
        """How long a visit lasts: longer where requests are, or where there is much time."""
        wished = max(SHORTEST_S, self.typical_s * REQUESTS_A_VISIT, (self.deadline - now) / (ROUNDS * LOADS))
        return max(min(LONGEST_S, wished), self.typical_s)


def climb(crew: Crew, plan: Climb) -> tuple[tuple[Visit, ...], str]:
    """The visits, and why it went no further: `complete` where throughput stopped growing. Raises Unsafe."""
    now = time.monotonic()
    needed = LEAST_S + 4 * REQUESTS_A_VISIT * plan.typical_s
    if plan.deadline - now < needed:
        return (), f"too little time was left: {math.ceil(needed - (plan.deadline - now))} s more of --budget would do"
    seconds = plan.visit_s(now)
    found: list[Visit] = []
    try:
        ended = _up(crew, plan, seconds, found)
        loads = list(dict.fromkeys(visit.load for visit in found))
        chance = random.Random(plan.seed)  # noqa: S311  # an order, not a secret
        for _ in range(ROUNDS - 1):
            chance.shuffle(loads)
            for load in loads:
                if time.monotonic() + seconds > plan.deadline:
                    return tuple(found), ended
                found.append(crew.visit(load, seconds)[0])
    except Ended as error:
        return tuple(found), str(error)
    return tuple(found), ended


def _up(crew: Crew, plan: Climb, seconds: float, found: list[Visit]) -> str:
    """The first visit of each load, upwards; answers are compared before anything is claimed of threads."""
    found.append(crew.visit(0, seconds)[0])
    load, best, idle = 1, 0.0, 0
    while load <= MOST_LOAD:
        plan.progress(f"{load} request{'s' if load > 1 else ''} in flight")
        visit, error = crew.visit(load, seconds)
        if visit.failed > max(FAILING, 2 * plan.fails_alone) * (visit.done + visit.failed):
            asked = visit.done + visit.failed
            raise Unsafe(f"{visit.failed} of {asked} requests failed with {load} in flight: {error}", tuple(found))
        found.append(visit)
        if load == 2 and plan.compared and (wrong := crew.wrong_answers()):
            raise Unsafe(wrong, tuple(found))
        idle = 0 if visit.rate > best * GROWS else idle + 1
        best = max(best, visit.rate)
        if idle >= PATIENCE:
            return COMPLETE
        if (full := crew.full(2 * load)) or time.monotonic() + seconds > plan.deadline:
            return full or f"the time was up while throughput still grew, at {load} in flight"
        load *= 2
    return f"throughput still grew at {MOST_LOAD} in flight"
