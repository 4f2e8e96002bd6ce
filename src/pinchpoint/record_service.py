"""A URL + workload -> Run: sends requests to a live server, one in flight and then more, and watches its processes meanwhile.

Nothing of the server is started, stopped or changed. What it does is seen from outside: clocks of its threads, what they are
blocked in, and what its Python code executes. Load is sent to this machine only, one in flight elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import numpy as np

from pinchpoint import page_touch, spaced
from pinchpoint.contracts import Probe
from pinchpoint.counted import Tally, tally
from pinchpoint.crews import Crew as LadderCrew
from pinchpoint.demands import rungs
from pinchpoint.domain.arrivals import CLOSED, Arrivals
from pinchpoint.domain.demand import saturated
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import CONTROL, OBSERVED, Environment, Events, Probes, Run, Samples, Telemetry, Visit
from pinchpoint.domain.service import ACTIVE, ALL, HOLDING, IDLE, Peer, ServerThread, Service, Stack, StackLook, Wire
from pinchpoint.domain.target import TargetFacts
from pinchpoint.domain.traffic import Client, Traffic
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import Interrupted, TargetFailed
from pinchpoint.ladder import Climb, Unsafe, climb
from pinchpoint.load import payloads, records, self_proof
from pinchpoint.load.addresses import is_local, resolved
from pinchpoint.load.crew import INTERRUPTED, Crew, Rows, Seen
from pinchpoint.load.engine import Met, cpus_for, meet, told
from pinchpoint.load.sending import Sending
from pinchpoint.otlp import Traced, Traces
from pinchpoint.overseeing import Watching, renamed
from pinchpoint.process import Ended
from pinchpoint.reaching import reach
from pinchpoint.scraping import Scraper, Sources, sources
from pinchpoint.self_description import accepted
from pinchpoint.service_requests import asked_of, requests_of, spans_of, stream_of
from pinchpoint.service_visits import failure_of, spent, used_of_client, visit_of
from pinchpoint.stacks import StackReader, is_python, python_threads
from pinchpoint.thread_watch import ThreadWatch, Windows
from pinchpoint.units import percent

SLICE_S = 1.0
REQUESTS_A_SLICE = 4  # at least
IDLE_S = 1.0
ALONE_SHARE, ALONE_S = 0.22, (3.0, 20.0)  # of the budget, for one request in flight without looks at stacks, and
APART_S = 1.0  # of that, for requests three quarters of a latency apart
MOST_ALONE = 0.6  # of the time that is left, where requests are slow
LADDER_SHARE, LADDER_S = 0.28, (4.0, 30.0)
LOOK_SHARE, LOOK_S = 1 / 20, (2, 5)  # of each look at stacks
LOOK_STARTS_S = 1.5  # py-spy finds out about an interpreter
SHORTEST_VISIT_S = 0.6
CONTROL_EVERY = 4
SETTLED_S = 0.05  # after a level: what the server still does for it
MOST_OF_CLIENT = 0.5  # of its ceiling: beyond it, it may be the limit (docs/design.md, section 6)
PATIENCE_S = 5.0
FEWEST_REQUESTS = 20
MOST_DUMPED = 8  # processes, whose threads are asked for
HOPELESS = 20  # requests that all failed
NS = 1_000_000_000
COMPLETE = "complete"
ELSEWHERE = "it is another machine: one request in flight, and no more of them"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a recording needs besides the traffic: its name, the machine, and who tells of it."""

    id: str
    created: str
    version: str
    environment: Environment
    probes: Sequence[Callable[[], Probe]]
    quota_of: Callable[[int], float | None]
    frames: tuple[tuple[str, str], ...] = ()
    protocol: str = ""
    model: str = ""
    progress: Callable[[str], None] = lambda _: None
    glimpse: Callable[[Run], None] = lambda _: None
    metrics: str = ""
    traces: Traces = field(default_factory=Traces)


