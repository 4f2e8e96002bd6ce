"""A process or a URL -> Run: watches a server under the load that it has. Nothing is sent to it, started, stopped or changed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pinchpoint.connections import Doors
from pinchpoint.domain.run import Environment, Probes, Requests, Run, Spans, Telemetry
from pinchpoint.domain.served import Served
from pinchpoint.domain.service import ACTIVE, ALL, HOLDING, SELECTOR, UNKNOWN_LOAD, Service, Stack, StackLook
from pinchpoint.domain.target import TargetFacts
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput, Interrupted
from pinchpoint.listeners import family, served_by
from pinchpoint.load.addresses import DESCRIBED, is_local, parse, resolved
from pinchpoint.overseeing import Overseer, allowed, renamed
from pinchpoint.record_service import Conditions
from pinchpoint.stacks import StackReader, at_home, dumped, in_a_loop, is_python
from pinchpoint.thread_watch import ThreadWatch

STRETCHES, SHORTEST_S = 30, 1.0
LOOKED_S, LOOKED_SHARE = 0.4, 0.2  # threads are looked at in the first part of each stretch
READ_EVERY_S = 1.0  # clocks and memory
FOUND_S = 1.0  # before the first of them: which threads run at all
LEAST_S, MOST_S = 5.0, 3600.0  # fewer stretches have no interval; what is read in more has no room
LOOK_SHARE, MOST_LOOK_SHARE, LOOK_S = 1 / 12, 1 / 6, (3.0, 60.0)  # of each look at stacks
STACKS_SHARE = 0.02  # of a CPU, while stacks are looked at
LOOKS = (ACTIVE, HOLDING, ALL)
DUMPS, MOST_DUMPED = 6, 8  # when all stacks are told once, and of how many processes
ALIVE_EVERY_S = 0.2
EPSILON = 1e-6
INTERRUPTED, COMPLETE = "interrupted", "complete"
NOT_ASKED = "no request was sent: pinchpoint diagnose URL asks the server"


@dataclass(slots=True)
class _Watch:
    """A watching under way."""

    served: Served
    overseer: Overseer
    threads: ThreadWatch
    pythons: Sequence[int]
    readers: dict[str, StackReader]
    said: list[tuple[int, int, dict[int, bool]]] = field(default_factory=list)
    python_threads: set[int] = field(default_factory=set)
    loops: set[int] = field(default_factory=set)
    stretches: list[tuple[int, int]] = field(default_factory=list)
    found: list[Stack] = field(default_factory=list)
    looks: list[StackLook] = field(default_factory=list)
    ended: str = COMPLETE


def record_passive(served: Served, facts: TargetFacts, workload: Workload, conditions: Conditions) -> Run:
    """Watch these processes for the workload's budget.

    Raises BadInput where that is too short or too long, Interrupted where the user stopped it before anything was seen; processes
    that end meanwhile leave what was seen until then.
    """
    if not LEAST_S <= workload.budget_s <= MOST_S:
        what = f"a server is watched for {LEAST_S:g} s to {MOST_S / 3600:g} h"
        raise BadInput(what=what, where="--budget", todo="Give a time between them")
    pids = [each.pid for each in served.processes]
    roots = [each.pid for each in served.processes if each.parent not in pids]
    pythons = [pid for pid in pids if is_python(pid)]
    parents = {each.pid: each.parent for each in served.processes}
    tops = [pid for pid in pythons if parents[pid] not in pythons]
    overseer = Overseer(roots, conditions.probes, every_s=READ_EVERY_S)
    threads = ThreadWatch(overseer.processes, _port(pids), "", workload.seed, passive=True)
    readers = {kind: StackReader(tops, pythons, STACKS_SHARE) for kind in LOOKS}
    watch = _Watch(served, overseer, threads, pythons, readers)
    try:
        overseer.start()
        threads.start()
        _watched(watch, workload.budget_s, conditions.progress)
    except KeyboardInterrupt:
        watch.ended = INTERRUPTED
    finally:
        for reader in watch.readers.values():
            reader.stop()
        telemetry = overseer.stop()
        threads.stop()
    if not watch.stretches:
        if watch.ended == INTERRUPTED:
            raise Interrupted(what="interrupted before anything was seen", where=facts.uri, todo="")
        raise BadInput(what=watch.ended, where=facts.uri, todo="Watch it while it runs")
    return _finished(watch, telemetry, facts, workload, conditions)


def meant(uri: str, pid: int | None, *, passive: bool, sends: bool) -> tuple[Served, TargetFacts]:
    """Which processes are to be watched: one with all that it started, or those behind a URL. BadInput for anything else, and
    where something was given that only requests need (`sends`).
    """
    if not passive:
        todo = "Give its URL, or watch it without load: --passive"
        raise BadInput(what="load needs a URL", where=f"--pid {pid}", todo=todo)
    if sends:
        where = "--input, --set, --header, --method, --max-rate"
        raise BadInput(what="nothing is sent with --passive", where=where, todo="Leave them out")
    if pid is not None:
        if uri:
            raise BadInput(
                what="a process and a target are two", where=f"--pid {pid}", todo=f"Leave out {uri}, or --pid"
            )
        return processes_of(pid), TargetFacts("process", f"pid {pid}")
    if "://" not in uri:
        todo = "Give a server's URL, or the number of its process with --pid"
        raise BadInput(what="only a server that runs can be watched", where=uri or "--passive", todo=todo)
    return processes_behind(uri)


def processes_of(pid: int, proc: Path = Path("/proc")) -> Served:
    """A process and all that it started. BadInput for one that is not there, that may not be looked into, or that is ours."""
    where = f"--pid {pid}"
    try:
        status = dict(
            line.split(":", 1) for line in (proc / str(pid) / "status").read_text(errors="replace").splitlines()
        )
    except (OSError, ValueError):
        raise BadInput(what="there is no such process", where=where, todo="Give the number of one that runs") from None
    owner = int(status.get("Tgid", pid))
    if owner == os.getpid():
        raise BadInput(what="that is pinchpoint itself", where=where, todo="Give the number of the server's process")
    if owner != pid:
        raise BadInput(what=f"that is a thread of process {owner}", where=where, todo=f"Use --pid {owner}")
    try:
        os.readlink(proc / str(pid) / "exe")
    except PermissionError:
        todo = "Run pinchpoint as that user, or as root"
        raise BadInput(what="another user's process may not be looked into", where=where, todo=todo) from None
    except OSError:
        ended = status.get("State", "").strip().startswith(("Z", "X"))
        what = "that process has ended" if ended else "that is a thread of the kernel's own"
        raise BadInput(what=what, where=where, todo="Give the number of the server's process") from None
    return Served(tuple(family([pid], proc)))


def processes_behind(uri: str) -> tuple[Served, TargetFacts]:
    """The processes that serve a URL. BadInput where they are elsewhere, or may not be looked into."""
    scheme, _, rest = uri.partition("://")
    address = parse(f"http://{rest}" if scheme in DESCRIBED else uri)
    hosts = resolved(address)
    if not is_local(hosts):
        todo = "Run pinchpoint record --pid N --passive there"
        raise BadInput(what="another machine cannot be watched from here", where=address.uri, todo=todo)
    served = served_by(hosts, address.port, address.unix)
    if served.tunnel:
        what = f"port {address.port} is held by {served.tunnel}; the server is elsewhere"
        raise BadInput(what=what, where=address.uri, todo="Run pinchpoint record --pid 1 --passive there")
    if not served.processes:
        raise BadInput(what=served.reason, where=address.uri, todo="Give the server's process with --pid")
    return served, TargetFacts(address.kind, address.uri)


def _port(pids: Sequence[int]) -> int:
    doors = Doors(pids)
    try:
        return doors.busiest()
    finally:
        doors.close()


# --- watching ------------------------------------------------------------------------------------------------------
def _watched(watch: _Watch, budget_s: float, progress: Callable[[str], None]) -> None:
    """Stretch after stretch. Looks at stacks are spread over them, one at a time."""
    length = max(SHORTEST_S, (budget_s - FOUND_S) / STRETCHES)
    count = int((budget_s - FOUND_S) / length + EPSILON)
    look_s = _look_s(budget_s)
    begins = {count * number // len(LOOKS): kind for number, kind in enumerate(LOOKS)}
    dumps = {count * number // DUMPS for number in range(DUMPS)}
    watch.threads.go()
    time.sleep(FOUND_S)
    under_way = ""
    for number in range(count):
        if number in begins:
            progress(f"watching, nothing is sent: {number * length:.0f} of {budget_s:.0f} s")
            _take(watch, under_way, look_s)
            under_way = begins[number]
            watch.readers[under_way].begin(under_way, look_s)
        if not _stretch(watch, length, told=number in dumps):
            return
    _take(watch, under_way, look_s)


def _look_s(budget_s: float) -> int:
    """Whole seconds of each look at stacks: a twelfth of a watch, of a short one up to a sixth."""
    seconds = min(max(budget_s * LOOK_SHARE, LOOK_S[0]), LOOK_S[1], budget_s * MOST_LOOK_SHARE)
    return max(int(seconds), 1)


def _stretch(watch: _Watch, length: float, *, told: bool) -> bool:
    """One stretch, at whose beginning threads are looked at; whether the server is still there."""
    began, looked_s = time.monotonic_ns(), max(LOOKED_S, length * LOOKED_SHARE)
    watch.threads.go()
    watch.overseer.read_now()
    if told:
        _dump(watch)
    while (passed := (time.monotonic_ns() - began) / 1e9) < length:
        if passed >= looked_s:
            watch.threads.pause()
        time.sleep(min(ALIVE_EVERY_S, length - passed))
        if not any(_runs(each.pid) for each in watch.served.processes):
            watch.ended = "the process ended while it was watched"
            return False
    watch.overseer.read_now()
    watch.stretches.append((began, time.monotonic_ns()))
    return True


def _runs(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return stat[stat.rindex(b")") + 2 :][:1] not in (b"Z", b"X")
    return False


def _dump(watch: _Watch) -> None:
    """What each Python thread does now: whether it waits for work, or its innermost frame is of the user's own code."""
    for pid in watch.pythons[:MOST_DUMPED]:
        began = time.monotonic_ns()
        stacks = {watch.threads.noted_as(number): frames for number, frames in dumped(pid).items()}
        watch.python_threads |= stacks.keys()
        watch.loops |= {number for number, frames in stacks.items() if in_a_loop(frames)}
        said = {number: at_home(frames) for number, frames in stacks.items() if at_home(frames) or _in_own_code(frames)}
        watch.said.append((began, time.monotonic_ns(), said))


