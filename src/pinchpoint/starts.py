"""A plan + a deadline -> Starts in fresh processes, in turn with the target's own files in the page cache and on disk.

The files are let go by advice (posix_fadvise), never by dropping the system's cache, and looked at afterwards: what the
kernel keeps (pages that are mapped, not yet written, or of a file system in memory) makes no cold start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pinchpoint import model_file, page_cache
from pinchpoint.contracts import Plan
from pinchpoint.domain.run import CONTROL, BusyLine, Opening, Phase, Run, Start
from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.process import Child, Ended, Reply

COMPLETE = "complete"
FOUND, WARM, COLD = "as found", "warm", "cold"
WISHED = 3  # starts with each state of the cache
STARTS_S, STARTS_WISHED = 5.0, 8  # taken from the ladder at most; how many starts' time is wished for
LADDER_LEAST_S = 3.0  # that further starts leave to the ladder
SESSIONS, PAIRS = 4, 3  # whose graph optimisation is timed, and how often
PROCESS_S = 0.15  # for a process to come and go, beside the start that it makes
SLACK = 1.3  # times the longest start so far: the next one may be slower
PATIENCE, LEAST_PATIENCE_S = 5.0, 5.0  # times the first start: one that takes longer hangs
COLD_ENOUGH = 0.1  # of the files' pages may stay in the page cache
READ_ENOUGH = 0.5  # of the files' bytes came from disk: cold where the kernel tells nothing of its pages
WARM_ENOUGH_BYTES = 1 << 20  # from storage: a start that reads more than this, and than
WARM_ENOUGH = 0.02  # of its files, is not warm
FILL_MOST_BYTES = 4 << 30
UNREADABLE = -1


@dataclass(frozen=True, slots=True)
class Again:
    """How to start a target again: what the child is told, how long it took, until when (monotonic seconds), and by what."""

    load: Mapping[str, object]
    python: str | None
    seed: int
    first_s: float
    deadline: float
    timeout_s: float
    progress: Callable[[str], None] = lambda _: None


@dataclass(slots=True)
class Restarts:
    """What came of starting again, and why there is no more of it."""

    starts: list[Start] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    ended: str = COMPLETE
    cold_ended: str = ""


def kept_for_starts(phases: Sequence[Phase], window: float) -> float:
    """Seconds of the ladder's `window` that are kept for starting again: what comes after the main run takes no longer."""
    wished = STARTS_WISHED * (sum(phase.seconds for phase in phases) + PROCESS_S)
    return max(min(STARTS_S, wished, window - LADDER_LEAST_S), 0.0)


def with_starts(run: Run, plan: Plan, deadline: float, progress: Callable[[str], None]) -> Run:
    """The run with further starts of its target until `deadline`; what goes wrong there leaves the rest as it is."""
    if run.ended != "complete":
        return replace(run, starts_ended=f"the run ended early: {run.ended}")
    first_s, patience = sum(phase.seconds for phase in run.startup), run.workload.timeout_s
    again = Again(plan.load, plan.spec.python, run.workload.seed, first_s, deadline, patience, progress)
    found = start_again(again)
    return replace(
        run,
        starts=tuple(found.starts),
        starts_ended=found.ended,
        cold_ended=found.cold_ended,
        openings=tuple(found.openings),
    )


class _Failed(Exception):
    """A start that did not get as far as an answer: in words, why."""


def start_again(plan: Again) -> Restarts:
    """Start the target again and again, in turn cold and warm; never raises for what goes wrong with it."""
    found, files = Restarts(), page_cache.NONE
    try:
        while (cache := _next_state(found)) and _fits(plan, found):
            plan.progress(f"starting it again ({cache} files)" if found.starts else "starting it again")
            if found.starts:
                _next(plan, found, cache, files)
            else:
                files = _first(plan, found)
    except (_Failed, Ended, BadInput, TargetFailed) as error:
        found.ended = f"it did not start again: {_said(error)}"
    except KeyboardInterrupt:
        found.ended = "interrupted"
    if not found.cold_ended and not _count(found, COLD):
        found.cold_ended = found.ended
    return found


def _count(found: Restarts, cache: str) -> int:
    return sum(start.cache == cache for start in found.starts)


def _next_state(found: Restarts) -> str:
    """Which state of the cache is seen less often so far; "" where both were seen often enough."""
    warm, cold = _count(found, WARM), _count(found, COLD)
    if found.cold_ended or (warm < WISHED and warm < cold):
        return WARM if warm < WISHED else ""
    return COLD if cold < WISHED else WARM if warm < WISHED else ""


def _fits(plan: Again, found: Restarts) -> bool:
    """Whether there is time for the next start; else says so."""
    longest = max((_seconds(start) for start in found.starts), default=plan.first_s)
    if time.monotonic() + longest * SLACK + PROCESS_S <= plan.deadline:
        return True
    found.ended = "the time was up" if found.starts else "too little time was left (use a larger --budget)"
    return False


def _seconds(start: Start) -> float:
    return sum(phase.seconds for phase in start.phases)


def _said(error: Exception) -> str:
    return error.what if isinstance(error, BadInput | TargetFailed) else str(error)