@dataclass(slots=True)
class _Recording:
    """A recording under way, so that a failure at any moment loses nothing."""

    traffic: Traffic
    sending: Sending
    workload: Workload
    conditions: Conditions
    met: Met
    watching: Watching
    threads: ThreadWatch | None
    stacks: StackReader
    client: Client
    round_trip: Quantity | None
    deadline: float
    crew: Crew
    sources: Sources
    scraper: Scraper
    wire: Wire
    rows: list[tuple[Rows, int]] = field(default_factory=list)
    timings: list[Rows] = field(default_factory=list)  # stages that answers told, with one request in flight
    asked: list[tuple[int, Rows]] = field(default_factory=list)  # with the requests in flight
    alone: list[tuple[int, int]] = field(default_factory=list)
    idle: list[tuple[int, int]] = field(default_factory=list)
    visits: tuple[Visit, ...] = ()
    found: tuple[Stack, ...] = ()
    looks: tuple[StackLook, ...] = ()
    errors: dict[str, int] = field(default_factory=dict)
    pythons: set[int] = field(default_factory=set)
    used: list[float] = field(default_factory=list)
    ladder_ended: str = "one request in flight was not measured to the end"
    ended: str = COMPLETE
    alone_s: float = 0.0
    apart: tuple[Rows, float] | None = None
    traced: tuple[tuple[Traced, ...], ...] = ()


def record_service(traffic: Traffic, sending: Sending, workload: Workload, conditions: Conditions) -> Run:
    """Record a run of a live server within the workload's budget.

    Raises BadInput where nobody is there or the first request is refused, TargetFailed where none is answered, Interrupted
    where the user stopped it before one was.
    """
    deadline, say = time.monotonic() + workload.budget_s, conditions.progress
    met = meet(traffic, sending, say)
    accepted(met, sending)
    watching = Watching(sending.address, conditions.probes, conditions.quota_of)
    told_by = sources(sending, conditions.model, watching.served, conditions.metrics, met.greeted.server)
    say("what the client can do")
    client = self_proof.client(met.plan, met.request, met.greeted.raw, self_proof.IN_FLIGHT, traffic.workers)
    alone = self_proof.round_trip(met.plan, met.request, met.greeted.raw)
    wire = reach(sending, met, traffic)
    pids = [each.pid for each in watching.served.processes] if watching.overseer else []
    pythons = [pid for pid in pids if is_python(pid)]
    parents = {each.pid: each.parent for each in watching.served.processes}
    tops = [pid for pid in pythons if parents[pid] not in pythons]
    crew = Crew({**met.plan, "timings": met.greeted.timed}, traffic.workers, cpus_for(traffic.workers))
    threads = None
    if watching.overseer is not None:
        threads = ThreadWatch(watching.overseer.processes, sending.address.port, sending.address.unix, workload.seed)
    recording = _Recording(
        traffic, sending, workload, conditions, met, watching, threads, StackReader(tops, pythons), client, alone,
        deadline, crew, told_by, Scraper(told_by.read), wire, alone_s=met.greeted.seconds,
    )  # fmt: skip
    try:
        if watching.overseer is not None and threads is not None:
            watching.overseer.start()
            threads.start()
        recording.scraper.start()
        _recorded(recording)
    except Ended as ended:
        recording.ended = str(ended)
    except KeyboardInterrupt:
        recording.ended = INTERRUPTED
    finally:
        crew.close()
        recording.scraper.stop()
        telemetry = watching.stop()
        if threads is not None:
            threads.stop()
    recording.traced = conditions.traces.requests()
    return _finished(recording, telemetry)


def _recorded(recording: _Recording) -> None:
    """One request in flight, several, and looks at what is executed under load."""
    say, budget = recording.conditions.progress, recording.workload.budget_s
    look_s = int(min(max(budget * LOOK_SHARE, LOOK_S[0]), LOOK_S[1]))
    _rest(recording, IDLE_S)
    say("one request in flight")
    _alone(recording, min(max(budget * ALONE_SHARE, ALONE_S[0]), ALONE_S[1]) - APART_S)
    recording.conditions.glimpse(_finished(recording, recording.watching.so_far()))
    _apart(recording)
    _rest(recording, float(look_s), IDLE, HOLDING)
    for kind in (ACTIVE, ALL):
        _look(recording, kind, 1, look_s)
    recording.ladder_ended = _climb(recording, min(max(budget * LADDER_SHARE, LADDER_S[0]), LADDER_S[1]), look_s)
    recording.pythons = _python_threads(recording)
    full = saturated(rungs(recording.visits))
    if full is not None and full.load > 1:
        for kind in (HOLDING, ACTIVE):
            if time.monotonic() + look_s < recording.deadline:
                _look(recording, kind, full.load, look_s)