def _in_own_code(frames: Sequence[str]) -> bool:
    return any(each.startswith("own|") for each in frames) and frames[-1].startswith(("own|", "std|threading.py|"))


def _take(watch: _Watch, kind: str, seconds: int) -> None:
    """What a look at stacks found; nothing where none is under way."""
    if kind:
        stacks, look = watch.readers[kind].end(kind, UNKNOWN_LOAD, seconds)
        watch.found += stacks
        watch.looks.append(look)


# --- the run -------------------------------------------------------------------------------------------------------
def _finished(
    watch: _Watch, telemetry: Telemetry, facts: TargetFacts, workload: Workload, conditions: Conditions
) -> Run:
    samples, threads, peers = watch.threads.seen_at_work(watch.said)
    known, unknown = watch.python_threads, None if watch.pythons else False
    threads = tuple(replace(each, parked=SELECTOR) if each.thread in watch.loops else each for each in threads)
    service = Service(
        served=watch.served,
        method="",
        threads=tuple(replace(each, python=each.thread in known if known else unknown) for each in threads),
        stacks=tuple(watch.found),
        frames=conditions.frames,
        looks=tuple(watch.looks),
        peers=peers,
        stretches=tuple(watch.stretches),
    )
    return Run(
        id=conditions.id,
        created=conditions.created,
        version=conditions.version,
        target=facts,
        workload=workload,
        environment=_environment(watch, conditions),
        requests=Requests(*_no_rows(4)),
        probes=Probes(*_no_rows(14)),
        spans=Spans(*_no_rows(12)),
        span_names=(),
        samples=samples,
        telemetry=renamed(telemetry, watch.stretches),
        request_thread=-1,
        ended=watch.ended,
        ladder_ended=NOT_ASKED,
        starts_ended="a server that runs already was not started",
        service=service,
    )


def _no_rows(columns: int) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return [np.empty(0, dtype=np.int64) for _ in range(columns)]


def _environment(watch: _Watch, conditions: Conditions) -> Environment:
    """The machine as the server's processes see it, and what could not be seen."""
    quota = conditions.quota_of(watch.served.processes[0].pid)
    unseen = [("thread states", watch.threads.blind)] if watch.threads.blind else []
    unseen += dict.fromkeys(("what Python executes", each.reason) for each in watch.looks if each.reason)
    found = conditions.environment
    cpus = max(len(allowed(watch.served)), 1)
    return replace(found, quota_cpus=quota, affinity=cpus, unobservable=(*found.unobservable, *unseen))