def _first(plan: Again, found: Restarts) -> tuple[Path, ...]:
    """A start right after the main run has read everything; returns the files that the target opens."""
    child = Child(plan.python)
    try:
        reply = _started(child, plan, files=True)
        phases = phases_of(reply)
        found.starts.append(Start(FOUND, phases))
        sessions = child.ask({"do": "sessions"}, _patience(plan)).get("sessions", [])
        _reopen(child, plan, found, len(sessions))
    finally:
        child.close()
    models = [str(each["model_path"]) for each in sessions if each.get("model_path")]
    named = [str(path) for path in reply["files"]] + models
    beside = [str(path) for model in dict.fromkeys(models) for path in _beside(model)]
    files = page_cache.regular_files(named + beside)
    if _is_warm(phases, page_cache.size_of(files)):
        found.starts[0] = Start(WARM, phases)
    return files


def _is_warm(phases: Sequence[Phase], size: int) -> bool:
    """Whether next to nothing of the files came from storage; so too where the kernel does not tell."""
    return (bytes_read(phases) or 0) <= max(WARM_ENOUGH_BYTES, WARM_ENOUGH * size)


def _next(plan: Again, found: Restarts, cache: str, files: Sequence[Path]) -> None:
    size = page_cache.size_of(files)
    if cache == COLD:
        page_cache.let_go(files)
    elif size < FILL_MOST_BYTES:
        page_cache.fill(files)
    resident = page_cache.resident_share(files)
    if cache == COLD and (kept := _not_cold(resident, size)):
        found.cold_ended = kept
        return
    child = Child(plan.python)
    try:
        phases = phases_of(_started(child, plan, files=False))
    finally:
        child.close()
    read = bytes_read(phases)
    if cache == COLD and resident is None and (read is None or read < READ_ENOUGH * size):
        found.cold_ended = "whether the advice to let its files go had an effect cannot be seen here"
        return
    found.starts.append(Start(cache if cache == COLD or _is_warm(phases, size) else FOUND, phases, resident))
    if _count(found, FOUND) > WISHED:
        raise _Failed("its files do not stay in the page cache")


def _not_cold(resident: float | None, size: int) -> str:
    """Why a start would not be cold; empty where it would be, or only the start itself can tell."""
    if not size:
        return "it opens no files of its own"
    if resident is not None and resident > COLD_ENOUGH:
        return f"the kernel kept {resident:.0%} of its files in memory (in use, not yet written, or a disk in memory)"
    return ""


def _started(child: Child, plan: Again, *, files: bool) -> Reply:
    """A start until its first answer; _Failed in words where there is none."""
    patience = _patience(plan)
    told = {"do": "load", "spec": dict(plan.load), "records": str(child.records), "seed": plan.seed, "files": files}
    loaded = _answered(child.ask(told, patience))
    pace = {"do": "pace", "seconds": patience, "count": 1, "observe": 0.0, "flag": CONTROL}
    said = _answered(child.ask(pace, patience))
    if said.get("failed_requests"):
        raise _Failed(f"its first request raised {said.get('first_error')}")
    return {**said["start"], "entered": loaded["entered"], "spawned_ns": child.spawned_ns}


def _answered(reply: Reply) -> Reply:
    if "ended" in reply or "failed" in reply:
        raise _Failed(str(reply.get("ended") or reply.get("failed")))
    return reply


def _patience(plan: Again) -> float:
    return min(plan.timeout_s, max(PATIENCE * plan.first_s, LEAST_PATIENCE_S))


def _reopen(child: Child, plan: Again, found: Restarts, sessions: int) -> None:
    """Time graph optimisation, as far as a cold start still fits in afterwards; a failure leaves the start as it is."""
    opening = sum(phase.seconds for phase in found.starts[0].phases if phase.name == "session")
    for number in (number for _ in range(PAIRS) for number in range(min(sessions, SESSIONS))):
        if time.monotonic() + 2 * opening + _seconds(found.starts[0]) * SLACK + PROCESS_S > plan.deadline:
            return
        try:
            opened = _answered(child.ask({"do": "reopen", "session": number}, _patience(plan))).get("opened")
        except (_Failed, Ended, BadInput):
            return
        if opened:
            found.openings.append(Opening(number, float(opened["as_is"]), float(opened["plain"])))


def _beside(model: str) -> tuple[Path, ...]:
    """The files that hold a model's weights beside it; none where it cannot be read."""
    try:
        return model_file.external_files(Path(model))
    except BadInput:
        return ()


# --- what a child says of its start --------------------------------------------------------------------------------
def phases_of(said: Reply) -> tuple[Phase, ...]:
    """The phases of a start, the interpreter's own first: from the process's begin until its first line."""
    entered, cpu = said["entered"]
    up = Phase("interpreter", max(int(entered) - int(said["spawned_ns"]), 0) / 1e9, cpu_s=int(cpu) / 1e9)
    return (up, *(_phase(*row) for row in said["phases"]))


def _phase(name: str, detail: str, wall: int, cpu: int, stored: int, read: int, faults: int) -> Phase:
    return Phase(str(name), wall / 1e9, _told(stored), str(detail), cpu / 1e9, _told(read), int(faults))


def _told(count: int) -> int | None:
    return None if count == UNREADABLE else int(count)


def lines_of(said: Reply) -> tuple[BusyLine, ...]:
    """The lines that a start spent most time at."""
    return tuple(BusyLine(str(name), str(file), int(line), float(s)) for name, file, line, s in said["lines"])


def bytes_read(phases: Sequence[Phase]) -> int | None:
    """Bytes that a start read from storage; None where the kernel does not tell."""
    known = [phase.read_bytes for phase in phases if phase.read_bytes is not None]
    return sum(known) if known else None
