"""target + workload + probes -> Run: loads the target in a child, drives it, and watches from inside and outside."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pinchpoint import arms, calibration, runtime_profile, torch_profile
from pinchpoint.arms import TORCH
from pinchpoint.ceilings import measure_disk, page_faults
from pinchpoint.contracts import Plan, Probe
from pinchpoint.domain.operator import Node
from pinchpoint.domain.quantity import exact
from pinchpoint.domain.run import (
    CONTROL,
    SECOND,
    Ceiling,
    Environment,
    Events,
    OperatorArm,
    OperatorTime,
    Phase,
    Probes,
    Requests,
    Run,
    Samples,
    Spans,
    Telemetry,
    Visit,
)
from pinchpoint.domain.target import Session, TargetFacts
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput, Interrupted, TargetFailed
from pinchpoint.graphs import read_nodes
from pinchpoint.ladder import Climb, climb
from pinchpoint.process import Child, Ended, Reply
from pinchpoint.sampling import Sampler
from pinchpoint.stats import mean_interval
from pinchpoint.timeline import typical_of
from pinchpoint.torch_costs import WHOLE

SLICE_S = 0.5
ENOUGH_S, MOST_S = 8.0, 13.0
ENOUGH_REQUESTS = 600
MAIN_SHARE = 0.65
LADDER_S = 15.0
DERIVED_S = 1.5  # of the budget, for the diagnosis once all is recorded
FEWEST_REQUESTS = 30
OPERATOR_ARM_S = 2.0
OPERATOR_VISITS = 3
OPERATOR_EVENTS = 40_000
MOST_OPERATOR_RUNS = 2000
UNACCOUNTED_SHARE = 0.05
SECOND_ARM_S = 1.0
TELEMETRY_EVERY_S = 0.2
SESSIONS_PROFILED = 4
CONTROL_EVERY = 4
FAULT_PAGES, FAULT_REPEATS = 1024, 9
HUGE_PAGES, FEW_HUGE_PAGES = 32, 2  # more than a cache holds, as large arrays are, where memory is not scarce
MEMORY_TO_SPARE = 4 << 30


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a recording needs besides the plan: where, under which version, on which machine, watched by what."""

    id: str
    created: str
    version: str
    folder: Path
    environment: Environment
    probes: Sequence[Callable[[], Probe]]
    progress: Callable[[str], None] = lambda _: None