def _rest(recording: _Recording, seconds: float, *kinds: str) -> None:
    """The server left alone, once it has settled; with looks at where its threads sit then."""
    time.sleep(SETTLED_S)
    readers = {kind: StackReader(recording.stacks.roots, recording.stacks.processes) for kind in kinds}
    try:
        for kind, reader in readers.items():
            reader.begin(kind, int(seconds))
        began = time.monotonic_ns()
        _watch(recording, on=True)
        time.sleep(seconds)
        _watch(recording, on=False)
        recording.idle.append((began, time.monotonic_ns()))
        for kind, reader in readers.items():
            _take(recording, *reader.end(kind, 0, int(seconds)))
    finally:
        for reader in readers.values():
            reader.stop()


def _watch(recording: _Recording, *, on: bool) -> None:
    if recording.threads is not None:
        (recording.threads.go if on else recording.threads.pause)()
    if recording.watching.overseer is not None:
        recording.watching.overseer.read_now()


def _alone(recording: _Recording, seconds: float) -> None:
    """Slices with one request in flight, every fourth of them unwatched."""
    now, number, served = time.monotonic(), 0, 0
    end, latest = now + seconds, now + max(MOST_ALONE * (recording.deadline - now), seconds)
    while time.monotonic() < end or (served < FEWEST_REQUESTS and time.monotonic() < latest):
        control = number % CONTROL_EVERY == CONTROL_EVERY - 1
        length = max(SLICE_S, REQUESTS_A_SLICE * recording.alone_s)
        seen = _drive(recording, 1, length, watched=not control)
        rows = seen.all_rows()
        recording.rows.append((rows, CONTROL if control else OBSERVED))
        recording.timings.append(seen.all_timings())
        _keep_asked(recording, 1, rows)
        recording.alone.append((seen.begin_ns, seen.end_ns))
        recording.used.append(used_of_client(seen, recording.client))
        good = rows[rows["outcome"] == records.OK]
        if len(good):
            recording.alone_s = float(np.median(good["done_ns"] - good["due_ns"])) / NS
        served += len(rows)
        number += 1
        recording.conditions.progress(f"one request in flight: {served:,} answers")


def _keep_asked(recording: _Recording, load: int, rows: Rows) -> None:
    """Which input each request had, where there are several."""
    if len(recording.traffic.payloads) > 1:
        recording.asked.append((load, rows))


def _apart(recording: _Recording) -> None:
    """Requests three quarters of a latency apart, where as many may be sent."""
    planned = spaced.plan(recording.alone_s)
    if planned is not None and is_local(resolved(recording.sending.address)) and not recording.traffic.most_per_s:
        recording.conditions.progress("requests three quarters of a latency apart")
        arrivals, seconds = planned
        seen = _drive(recording, 1, seconds, watched=False, arrivals=arrivals)
        recording.apart = seen.all_rows(), recording.alone_s


def _drive(
    recording: _Recording, load: int, seconds: float, *, watched: bool, arrivals: Arrivals | None = None
) -> Seen:
    """Requests for so many seconds, in a closed loop if not told otherwise. Ended where the server answers no more,
    KeyboardInterrupt where the user stops it.
    """
    level = {"number": 0, "arrivals": asdict(arrivals or Arrivals(CLOSED, load)), "seconds": seconds, "count": 0,
             "spacing_s": 1 / recording.traffic.most_per_s if recording.traffic.most_per_s else 0.0}  # fmt: skip
    recording.scraper.watch(on=watched)
    _watch(recording, on=watched)
    seen = recording.crew.drive(level, _hopeless, 2 * recording.traffic.timeout_s + PATIENCE_S)
    _watch(recording, on=False)
    recording.scraper.watch(on=False)
    for number, count in enumerate(seen.outcomes):
        if count and number not in (records.OK, records.CUT_OFF):
            kind = records.OUTCOMES[number]
            recording.errors[kind] = recording.errors.get(kind, 0) + int(count)
    if seen.stopped == INTERRUPTED:
        raise KeyboardInterrupt
    if not seen.outcomes[records.OK]:
        failed = [records.OUTCOMES[number] for number, count in enumerate(seen.outcomes) if count]
        raise Ended(f"no request was answered at {load} in flight ({', '.join(failed) or 'none ended'})")
    return seen


def _hopeless(seen: Seen, _seconds: float) -> str:
    return "all requests failed" if seen.done >= HOPELESS and seen.failed == seen.done else ""


