"""A loaded target + the time that is left -> the ladder's visits, by threads or by processes.

Processes are used where they are asked for, and where threads fail or mix answers up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pinchpoint.contracts import Plan
from pinchpoint.crews import Processes, Threads
from pinchpoint.domain.run import Asked, Environment, Visit
from pinchpoint.domain.workload import PROCESSES, THREADS, Workload
from pinchpoint.ladder import LEAST_S, Climb, Unsafe, climb
from pinchpoint.process import Child, Ended, Reply

THREADS_S, PROCESSES_S = 5.5, 15.0  # processes have to be started
REQUESTS_A_LADDER = 40  # of one client, one after the other


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of the target from one request in flight, and how much time there is.

    `deadline` is the latest end in monotonic seconds; `longer_s` is how much longer than usual a ladder may take.
    """

    plan: Plan
    workload: Workload
    environment: Environment
    loaded: Reply
    typical_s: float
    fails_alone: float
    deadline: float
    longer_s: float
    progress: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Company:
    """What several requests in flight showed: the visits, who served them, why no others did, and why it went no further."""

    visits: tuple[Visit, ...] = ()
    crew: str = THREADS
    threads_failed: str = ""
    ended: str = "one request in flight was not measured to the end"
    asked: Asked = field(default_factory=Asked)


def in_company(child: Child, given: Circumstances) -> Company:
    """The ladder; what threads had shown stands where not even two processes could be seen."""
    if given.workload.workers == PROCESSES:
        return _with_processes(child, given, "")
    crew = Threads(
        child,
        gil=(given.loaded["gil"], given.loaded["gil_waiters"]),
        seed=given.workload.seed,
        timeout_s=given.workload.timeout_s,
        memory_limit_bytes=given.environment.memory_limit_bytes,
    )
    try:
        visits, ended = climb(crew, _climb(given, THREADS_S))
    except Unsafe as unsafe:
        found = _with_processes(child, given, str(unsafe))
        seen = any(visit.load > 1 for visit in found.visits)
        return found if seen else Company(unsafe.visits, THREADS, "", str(unsafe))
    finally:
        crew.close()
    return Company(visits, THREADS, "", ended, crew.asked())


def _with_processes(child: Child, given: Circumstances, threads_failed: str) -> Company:
    crew = Processes(child, lambda: _loaded_again(given), timeout_s=given.workload.timeout_s)
    try:
        visits, ended = climb(crew, replace(_climb(given, PROCESSES_S), compared=False))
    except Unsafe as unsafe:
        visits, ended = unsafe.visits, str(unsafe)
    finally:
        crew.close()
    return Company(visits, PROCESSES, threads_failed, ended)


def _climb(given: Circumstances, seconds: float) -> Climb:
    enough = LEAST_S + REQUESTS_A_LADDER * given.typical_s  # slow requests need longer, as far as there is time
    return Climb(
        typical_s=given.typical_s,
        deadline=min(given.deadline, time.monotonic() + max(seconds, enough) + given.longer_s),
        fails_alone=given.fails_alone,
        seed=given.workload.seed,
        compared=not given.loaded["asynchronous"],
        progress=given.progress,
    )


def _loaded_again(given: Circumstances) -> Child:
    """One more process with the target loaded."""
    child = Child(given.plan.spec.python)
    load = {"do": "load", "spec": dict(given.plan.load), "records": str(child.records), "seed": given.workload.seed}
    try:
        reply = child.ask(load, given.workload.timeout_s)
    except BaseException:
        child.close()
        raise
    if "ended" in reply or "failed" in reply:
        child.close()
        raise Ended(str(reply.get("ended") or reply.get("failed")))
    return child
