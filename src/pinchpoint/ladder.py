"""A loaded target + a deadline -> Visits at 0, 1, 2, 4, ... requests in flight, until throughput stops growing.

The visits of one load are spread over the whole ladder in random order, so that a machine that changes meanwhile widens
their spread instead of bending the curve.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pinchpoint.domain.run import Visit
from pinchpoint.interpreter_lock import LockReader
from pinchpoint.process import Child, Ended, Reply

COMPLETE = "complete"
LEAST_S = 2.5  # below this there is no curve, only noise
SHORTEST_S, LONGEST_S = 0.25, 2.0  # of a visit, unless a request takes longer
LOADS = 7  # that a ladder is likely to have
REQUESTS_A_VISIT = 5  # of one client
GROWS = 1.05  # times the best throughput so far: less is no growth
PATIENCE = 2  # loads without growth, one after the other
MOST_LOAD = 64
ROUNDS = 5  # visits of each load that are wished for
FULL = 0.9  # of the memory limit
FAILING = 0.01  # of the requests: more failures than without company are the company's


@dataclass(frozen=True, slots=True)
class Climb:
    """What a ladder may use: time until `deadline` (monotonic seconds), memory, and patience with a single request."""

    typical_s: float
    deadline: float
    timeout_s: float
    memory_limit_bytes: int | None
    fails_alone: float
    seed: int
    checked: bool
    gil_address: int | None = None
    spare_s: float = 0.0
    progress: Callable[[str], None] = lambda _: None


def climb(child: Child, plan: Climb) -> tuple[tuple[Visit, ...], str]:
    """The visits, and why it went no further: `complete` where throughput stopped growing."""
    left = plan.deadline - time.monotonic()
    needed = LEAST_S + 4 * REQUESTS_A_VISIT * plan.typical_s
    if left < needed:
        return (), f"too little time was left: {needed - left:.0f} s more of --budget would do"
    plan = replace(plan, spare_s=left)
    found: list[Visit] = []
    gil = LockReader(child.pid, plan.gil_address, plan.seed)
    try:
        ended = _up(child, gil, plan, found)
        loads = list(dict.fromkeys(visit.load for visit in found))
        chance = random.Random(plan.seed)  # noqa: S311  # an order, not a secret
        for _ in range(ROUNDS - 1):
            chance.shuffle(loads)
            for load in loads:
                if time.monotonic() + _seconds(plan) > plan.deadline:
                    return tuple(found), ended
                found.append(_visit(child, gil, plan, load)[0])
    except Ended as error:
        return tuple(found), str(error)
    finally:
        gil.close()
    return tuple(found), ended


def _up(child: Child, gil: LockReader, plan: Climb, found: list[Visit]) -> str:
    """The first visit of each load, upwards; answers are compared before anything is claimed of threads."""
    found.append(_visit(child, gil, plan, 0)[0])
    load, best, idle = 1, 0.0, 0
    while load <= MOST_LOAD:
        plan.progress(f"{load} request{'s' if load > 1 else ''} in flight")
        visit, error = _visit(child, gil, plan, load)
        if visit.failed > max(FAILING, 2 * plan.fails_alone) * (visit.done + visit.failed):
            return f"{visit.failed} of {visit.done + visit.failed} requests failed with {load} in flight: {error}"
        found.append(visit)
        if load == 2 and plan.checked and (wrong := _wrong(child, plan)):
            return wrong
        idle = 0 if visit.rate > best * GROWS else idle + 1
        best = max(best, visit.rate)
        if idle >= PATIENCE:
            return COMPLETE
        if (full := _full(child, plan)) or time.monotonic() + _seconds(plan) > plan.deadline:
            return full or f"the time was up while throughput still grew, at {load} in flight"
        load *= 2
    return f"throughput still grew at {MOST_LOAD} in flight"


def _seconds(plan: Climb) -> float:
    """How long a visit lasts: longer where requests are, or where there is time."""
    wished = max(SHORTEST_S, plan.typical_s * REQUESTS_A_VISIT, plan.spare_s / (ROUNDS * LOADS))
    return max(min(LONGEST_S, wished), plan.typical_s)


def _visit(child: Child, gil: LockReader, plan: Climb, load: int) -> tuple[Visit, str | None]:
    seconds = _seconds(plan)
    gil.begin()
    reply = _answered(child, {"do": "visit", "load": load, "seconds": seconds}, seconds + plan.timeout_s)
    readings, held = gil.end()
    return replace(msgspec.convert(reply["visit"], Visit), gil_probes=readings, gil_held=held), reply["error"]


def _wrong(child: Child, plan: Climb) -> str:
    """What is wrong with answers under two threads; empty where all are as they are alone, or none can be compared."""
    checked = _answered(child, {"do": "check", "load": 2}, plan.timeout_s)["check"]
    if not checked["different"]:
        return ""
    return f"{checked['different']} of {checked['compared']} answers with 2 in flight differ from those of one alone"


def _answered(child: Child, command: Mapping[str, object], timeout_s: float) -> Reply:
    reply = child.ask(command, timeout_s)
    if "ended" in reply or "failed" in reply:
        raise Ended(str(reply.get("ended") or reply.get("failed")))
    return reply


def _full(child: Child, plan: Climb) -> str:
    """That twice the load would not fit into memory; empty where it would, or nobody knows."""
    if plan.memory_limit_bytes is None:
        return ""
    with contextlib.suppress(OSError, ValueError, IndexError):
        resident = int(Path(f"/proc/{child.pid}/statm").read_text("ascii").split()[1]) * 4096
        if resident > FULL * plan.memory_limit_bytes:
            return "memory is full"
    return ""