def _look(recording: _Recording, kind: str, load: int, seconds: int) -> None:
    """Look at what is executed while requests are sent; these count for nothing else."""
    recording.conditions.progress("what the server executes")
    try:
        recording.stacks.begin(kind, seconds)
        _drive(recording, load, float(seconds), watched=False)
        _take(recording, *recording.stacks.end(kind, load, seconds))
    finally:
        recording.stacks.stop()


def _python_threads(recording: _Recording) -> set[int]:
    """Threads of the interpreters, some of which are started under load and then stay."""
    overseer = recording.watching.overseer
    processes = overseer.processes() if overseer is not None else ()
    pythons = [each for each in processes if is_python(each)][:MOST_DUMPED]
    watch = recording.threads
    return {watch.noted_as(each) if watch else each for process in pythons for each in python_threads(process)}


def _take(recording: _Recording, stacks: tuple[Stack, ...], look: StackLook) -> None:
    recording.found += stacks
    recording.looks += (look,)


# --- several in flight ---------------------------------------------------------------------------------------------
class _Company(LadderCrew):
    """Keeps requests in flight at the server."""

    def __init__(self, recording: _Recording) -> None:
        self._recording = recording
        self._used = 0.0

    def visit(self, load: int, seconds: float) -> tuple[Visit, str | None]:
        """One visit; 0 leaves the server alone."""
        recording = self._recording
        seconds = max(seconds, SHORTEST_VISIT_S)
        if load == 0:
            _rest(recording, seconds)
            begin, end = recording.idle[-1]
            return Visit(0, begin, end, 0, 0, 0.0, 0.0, ()), None
        seen = _drive(recording, load, seconds, watched=True)
        visit = visit_of(seen, load, seconds)
        _keep_asked(recording, load, seen.all_rows())
        self._used = used_of_client(seen, recording.client)
        if self._used > MOST_OF_CLIENT:
            raise Ended(self._client_full(load))
        share = visit.seconds / ((seen.end_ns - seen.begin_ns) / NS)
        cpu_s = seen.counters.get(records.CPU_NS, 0) / NS * share
        return replace(visit, client_used=self._used, client_cpu_s=cpu_s), failure_of(seen)

    def _client_full(self, load: int) -> str:
        return f"the client would be the limit (V101): it used {percent(min(self._used, 1.0))} of its ceiling at {load} in flight"

    def wrong_answers(self) -> str:
        """Answers are not compared."""
        return ""

    def full(self, load: int) -> str:
        """Nothing is started for more load: what it takes of memory is the server's own affair."""
        del load
        return ""


def _climb(recording: _Recording, seconds: float, look_s: float) -> str:
    """The ladder; why it went no further. Time is left for a look at what holds the interpreter under load."""
    if not is_local(resolved(recording.sending.address)) and not recording.traffic.most_per_s:
        return ELSEWHERE
    plan = Climb(
        typical_s=recording.alone_s,
        deadline=min(recording.deadline - look_s - LOOK_STARTS_S, time.monotonic() + seconds),
        fails_alone=_failing(recording),
        seed=recording.workload.seed,
        compared=False,
        progress=recording.conditions.progress,
    )
    try:
        recording.visits, ended = climb(_Company(recording), plan)
    except Unsafe as unsafe:
        recording.visits, ended = unsafe.visits, str(unsafe)
    return ended


def _failing(recording: _Recording) -> float:
    return sum(recording.errors.values()) / max(sum(len(rows) for rows, _ in recording.rows), 1)


# --- the run -------------------------------------------------------------------------------------------------------
def _finished(recording: _Recording, telemetry: Telemetry) -> Run:
    conditions = recording.conditions
    requests = requests_of(recording.rows)
    if not np.any(requests.ok):
        where = recording.sending.address.uri
        if recording.ended == INTERRUPTED:
            raise Interrupted(what="interrupted before a request was answered", where=where, todo="")
        raise TargetFailed(
            what=f"no request was answered: {recording.ended}", where=where, todo="Ask it once with curl"
        )
    counters, counts = _told(recording)
    spans, names = spans_of(recording.rows, recording.timings, partial(told, recording.sending), recording.traced)
    windows = [(int(a), int(b)) for a, b in zip(requests.start_ns, requests.end_ns, strict=True)]
    samples, threads, peers = _seen(recording, windows)
    return Run(
        id=conditions.id,
        created=conditions.created,
        version=conditions.version,
        target=_facts(recording),
        workload=recording.workload,
        environment=_environment(recording, counts),
        requests=requests,
        probes=Probes(*(np.empty(0, dtype=np.int64) for _ in range(14))),
        spans=spans,
        span_names=names,
        samples=samples,
        telemetry=renamed(telemetry, recording.alone),
        request_thread=-1,
        errors=tuple(recording.errors.items()),
        ended=recording.ended,
        events=Events(),
        ladder=tuple(replace(each, cpu_s=spent(telemetry, each)) for each in recording.visits),
        ladder_ended=recording.ladder_ended,
        starts_ended="a server that runs already was not started",
        service=_service(recording, threads, peers, counts),
        asked=asked_of(recording.asked),
        told=counters,
    )


