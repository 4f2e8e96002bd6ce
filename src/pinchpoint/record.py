"""target + workload + probes -> Run: loads the target in a child, drives it, and watches from inside and outside."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pinchpoint import arms, asides, calibration, operator_arms
from pinchpoint.ceilings import measure_disk, page_faults
from pinchpoint.company import THREADS_S, Circumstances, Company, in_company
from pinchpoint.contracts import Plan, Probe
from pinchpoint.domain.aside import Asides
from pinchpoint.domain.run import (
    CONTROL,
    SECOND,
    BusyLine,
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
)
from pinchpoint.domain.target import Session, TargetFacts
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput, Interrupted, TargetFailed
from pinchpoint.process import Child, Ended, Reply
from pinchpoint.sampling import Sampler, joined
from pinchpoint.starts import STARTS_S, kept_for_starts, lines_of, phases_of, with_starts

SLICE_S = 0.5
ENOUGH_S, MOST_S = 7.0, 8.0  # of the main arm: a first verdict comes within 20 s, whatever the usual budget
ENOUGH_REQUESTS = 600
MAIN_SHARE = 0.65
USUAL_BUDGET_S = 60.0  # a larger one is asked for to measure longer
LADDER_SHARE = 0.25  # of what it is larger
DERIVED_S = 1.5  # of the budget, for the diagnosis once all is recorded
FEWEST_REQUESTS = 30
OPERATOR_ARM_S = 2.0
OPERATOR_VISITS = 3
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
    glimpse: Callable[[Run], None] = lambda _: None  # at the run as it is once one request in flight is measured


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
    phases: tuple[Phase, ...] = ()
    busy_lines: tuple[BusyLine, ...] = ()
    starts_by: float = 0.0
    ended: str = "complete"
    slices: int = 0
    company: Company = field(default_factory=Company)
    aside: Asides = field(default_factory=Asides)


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
            conditions.glimpse(_finished(recording))
            _climb(recording)
        except Ended as ended:
            recording.ended = str(ended)
        except KeyboardInterrupt:
            recording.ended = "interrupted"
        run = _finished(recording)
    finally:
        _stop_watching(recording)
        child.close()  # before it is started again: what it holds (a port, mapped files) is free then
    return with_starts(run, plan, recording.starts_by, conditions.progress)


def _load(recording: _Recording) -> None:
    reply = _ask(
        recording,
        {
            "do": "load",
            "spec": dict(recording.plan.load),
            "records": str(recording.child.records),
            "seed": recording.workload.seed,
            "lines": True,
        },
    )
    if "ended" in reply or "failed" in reply:
        raise TargetFailed(
            what=f"loading it failed: {reply.get('ended') or reply.get('failed')}",
            where=recording.plan.spec.uri,
            todo="Run it once with python itself",
        )
    recording.loaded = reply
    recording.aside = Asides(payload_shapes=tuple(reply["payload_shapes"]))


def _first_request(recording: _Recording) -> None:
    """The first answer: it must come, and what it costs belongs to start-up."""
    _pace(recording, seconds=recording.workload.timeout_s, count=1, observe=0.0, flag=CONTROL)
    said = recording.loaded | recording.said["start"] | {"spawned_ns": recording.child.spawned_ns}
    recording.phases, recording.busy_lines = phases_of(said), lines_of(said)
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
    longest = min(max(left, 1.0) * MAIN_SHARE, MOST_S + MAIN_SHARE * _beyond_usual(recording))
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
    """Small arms, and several requests in flight last: what goes wrong there leaves the answer for one request alone."""
    _stop_sampler(recording)
    requests = Requests(*recording.child.rows("requests", 4).T)
    until = recording.deadline - DERIVED_S
    typical_s = float(np.median(requests.latency_s[requests.ok]))
    ran = tuple(number for number, each in enumerate(recording.ran) if each)[:SESSIONS_PROFILED]
    own_code = recording.plan.facts.kind == "python"
    beside = asides.Beside(typical_s, until, recording.workload.timeout_s, ran, own_code)
    recording.aside = asides.arms(recording.child, recording.aside, beside, requests)
    window = min(until - time.monotonic(), THREADS_S + STARTS_S)
    recording.company = in_company(
        recording.child,
        Circumstances(
            plan=recording.plan,
            workload=recording.workload,
            environment=recording.conditions.environment,
            loaded=recording.loaded,
            typical_s=typical_s,
            fails_alone=float(np.mean(~requests.ok)),
            deadline=until - kept_for_starts(recording.phases, window),
            longer_s=LADDER_SHARE * _beyond_usual(recording),
            progress=recording.conditions.progress,
        ),
    )
    recording.starts_by = min(until, time.monotonic() + STARTS_S + LADDER_SHARE * _beyond_usual(recording))


def _beyond_usual(recording: _Recording) -> float:
    return max(recording.workload.budget_s - USUAL_BUDGET_S, 0.0)


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
    recording.aside = asides.marked(reply, recording.aside)
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
    """One visit of a session's twin; the last one tells what all of them found."""
    visit = operator_arms.Visit(number, seconds, recording.workload.timeout_s, last)
    found = operator_arms.visit(recording.child, recording.sessions[number], recording.plan.facts.operators, visit)
    if found is not None:
        operators, arm = found
        recording.operators += operators
        recording.arms += (arm,)


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
    recording.samples = seen if recording.samples is None else joined(recording.samples, seen)


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
        probes=Probes(*child.rows("probes", 14).T),
        spans=Spans(*child.rows("spans", 12).T),
        span_names=child.names(),
        samples=recording.samples or Samples(*(np.empty(0, dtype=np.int64) for _ in range(4))),
        telemetry=_telemetry(recording.telemetry),
        request_thread=int(recording.loaded.get("thread", 0)),
        operators=recording.operators,
        arms=recording.arms,
        startup=recording.phases,
        busy_lines=recording.busy_lines,
        errors=tuple((str(kind), int(count)) for kind, count in recording.said.get("errors", {}).items()),
        ended=recording.ended,
        notes=_notes(recording),
        second_length=recording.plan.second_length,
        span_cost_ns=int(recording.loaded.get("span_cost_ns", 0)),
        events=Events(*child.rows("events", 4).T),
        ladder=recording.company.visits,
        ladder_crew=recording.company.crew,
        threads_failed=recording.company.threads_failed,
        ladder_ended=recording.company.ended,
        aside=recording.aside,
        asked=recording.company.asked,
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