@dataclass(slots=True)
class _Recording:
    """A recording under way: what is known so far, so that a failure at any moment loses nothing."""

    plan: Plan
    workload: Workload
    conditions: Conditions
    child: Child
    deadline: float
    loaded: Reply = field(default_factory=dict)
    said: Reply = field(default_factory=dict)
    sampler: Sampler | None = None
    samples: Samples | None = None
    probes: list[Probe] = field(default_factory=list)
    blind: list[tuple[str, str]] = field(default_factory=list)
    telemetry: list[tuple[int, Mapping[str, float]]] = field(default_factory=list)
    sessions: tuple[Session, ...] = ()
    ran: tuple[bool, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    operators: tuple[OperatorTime, ...] = ()
    arms: tuple[OperatorArm, ...] = ()
    phases: list[Phase] = field(default_factory=list)
    ended: str = "complete"
    slices: int = 0
    ladder: tuple[Visit, ...] = ()
    ladder_ended: str = "one request in flight was not measured to the end"


def record(plan: Plan, workload: Workload, conditions: Conditions) -> Run:
    """Record a run of the planned target within the workload's budget.

    Raises BadInput where the target cannot be used, TargetFailed where it broke before a single answer, and Interrupted
    where the user stopped it before one. Later failures end the run early: `Run.ended` says how.
    """
    conditions.progress("loading the target")
    child = Child(plan.spec.python)
    recording = _Recording(plan, workload, conditions, child, time.monotonic() + workload.budget_s)
    try:
        try:
            _load(recording)
            _first_request(recording)
            _calibrate(recording)
            _drive(recording)
            _climb(recording)
        except Ended as ended:
            recording.ended = str(ended)
        except KeyboardInterrupt:
            recording.ended = "interrupted"
        return _finished(recording)
    finally:
        _stop_watching(recording)
        child.close()


def _load(recording: _Recording) -> None:
    reply = _ask(
        recording,
        {
            "do": "load",
            "spec": dict(recording.plan.load),
            "records": str(recording.child.records),
            "seed": recording.workload.seed,
        },
    )
    if "ended" in reply or "failed" in reply:
        raise TargetFailed(
            what=f"loading it failed: {reply.get('ended') or reply.get('failed')}",
            where=recording.plan.spec.uri,
            todo="Run it once with python itself",
        )
    recording.loaded = reply
    recording.phases = [Phase(str(name), float(seconds)) for name, seconds in reply["phases"]]


def _first_request(recording: _Recording) -> None:
    """The first answer: it must come, and what it costs belongs to start-up."""
    began = time.monotonic()
    _pace(recording, seconds=recording.workload.timeout_s, count=1, observe=0.0, flag=CONTROL)
    recording.phases.append(Phase("first request", time.monotonic() - began))
    if recording.said.get("failed_requests"):
        raise BadInput(
            what=f"the first request raised {recording.said.get('first_error')}",
            where=recording.plan.spec.uri,
            todo="Give it a request that it can answer (--input, or example_inputs in its module)",
        )


def _calibrate(recording: _Recording) -> None:
    """Ceilings of the runtime that the target uses; their first measurement does not count against the budget."""
    _learn_sessions(recording)
    spec, environment = recording.plan.spec, recording.conditions.environment
    found: tuple[Ceiling, ...] = ()
    for runtime, counts in arms.runtimes(recording.sessions, environment, numpy=recording.loaded["uses_numpy"]):
        with contextlib.suppress(Ended):
            new, spent = calibration.of_machine(
                spec.python, environment, counts, recording.conditions.progress, runtime=runtime
            )
            recording.deadline += spent
            found += new
    roomy = environment.memory_limit_bytes is None or environment.memory_limit_bytes > MEMORY_TO_SPARE
    touch = {"pages": FAULT_PAGES, "repeats": FAULT_REPEATS, "huge_pages": HUGE_PAGES if roomy else FEW_HUGE_PAGES}
    touched = _ask(recording, {"do": "touch", **touch})
    faults = page_faults(touched["seconds"], touched["huge_seconds"])
    recording.ceilings = (*found, *faults, *measure_disk(recording.conditions.folder))


def _drive(recording: _Recording) -> None:
    """The main arm in slices, every fourth of them with everything switched off; the operator arm in their midst."""
    recording.conditions.progress("measuring")
    _open_probes(recording)
    left = recording.deadline - time.monotonic()
    longest = min(max(left, 1.0) * MAIN_SHARE, MOST_S)
    began, visits = time.monotonic(), 0
    expected = min(longest, ENOUGH_S)
    while not _enough(recording, time.monotonic() - began, longest):
        control = recording.slices % CONTROL_EVERY == CONTROL_EVERY - 1
        _slice(recording, control=control)
        if visits < OPERATOR_VISITS - 1 and time.monotonic() - began > expected * (visits + 1) / (OPERATOR_VISITS + 1):
            visits += 1
            _operator_arms(recording, min(OPERATOR_ARM_S, left / 8) / OPERATOR_VISITS, last=False)
    _operator_arms(recording, min(OPERATOR_ARM_S, left / 8) / OPERATOR_VISITS, last=True)
    if recording.plan.second_length:
        _pace(recording, seconds=min(SECOND_ARM_S, left / 10), count=10**9, observe=0.0, flag=SECOND)


def _climb(recording: _Recording) -> None:
    """Several requests in flight, last of all: what goes wrong there leaves the answer for one request alone."""
    requests = Requests(*recording.child.rows("requests", 4).T)
    served = requests.latency_s[requests.ok]
    _stop_sampler(recording)
    plan = Climb(
        typical_s=float(np.median(served)),
        deadline=min(recording.deadline - DERIVED_S, time.monotonic() + LADDER_S),
        timeout_s=recording.workload.timeout_s,
        memory_limit_bytes=recording.conditions.environment.memory_limit_bytes,
        fails_alone=float(np.mean(~requests.ok)),
        seed=recording.workload.seed,
        checked=not recording.loaded["asynchronous"],
        progress=recording.conditions.progress,
    )
    recording.ladder, recording.ladder_ended = climb(recording.child, plan)


def _enough(recording: _Recording, elapsed: float, longest: float) -> bool:
    """Stop when time is up, or early once there are many requests; a very slow target gets the whole budget."""
    served = int(recording.said.get("served", 0))
    if elapsed >= longest:
        return served >= FEWEST_REQUESTS or time.monotonic() > recording.deadline
    return elapsed >= ENOUGH_S and served >= ENOUGH_REQUESTS


def _slice(recording: _Recording, *, control: bool) -> None:
    if control:
        _stop_sampler(recording)
    elif recording.sampler is None:
        recording.sampler = Sampler(
            recording.child.pid, int(recording.loaded["thread"]), recording.workload.seed + recording.slices
        )
        recording.sampler.start()
    _pace(
        recording,
        seconds=SLICE_S,
        count=10**9,
        observe=0.0 if control else recording.workload.observe,
        flag=CONTROL if control else 0,
    )
    recording.slices += 1


def _pace(recording: _Recording, *, seconds: float, count: int, observe: float, flag: int) -> None:
    command = {"do": "pace", "seconds": seconds, "count": count, "observe": observe, "flag": flag}
    reply = recording.child.ask(command, recording.workload.timeout_s, lambda: _tick(recording), progress=True)
    recording.said = reply
    if "ended" in reply or "failed" in reply:
        raise Ended(str(reply.get("ended") or reply.get("failed")))


def _operator_arms(recording: _Recording, seconds: float, *, last: bool) -> None:
    """Visit a profiled twin of each session that ran: between the slices, so that both arms see the same machine, and never
    while the target itself is measured.
    """
    _stop_sampler(recording)
    _learn_sessions(recording)
    chosen = [number for number, ran in enumerate(recording.ran) if ran][:SESSIONS_PROFILED]
    for number in chosen:
        _operator_arm(recording, number, seconds / len(chosen), last=last)


def _operator_arm(recording: _Recording, number: int, seconds: float, *, last: bool) -> None:
    prefix = recording.child.records / f"profile-{number}"
    counted = recording.plan.facts.operators or (1 if recording.sessions[number].runtime == TORCH else 200)
    runs = max(3, OPERATOR_EVENTS // max(counted, 1))
    reply = _ask(
        recording,
        {
            "do": "profile",
            "session": number,
            "prefix": str(prefix),
            "seconds": seconds,
            "most_runs": min(runs, MOST_OPERATOR_RUNS),
            "last": last,
            "whole": WHOLE,
        },
    )
    arm = reply.get("profile")
    if not arm:
        return
    path = Path(str(arm["path"]))
    walls, cpus = np.array(arm["seconds"]), np.array(arm["cpu_seconds"])
    typical, around = typical_of(walls), (0.0, 0.0)
    if recording.sessions[number].runtime == TORCH:
        profiled = torch_profile.read(path, number, typical)
        rows, around = profiled.operators, (profiled.modules, profiled.tensors)
    else:
        rows = runtime_profile.operators(path, number, int(arm["warm_runs"]), typical)
    if _unaccounted_share(rows) > UNACCOUNTED_SHARE and recording.sessions[number].runtime != TORCH:
        rows = runtime_profile.operators(path, number, int(arm["warm_runs"]), typical, _nodes(recording, number))
    path.unlink(missing_ok=True)
    walls, cpus = walls[typical], cpus[typical]
    recording.operators += rows
    recording.arms += (
        OperatorArm(
            number,
            len(walls),
            mean_interval(walls) if len(walls) > 1 else exact(float(walls[0])),
            float(min(cpus.sum() / walls.sum(), 1.0)),
            sum(row.cost.weight_bytes + row.cost.activation_bytes for row in rows if row.cost is not None),
            _optimised(recording, number),
            *around,
        ),
    )


def _unaccounted_share(rows: Sequence[OperatorTime]) -> float:
    """The share of the profiled time in operators whose cost is not known."""
    whole = sum(row.seconds.value for row in rows)
    return sum(row.seconds.value for row in rows if row.cost is None) / whole if whole else 0.0


def _nodes(recording: _Recording, number: int) -> Mapping[str, Node]:
    """The nodes of a session's optimised graph, which the runtime writes out on demand; none where it cannot."""
    path = recording.child.records / f"graph-{number}.onnx"
    reply = _ask(recording, {"do": "dump", "session": number, "path": str(path)})
    if "failed" in reply or not path.exists():
        return {}
    try:
        return read_nodes(path)
    except BadInput:
        return {}
    finally:
        path.unlink(missing_ok=True)


def _optimised(recording: _Recording, number: int) -> tuple[tuple[str, float, float, float], ...] | None:
    """Operators that full graph optimisation would leave, where the session runs with less; None where it has it."""
    if recording.sessions[number].optimization == "all":
        return None
    prefix = recording.child.records / f"optimised-{number}"
    reply = _ask(recording, {"do": "optimise", "session": number, "prefix": str(prefix)})
    if not reply.get("path"):
        return None
    path = Path(str(reply["path"]))
    rows = runtime_profile.kinds_and_costs(path)
    path.unlink(missing_ok=True)
    return tuple(
        (kind, cost.flops, cost.weight_bytes, cost.activation_bytes) if cost else (kind, 0.0, 0.0, 0.0)
        for kind, cost in rows
    )


def _learn_sessions(recording: _Recording) -> None:
    reply = _ask(recording, {"do": "sessions"})
    listed = reply.get("sessions", [])
    recording.ran = tuple(bool(item["ran"]) for item in listed)
    recording.sessions = tuple(arms.session_of(item) for item in listed)


def _ask(recording: _Recording, command: Mapping[str, object]) -> Reply:
    return recording.child.ask(command, recording.workload.timeout_s)


def _open_probes(recording: _Recording) -> None:
    for make in recording.conditions.probes:
        probe = make()
        try:
            probe.open(recording.child.pid)
        except OSError as error:
            recording.blind.append((probe.name, error.strerror or str(error)))
        else:
            recording.probes.append(probe)


def _tick(recording: _Recording) -> None:
    """Read the outside counters, a few times a second."""
    now = time.perf_counter_ns()
    if not recording.probes:
        return
    if recording.telemetry and now - recording.telemetry[-1][0] < TELEMETRY_EVERY_S * 1e9:
        return
    values = {"tool.cpu_s": time.process_time()}
    try:
        for probe in recording.probes:
            values |= {f"{probe.name}.{name}": value for name, value in probe.read().items()}
    except OSError:
        return  # the target is going or a thread of it went: no row is better than half a row
    recording.telemetry.append((now, values))


def _stop_sampler(recording: _Recording) -> None:
    if recording.sampler is None:
        return
    seen = recording.sampler.stop()
    if recording.sampler.blind:
        recording.blind.append(("thread states", recording.sampler.blind))
    recording.sampler = None
    recording.samples = seen if recording.samples is None else _joined(recording.samples, seen)


def _joined(first: Samples, second: Samples) -> Samples:
    pairs = (
        (first.t_ns, second.t_ns),
        (first.thread, second.thread),
        (first.site, second.site),
        (first.running, second.running),
    )
    return Samples(*(np.concatenate(pair) for pair in pairs))


def _stop_watching(recording: _Recording) -> None:
    _stop_sampler(recording)
    for probe in recording.probes:
        probe.close()
    recording.probes = []


def _finished(recording: _Recording) -> Run:
    """The run from all that was recorded; raises where nothing was."""
    _stop_watching(recording)
    child = recording.child
    requests = Requests(*child.rows("requests", 4).T)
    if not np.any(requests.ok):
        _nothing_measured(recording)
    conditions = recording.conditions
    return Run(
        id=conditions.id,
        created=conditions.created,
        version=conditions.version,
        target=_facts(recording),
        workload=recording.workload,
        environment=replace(
            conditions.environment,
            ceilings=recording.ceilings,
            unobservable=(*conditions.environment.unobservable, *dict.fromkeys(recording.blind)),
        ),
        requests=requests,
        probes=Probes(*child.rows("probes", 13).T),
        spans=Spans(*child.rows("spans", 12).T),
        span_names=child.names(),
        samples=recording.samples or Samples(*(np.empty(0, dtype=np.int64) for _ in range(4))),
        telemetry=_telemetry(recording.telemetry),
        request_thread=int(recording.loaded.get("thread", 0)),
        operators=recording.operators,
        arms=recording.arms,
        startup=tuple(recording.phases),
        errors=tuple((str(kind), int(count)) for kind, count in recording.said.get("errors", {}).items()),
        ended=recording.ended,
        notes=_notes(recording),
        second_length=recording.plan.second_length,
        span_cost_ns=int(recording.loaded.get("span_cost_ns", 0)),
        events=Events(*child.rows("events", 4).T),
        ladder=recording.ladder,
        ladder_ended=recording.ladder_ended,
    )


def _nothing_measured(recording: _Recording) -> None:
    where = recording.plan.spec.uri
    if recording.ended == "interrupted":
        raise Interrupted(what="interrupted before a request was answered", where=where, todo="")
    raise TargetFailed(
        what=f"no request was answered: {recording.ended}", where=where, todo="Run it once with python itself"
    )


def _notes(recording: _Recording) -> tuple[str, ...]:
    notes = []
    if recording.said.get("first_error"):
        notes.append(f"first error: {recording.said['first_error']}")
    if recording.said.get("dropped_spans"):
        notes.append(f"{recording.said['dropped_spans']} stages beyond the bound a request were not recorded")
    return (*notes, *(note for session in recording.sessions for note in session.notes))


def _facts(recording: _Recording) -> TargetFacts:
    facts = replace(
        recording.plan.facts,
        interpreter=str(recording.loaded.get("interpreter", "")),
        sessions=recording.sessions,
    )
    return arms.with_learned(facts, recording.loaded.get("facts") or {}, recording.operators)


def _telemetry(rows: Sequence[tuple[int, Mapping[str, float]]]) -> Telemetry:
    """Columns that were there throughout; one that comes and goes is dropped."""
    times = np.array([t for t, _ in rows], dtype=np.int64)
    names = sorted(set.intersection(*(set(values) for _, values in rows))) if rows else []
    return Telemetry(
        times, tuple((name, np.array([values[name] for _, values in rows], dtype=float)) for name in names)
    )