def _told(recording: _Recording) -> tuple[Telemetry, Tally]:
    """What the server told of its own counters, and what it counted with one request in flight."""
    told, windows = recording.scraper.so_far(), recording.alone
    if not windows:
        return told, Tally()
    answered = sum(int(np.count_nonzero(rows["outcome"] == records.OK)) for rows, _ in recording.rows)
    return told, tally(told, windows[0][0], windows[-1][1], answered)


def _facts(recording: _Recording) -> TargetFacts:
    address = recording.sending.address
    return TargetFacts(kind=address.kind, uri=address.uri, input_text=_input(recording))


def _environment(recording: _Recording, counts: Tally) -> Environment:
    """The machine as the server's processes see it, and what could not be seen."""
    conditions, watching = recording.conditions, recording.watching
    found = conditions.environment
    if watching.served.cpus is not None:
        quota = conditions.quota_of(watching.served.processes[0].pid)
        found = replace(found, quota_cpus=quota, affinity=max(round(watching.affinity), 1))
    unseen = (*found.unobservable, *_unseen(recording, counts))
    return replace(found, ceilings=page_touch.cost(), unobservable=unseen)


def _service(
    recording: _Recording, threads: tuple[ServerThread, ...], peers: tuple[Peer, ...], counts: Tally
) -> Service:
    client, met = recording.client, recording.met
    return Service(
        served=recording.watching.served,
        method=recording.traffic.method,
        software=told(recording.sending, met.greeted.server),
        client_ceiling_per_s=client.ceiling_per_s,
        client_reason=client.reason,
        client_used=max(recording.used, default=None),
        round_trip=recording.round_trip,
        threads=threads,
        stacks=recording.found,
        frames=recording.conditions.frames,
        looks=recording.looks,
        peers=peers,
        protocol=recording.conditions.protocol,
        counted=counts.counted,
        request_bytes=len(met.request),
        answer_bytes=met.greeted.size,
        stream=stream_of(recording.rows, "response" if recording.sending.address.kind == "grpc" else "event"),
        answered=counts.answered,
        teller=recording.sources.kind.name if recording.sources.kind else "",
        wire=recording.wire,
        stages_by="OTLP" if recording.traced else "Server-Timing",
        spaced=spaced.told(*recording.apart) if recording.apart else None,
    )


def _seen(recording: _Recording, windows: Windows) -> tuple[Samples, tuple[ServerThread, ...], tuple[Peer, ...]]:
    if recording.threads is None:
        return Samples(*(np.empty(0, dtype=np.int64) for _ in range(5))), (), ()
    samples, threads, peers = recording.threads.seen(recording.idle, windows)
    known, unknown = recording.pythons, None if recording.stacks.processes else False
    return samples, tuple(replace(each, python=each.thread in known if known else unknown) for each in threads), peers


def _input(recording: _Recording) -> str:
    names = ", ".join(recording.traffic.payloads[:3]) or "no body"
    more = f" and {len(recording.traffic.payloads) - 3} more" if len(recording.traffic.payloads) > 3 else ""
    return payloads.without(names + more, payloads.secrets(recording.sending.headers, recording.sending.address))


def _unseen(recording: _Recording, counts: Tally) -> list[tuple[str, str]]:
    """What could not be seen of the server, each with its reason."""
    served, found = recording.watching.served, []
    if not served.processes:
        found.append(("inside the server", served.reason))
    elif served.tunnel:
        found.append(("inside the server", f"{served.tunnel} passes requests on; the server is elsewhere"))
    if recording.threads is not None and recording.threads.blind:
        found.append(("thread states", recording.threads.blind))
    found += dict.fromkeys(("what Python executes", each.reason) for each in recording.looks if each.reason)
    return [*found, *recording.sources.unseen(counts), *recording.conditions.traces.unseen(recording.traced)]
