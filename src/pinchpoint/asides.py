"""A loaded child + a deadline -> Asides: small arms beside the requests that count, half a second each at most."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from pinchpoint.copies import COPIES
from pinchpoint.domain.aside import Asides, Flushed, Mark, Pause, Watched
from pinchpoint.domain.run import Requests
from pinchpoint.process import Child, Ended, Reply

LEAST_S = 0.6  # below this no arm is begun
PAUSES = {"count": 5, "gap_s": 0.04, "step_s": 0.02, "last_s": 0.25, "seconds": 0.3}
AGAIN, AGAIN_S = 24, 0.4  # requests that are asked again, and how long for
DENORMALS, FLUSH_S = "denormals", 0.4
COPIES_S, LONGEST_COPYING_S = 0.3, 0.5  # requests that copy much are slow, and three of them are enough
FEWEST_ONCE = 5  # payloads of a shape of their own, below which nobody asks again
LONGEST_REQUEST_S = 0.25  # of a request in an arm that lasts half a second


@dataclass(frozen=True, slots=True)
class Beside:
    """What the arms may use: time until `deadline` (monotonic seconds), and patience with a single request."""

    typical_s: float
    deadline: float
    timeout_s: float
    sessions: tuple[int, ...] = ()  # those that ran
    own_code: bool = False  # whether requests are answered by Python code of the target's


def marked(reply: Reply, known: Asides) -> Asides:
    """What is known with the marks of one more stretch of requests."""
    pair = msgspec.convert(reply["stretch"], tuple[Mark, Mark]) if "stretch" in reply else None
    return replace(known, stretches=(*known.stretches, pair)) if pair else known


def arms(child: Child, known: Asides, plan: Beside, requests: Requests) -> Asides:
    """What is known with every arm that there was time for. A child that ends meanwhile is the next one's to find out."""
    try:
        known = _again(child, known, plan, requests)
        for number in plan.sessions:
            known = _flushed(child, known, plan, number)
        if plan.own_code:
            known = _copies(child, known, plan)
        return _pauses(child, known, plan)
    except Ended as ended:
        return _without(known, "pauses", str(ended))


def _again(child: Child, known: Asides, plan: Beside, requests: Requests) -> Asides:
    """Requests of shapes that were new when they were first asked and did not come again: how long they take once known."""
    alone = _once(known, requests)
    if len(alone) < FEWEST_ONCE:
        return known
    late = _too_late(plan)
    if late is not None:
        return _without(known, "again", late)
    spread = [alone[at * len(alone) // AGAIN] for at in range(AGAIN)] if len(alone) > AGAIN else alone
    reply = _answered(child, {"do": "again", "numbers": spread, "seconds": AGAIN_S}, plan)
    return replace(known, again=msgspec.convert(reply.get("again", ()), tuple[tuple[int, float], ...]))


def _once(known: Asides, requests: Requests) -> list[int]:
    """Payloads whose shape was new when they were first asked, and that were asked once."""
    shapes = np.array(known.payload_shapes, dtype=np.int64)
    asked = requests.index[~requests.second]
    if len(set(known.payload_shapes)) < FEWEST_ONCE or not len(asked):
        return []
    payloads, times = np.unique(asked % len(shapes), return_counts=True)
    _, first = np.unique(shapes[asked % len(shapes)], return_index=True)
    new = asked[first] % len(shapes)
    return [int(n) for n in np.sort(new) if shapes[n] >= 0 and times[np.searchsorted(payloads, n)] == 1]


def _flushed(child: Child, known: Asides, plan: Beside, number: int) -> Asides:
    """Runs of a session with denormals taken for zero, in turns with runs as they are."""
    if (late := _too_late(plan)) is not None:
        return _without(known, DENORMALS, late)
    seconds = FLUSH_S / len(plan.sessions)
    reply = _answered(child, {"do": "flush", "session": number, "seconds": seconds}, plan)
    if "pairs" not in reply:
        return _without(known, DENORMALS, str(reply.get("missing") or reply.get("failed")))
    pairs = msgspec.convert(reply["pairs"], tuple[tuple[float, float], ...])
    return replace(known, flushed=(*known.flushed, Flushed(number, pairs)))


def _copies(child: Child, known: Asides, plan: Beside) -> Asides:
    """Requests whose copies of arrays and buffers are timed one by one."""
    if (late := _too_late(plan, LONGEST_COPYING_S)) is not None:
        return _without(known, COPIES, late)
    reply = _answered(child, {"do": "copies", "seconds": COPIES_S}, plan)
    if "copies" not in reply:
        return _without(known, COPIES, str(reply.get("missing") or reply.get("failed")))
    return replace(known, copies=msgspec.convert(reply["copies"], tuple[Watched, ...]))


def _pauses(child: Child, known: Asides, plan: Beside) -> Asides:
    """Requests with pauses between them: what the process computes while nothing is asked of it."""
    if (late := _too_late(plan)) is not None:
        return _without(known, "pauses", late)
    reply = _answered(child, {"do": "pauses", **PAUSES}, plan)
    if "pauses" not in reply:
        return _without(known, "pauses", str(reply.get("failed")))
    return replace(known, pauses=msgspec.convert(reply["pauses"], tuple[Pause, ...]))


def _too_late(plan: Beside, longest_s: float = LONGEST_REQUEST_S) -> str | None:
    needed = LEAST_S + 4 * plan.typical_s
    if plan.typical_s > longest_s:
        return "a request takes too long for a small arm"
    if plan.deadline - time.monotonic() < needed:
        return f"too little time was left: {math.ceil(needed)} s more of --budget would do"
    return None


def _answered(child: Child, command: Mapping[str, object], plan: Beside) -> Reply:
    reply = child.ask(command, plan.timeout_s)
    if "ended" in reply:
        raise Ended(str(reply["ended"]))
    return reply


def _without(known: Asides, what: str, why: str) -> Asides:
    return replace(known, missing=(*known.missing, (what, why)))
