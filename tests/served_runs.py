"""Runs of a live server that was never asked: what each request does is given, and looked at at random moments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import OBSERVED, PARKED, Probes, Requests, Run, Samples, Spans, Telemetry, Visit
from pinchpoint.domain.run import Environment as Machine
from pinchpoint.domain.served import Served, ServerProcess
from pinchpoint.domain.service import (
    ACTIVE,
    ALL,
    HOLDING,
    IDLE,
    SELECTOR,
    UNKNOWN_LOAD,
    WAITING_FOR_WORK,
    ServerThread,
    Service,
    Stack,
    StackLook,
)
from pinchpoint.domain.target import TargetFacts
from pinchpoint.domain.workload import Workload

NS = 1_000_000_000
MACHINE = Machine("test", 2, 2, None, None, "Linux", virtualized=False)
BEGIN = 10**15
PID = 10
LOOP, WORKER, SECOND, THIRD, FOURTH = range(10, 15)
THREADS = (
    ServerThread(LOOP, PID, "python", SELECTOR, python=True),
    *(ServerThread(each, PID, "worker", WAITING_FOR_WORK, python=True) for each in (WORKER, SECOND, THIRD, FOURTH)),
)
SERVED = Served((ServerProcess(PID, 1, "uvicorn"),), cpus=2.0)
HANDLER = ("site|fastapi/routing.py|190|run_endpoint_function", "own|app.py|10|handle")
DECODING = (*HANDLER, "std|json/__init__.py|346|loads", "std|json/decoder.py|337|decode")
RESIZING = (*HANDLER, "own|app.py|20|thumbnail", "site|PIL/Image.py|2200|resize")
SLEEPING = (*HANDLER, "own|app.py|30|again")
AT_HOME = ("std|threading.py|1002|_bootstrap", "std|concurrent/futures/thread.py|81|_worker")
MOMENTS = 500  # of a look at stacks


def no_table(columns):
    """Columns without rows."""
    return [np.empty(0, dtype=np.int64) for _ in range(columns)]


def a_service(**changes):
    """An application server with a loop and four workers, looked into."""
    made = Service(
        SERVED, "POST", software="uvicorn", client_ceiling_per_s=exact(20_000.0, 5), client_used=0.01,
        round_trip=Quantity(1e-3, 0.98e-3, 1.02e-3, 50), threads=THREADS, request_bytes=500, answer_bytes=100,
    )  # fmt: skip
    return replace(made, **changes)


def stacks(active=(), blocked=(), at_home=True, load=1):
    """`stacks` and `looks` of a service: counts of what was executed, and of what was waited in, with one idle worker."""
    found = [Stack(ACTIVE, load, count, frames) for frames, count in active]
    everything = dict(active)
    for frames, count in blocked:
        everything[frames] = everything.get(frames, 0) + count
    if at_home:
        found.append(Stack(IDLE, 0, MOMENTS, AT_HOME))
        everything[AT_HOME] = MOMENTS
    found += [Stack(ALL, load, count, frames) for frames, count in everything.items()]
    looks = tuple(StackLook(kind, at, MOMENTS, 1) for kind, at in ((IDLE, 0), (ACTIVE, load), (ALL, load)))
    return {"stacks": tuple(found), "looks": looks}


def a_run(samples, requests=None, telemetry=None, service=None, ladder=(), **changes):
    """A run of these tables."""
    made = Run(
        id="1123-1729", created="", version="0", target=TargetFacts("http", "http://127.0.0.1:8000/"),
        workload=Workload(), environment=MACHINE,
        requests=Requests(*no_table(4)) if requests is None else requests,
        probes=Probes(*no_table(14)), spans=Spans(*no_table(12)), span_names=(), samples=samples,
        telemetry=Telemetry.nothing() if telemetry is None else telemetry, request_thread=-1, ladder=tuple(ladder),
        service=a_service() if service is None else service,
    )  # fmt: skip
    return replace(made, **changes)


# --- one request in flight -----------------------------------------------------------------------------------------
def alone(
    steps, *, cpu_s, starved_s=0.0, slow=(), slow_every=0, at_random=False, also_running=False, requests=400, every_ms=0.4,
    **service
):  # fmt: skip
    """One request in flight, each of which goes through steps of (site of the worker, ms); every `slow_every`-th one, or as many
    at random, through others. `cpu_s` and `starved_s` are what the processes spend a request; `also_running` is a thread that runs whenever the
    worker does.
    """
    rng = np.random.default_rng(2)
    lengths, sites, of_request = [], [], []
    turns = np.random.default_rng(3).permutation(requests) if at_random else np.arange(requests)
    for number in range(requests):
        chosen = slow if slow_every and turns[number] % slow_every == slow_every - 1 else steps
        sites += [site for site, _ in chosen]
        lengths += [ms * 1e6 * rng.uniform(0.98, 1.02) for _, ms in chosen]
        of_request += [number] * len(chosen)
    ends = BEGIN + np.cumsum(lengths).astype(np.int64)
    last = np.flatnonzero(np.diff([*of_request, requests]))
    end_ns = ends[last]
    start_ns = np.concatenate(([BEGIN], end_ns[:-1]))
    table = Requests(np.arange(requests), start_ns, end_ns, np.full(requests, OBSERVED))
    gaps = rng.uniform(0.5, 1.5, int((ends[-1] - BEGIN) / (every_ms * 1e6))) * every_ms * 1e6
    t = BEGIN + np.cumsum(gaps).astype(np.int64)
    t = t[t < ends[-1]]
    site = np.array(sites)[np.searchsorted(ends, t, side="right")]
    columns = {WORKER: site, LOOP: np.full(len(t), PARKED)}
    if also_running:
        columns[SECOND] = np.where(site == 0, 0, PARKED)
    return a_run(moments(t, columns), table, spent(start_ns, end_ns, cpu_s, starved_s), a_service(**service))


def moments(t, columns):
    """Samples of threads at moments: {thread: sites, or (sites, places)}."""
    parts = []
    for thread, given in columns.items():
        sites, places = given if isinstance(given, tuple) else (given, 0)
        parts.append([t, *(np.broadcast_to(np.asarray(each), len(t)) for each in (thread, sites, -1, places))])
    table = [np.concatenate(column).astype(np.int64) for column in zip(*parts, strict=True)]
    order = np.argsort(table[0], kind="stable")
    return Samples(*(column[order] for column in table))


def spent(start_ns, end_ns, cpu_s, starved_s):
    """Ten readings a second of clocks that go on evenly through each request."""
    t = np.arange(int(start_ns[0]), int(end_ns[-1]) + 1, NS // 10, dtype=np.int64)
    done = np.interp(t, np.concatenate((start_ns[:1], end_ns)), np.arange(len(end_ns) + 1))
    return Telemetry(t, (("process.cpu_s", cpu_s * done), ("process.run_delay_s", starved_s * done)))


# --- several of them -----------------------------------------------------------------------------------------------
def climbed(*visits, looked=100, seconds=1.0, **changes):
    """Visits of (load, {thread: sites, or (sites, places)}), one after the other, looked at so often; of `changes`, those of
    the service, and of the run.
    """
    ladder, parts = [], []
    for number, (load, columns) in enumerate(visits):
        begin = BEGIN + int(number * 2 * seconds * NS)
        end = begin + int(seconds * NS)
        ladder.append(Visit(load, begin, end, 100 * load, 0, 0.5 * seconds, 0.01, (0.01, 0.012, 0.015)))
        t = np.linspace(begin, end, looked, endpoint=False).astype(np.int64)
        parts.append(moments(t, {LOOP: PARKED, **columns}))
    samples = Samples(*(np.concatenate([getattr(each, name) for each in parts]) for name in Samples.__slots__))
    return a_run(samples, service=a_service(**changes), ladder=ladder)


# --- only watched --------------------------------------------------------------------------------------------------
def watched(*stretches, seconds=2.0, looked=100, cpu_s=(), counters=(), run=None, **changes):
    """A server that nothing was sent to: {thread: sites, or (sites, places)} in each stretch, of which the processes used so
    many seconds of CPU; `counters` are further columns, by what they grow in each stretch, and `changes` those of the service.
    """
    begins = [BEGIN + int(number * seconds * NS) for number in range(len(stretches))]
    ends = [begin + int(seconds * NS) for begin in begins]
    parts = [
        moments(np.linspace(begin, end, looked, endpoint=False).astype(np.int64), columns)
        for begin, end, columns in zip(begins, ends, stretches, strict=True)
        if columns
    ] or [Samples(*no_table(5))]
    samples = Samples(*(np.concatenate([getattr(each, name) for each in parts]) for name in Samples.__slots__))
    grown = {"process.cpu_s": cpu_s or [0.1] * len(stretches), **dict(counters)}
    t = np.array([begins[0], *ends], dtype=np.int64)
    columns = tuple((name, np.concatenate(([0.0], np.cumsum(each)))) for name, each in grown.items())
    service = {
        "method": "", "software": "", "client_ceiling_per_s": None, "client_used": None, "round_trip": None,
        "stretches": tuple(zip(begins, ends, strict=True)), **changes,
    }  # fmt: skip
    return a_run(samples, telemetry=Telemetry(t, columns), service=a_service(**service), **(run or {}))


def seen_executing(active=(), blocked=(), holding=0):
    """`stacks` and `looks` of a server that was only watched."""
    found = stacks(active, blocked, at_home=False, load=UNKNOWN_LOAD)
    looks = (*found["looks"], StackLook(HOLDING, UNKNOWN_LOAD, MOMENTS, 1))
    return {"stacks": (*found["stacks"], Stack(HOLDING, UNKNOWN_LOAD, holding, HANDLER)), "looks": looks}
