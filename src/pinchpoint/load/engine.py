"""Traffic + address -> LoadRun: greet the target, measure the client, then one level after the other, or the search of a rate."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pinchpoint import stats, steady
from pinchpoint.domain.arrivals import CLOSED, POISSON, Arrivals
from pinchpoint.domain.run import Environment, Floats, Ints
from pinchpoint.domain.traffic import (
    CONFIRMED,
    MEASURED,
    SOUGHT,
    Buckets,
    Client,
    Failure,
    Level,
    LoadRun,
    Sends,
    Slo,
    Traffic,
)
from pinchpoint.errors import BadInput
from pinchpoint.load import greeting, grpc_greeting, grpc_tls, payloads, records, self_proof
from pinchpoint.load.addresses import Address, is_local, resolved
from pinchpoint.load.crew import ROW, Crew, Rows, Seen
from pinchpoint.load.histogram import BUCKETS
from pinchpoint.load.mlperf import within
from pinchpoint.load.search import BROKEN, KEPT, UNDECIDED, Search
from pinchpoint.load.sending import Sending, tls_context

HOPELESS = 100  # requests of a level that all failed: it is given up
OVERDUE = (
    10  # times what was promised, or what a request takes alone: who waits so long is behind more than can be served
)
OVERDUE_S = 2.0  # at least
OVER_SATURATED, INTERRUPTED = "over-saturated", "interrupted"
RECOVERED = 2  # times what a request took alone
PROBE_S = 1.0  # one request in flight, before a rate is looked for
LEAST_OF_TRIAL_S = 1.0
FOREVER_S = 1e9  # in place of the latency of a request that failed
MOST_LOOKS = 3  # at an end of a search
MOST_ROWS = 2_000_000  # of all levels together, 128 MB: past it, every second row of each is given up

Say = Callable[[str], None]


@dataclass(slots=True)
class _Found:
    """What is being driven, and what came of its levels so far. `alone_s` is what a request took alone."""

    traffic: Traffic
    sending: Sending
    say: Say
    alone_s: float
    levels: list[Level] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    counts: list[Ints] = field(default_factory=list)
    ended: str = "complete"


@dataclass(frozen=True, slots=True)
class Naming:
    """What the run is called and where it was made."""

    id: str
    created: str
    version: str
    environment: Environment


def permitted(traffic: Traffic, address: Address, hosts: Sequence[str]) -> None:
    """BadInput where more than one request in flight would go to another machine without leave."""
    if is_local(tuple(hosts)) or traffic.most_per_s:
        return
    if [(each.loop, each.concurrency) for each in traffic.levels] != [(CLOSED, 1)]:
        what = "it is another machine: more than one request in flight may harm who else uses it"
        raise BadInput(what=what, where=address.uri, todo="Permit a rate with --max-rate, or leave it at one in flight")


@dataclass(frozen=True, slots=True)
class Met:
    """A target that has answered: the plan for a crew, the first request as it is sent, and the answer."""

    plan: Mapping[str, Any]
    request: bytes
    greeted: greeting.Greeting


def meet(traffic: Traffic, sending: Sending, say: Say) -> Met:
    """Send the first request, alone. BadInput where the traffic is not permitted; else raises what `greeting.greet` raises."""
    hosts = resolved(sending.address)
    permitted(traffic, sending.address, hosts)
    requests = _requests(traffic, sending)
    say("first request")
    if sending.address.kind == "grpc":
        trusted = grpc_tls.trust(sending, hosts, traffic.timeout_s)
        greeted = grpc_greeting.greet(sending, trusted, hosts, requests[0], traffic.timeout_s)
        return Met({**_plan(traffic, sending, requests, greeted), **_of_grpc(sending, trusted)}, requests[0], greeted)
    greeted = greeting.greet(sending.address, hosts, requests[0], traffic.timeout_s, tls_context(sending))
    return Met(_plan(traffic, sending, requests, greeted), requests[0], greeted)


def drive(traffic: Traffic, sending: Sending, naming: Naming, say: Say) -> LoadRun:
    """Send the traffic and return what became of it. Raises what `greeting.greet` raises; an interrupt after the first answer
    ends the run early, and is said in `ended`.
    """
    address = sending.address
    met = meet(traffic, sending, say)
    greeted = met.greeted
    found = _Found(traffic, sending, say, greeted.seconds)
    client = Client(traffic.workers, reason="interrupted")
    try:
        say("what the client can do")
        in_flight = max((each.concurrency for each in traffic.levels), default=0) or self_proof.IN_FLIGHT
        client = self_proof.client(met.plan, met.request, greeted.raw, in_flight, traffic.workers)
        _drive_all(met.plan, found)
    except KeyboardInterrupt:
        found.ended = INTERRUPTED
    sends, buckets = _tables(found)
    return LoadRun(
        naming.id, naming.created, naming.version, address.kind, address.uri, traffic, naming.environment, sends, buckets,
        tuple(found.levels), client, told(sending, greeted.server), found.ended, tuple(_notes(traffic, greeted)),
    )  # fmt: skip


def told(sending: Sending, text: str) -> str:
    """What a server said, without what is secret: it may send back what it was sent."""
    return payloads.without(text, payloads.secrets(sending.headers, sending.address))


def _requests(traffic: Traffic, sending: Sending) -> list[bytes]:
    if sending.address.kind == "grpc":
        return [each.body for each in sending.bodies]
    return [payloads.rendered(sending.address, traffic.method, each, sending.headers) for each in sending.bodies]


def _plan(traffic: Traffic, sending: Sending, requests: Sequence[bytes], greeted: greeting.Greeting) -> dict[str, Any]:
    address = sending.address
    return {
        "kind": address.kind, "requests": [base64.b64encode(each).decode() for each in requests],
        "mix": list(traffic.mix), "statuses": list(traffic.statuses), "check": list(traffic.check), "stream": greeted.stream,
        "timed": greeted.timed, "keeps": greeted.keeps,
        "host": greeted.host, "port": address.port, "unix": address.unix, "tls": address.tls, "name": address.host,
        "ca": sending.ca, "insecure": sending.insecure, "timeout_s": traffic.timeout_s, "seed": traffic.seed,
    }  # fmt: skip


def _of_grpc(sending: Sending, trusted: grpc_tls.Trust) -> dict[str, Any]:
    """What a plan has besides for gRPC."""
    return {
        "target": sending.address.target,
        "metadata": [[each.name.lower(), each.value] for each in sending.headers],
        "roots": trusted.roots.decode("latin-1"),
        "name": trusted.name,
    }


def _notes(traffic: Traffic, greeted: greeting.Greeting) -> list[str]:
    notes = []
    if not greeted.keeps and greeted.server != "grpc":
        notes.append("the server closes the connection after each answer: every request pays for a new one")
    if len(traffic.payloads) > 1:
        weights = f" with weights {', '.join(f'{each:g}' for each in traffic.mix)}" if traffic.mix else ""
        notes.append(f"{len(traffic.payloads)} payloads, drawn at random{weights}")
    return notes


# --- levels --------------------------------------------------------------------------------------------------------
def cpus_for(workers: int) -> tuple[int, ...]:
    """A CPU of its own for each worker, the last ones, where at least as many are left to the target; none elsewhere."""
    mine = sorted(os.sched_getaffinity(0))
    return tuple(mine[-workers:]) if len(mine) >= 2 * workers + 2 else ()


def _drive_all(plan: Mapping[str, Any], found: _Found) -> None:
    traffic = found.traffic
    crew = Crew(plan, traffic.workers, cpus_for(traffic.workers))
    try:
        if traffic.slo and not traffic.levels:
            _search(traffic.slo, crew, found)
        for arrivals in traffic.levels:
            beyond = [each.arrivals.rate_per_s for each in found.levels if each.ended == OVER_SATURATED]
            if beyond and arrivals.rate_per_s >= min(beyond):
                continue
            level = _drive(arrivals, traffic.seconds, MEASURED, crew, found)
            if level.ended not in ("complete", OVER_SATURATED) or found.ended == INTERRUPTED:
                break
    finally:
        crew.close()


def _drive(arrivals: Arrivals, seconds: float, purpose: str, crew: Crew, found: _Found) -> Level:
    """Drive one level and keep what came of it."""
    traffic = found.traffic
    count = traffic.count if purpose == MEASURED else 0
    order = {
        "number": len(found.levels),
        "arrivals": {name: getattr(arrivals, name) for name in arrivals.__slots__},
        "seconds": 0.0 if count else seconds,
        "count": count,
        "spacing_s": 1 / traffic.most_per_s if traffic.most_per_s and arrivals.loop == CLOSED else 0.0,
    }
    seen = crew.drive(order, _watching(arrivals, found), _patience_s(traffic))
    level, rows = _level(seen, arrivals, purpose, found.sending), seen.all_rows()
    if traffic.slo:
        level = replace(level, promise=promise(level, rows, traffic.slo, mlperf=traffic.mlperf))
    found.levels.append(level)
    found.rows.append(rows)
    found.counts.append(seen.counts)
    _shrink(found)
    if level.ended == INTERRUPTED:
        found.ended = INTERRUPTED
    elif level.ended == OVER_SATURATED:
        _recover(crew, found)
    return level


def _patience_s(traffic: Traffic) -> float:
    return 2 * traffic.timeout_s + 5


def _recover(crew: Crew, found: _Found) -> None:
    """Wait until the target has worked off what it was sent too much: one request takes about as long as it did alone."""
    order = {"arrivals": {"loop": CLOSED, "concurrency": 1}, "seconds": PROBE_S / 4, "count": 0}
    end = time.monotonic() + found.traffic.timeout_s
    while time.monotonic() < end and found.ended != INTERRUPTED:
        found.say("waiting until the target has recovered")
        seen = crew.drive(order, _unwatched, _patience_s(found.traffic))
        if seen.stopped == INTERRUPTED:
            found.ended = INTERRUPTED
        rows = seen.all_rows()
        answered = rows[rows["outcome"] == records.OK]
        if (
            len(answered)
            and float(np.median(answered["done_ns"] - answered["due_ns"])) <= RECOVERED * found.alone_s * 1e9
        ):
            return


def _unwatched(_seen: Seen, _seconds: float) -> str:
    return ""


def _watching(arrivals: Arrivals, found: _Found) -> Callable[[Seen, float], str]:
    """What looks at a level while it runs: says how it goes, and stops what leads nowhere."""
    slo = found.traffic.slo
    usual_s = slo.bound_s if slo else found.alone_s
    bound_s = min(max(OVERDUE * usual_s, OVERDUE_S), found.traffic.timeout_s)
    last = 0.0

    def watch(seen: Seen, seconds: float) -> str:
        nonlocal last
        if seconds - last >= 1.0:
            last = seconds
            found.say(_live(arrivals, seen, seconds))
        if seen.done >= HOPELESS and seen.failed == seen.done:
            return f"all of the first {seen.done} requests failed"
        behind = seen.counters.get(records.SENT, 0) - seen.done
        if arrivals.loop != CLOSED and behind > arrivals.rate_per_s * bound_s + 100:
            return OVER_SATURATED
        return ""

    return watch


def _live(arrivals: Arrivals, seen: Seen, seconds: float) -> str:
    """One line of how a level goes."""
    load = f"{arrivals.concurrency} in flight" if arrivals.loop == CLOSED else f"{arrivals.rate_per_s:.4g}/s"
    text = f"{load}: {seen.done / max(seconds, 0.1):,.0f}/s"
    recent = seen.recent[seen.recent["outcome"] == records.OK]
    if len(recent):
        latency = (recent["done_ns"] - recent["due_ns"]) / 1e6
        text += f", p50 {np.quantile(latency, 0.5):.3g} ms, p99 {np.quantile(latency, 0.99):.3g} ms"
    waiting = max(seen.counters.get(records.SENT, 0) - seen.done, 0)  # the counters are a little older than the rows
    return text + f", {waiting} under way" + (f", {seen.failed} failed" if seen.failed else "")


def _level(seen: Seen, arrivals: Arrivals, purpose: str, sending: Sending) -> Level:
    hidden = payloads.secrets(sending.headers, sending.address)
    statuses = sorted(seen.statuses.items(), key=lambda pair: -pair[1])
    failures = []
    for number, count in enumerate(seen.outcomes):
        if number not in (records.OK, records.CUT_OFF) and count:
            named = (f"{_status(status, sending.address)} ({many})" for status, many in statuses[:5])
            shown = ", ".join(named) if number == records.STATUS else ""
            failures.append(Failure(records.OUTCOMES[number], int(count), payloads.without(shown, hidden)))
    return Level(
        arrivals, purpose, seen.begin_ns, seen.end_ns, seen.counters.get(records.SENT, 0), seen.done, tuple(failures),
        seen.counters.get(records.CPU_NS, 0) / 1e9, seen.counters.get(records.DELAY_NS, 0) / 1e9,
        seen.counters.get(records.CONNECTS, 0), seen.counters.get(records.UNASKED, 0), seen.thinned, seen.lost,
        seen.stopped or "complete",
    )  # fmt: skip


def _status(status: int, address: Address) -> str:
    """A status as it is told: gRPC has names for them."""
    codes = grpc_greeting.CODES
    return codes[status] if address.kind == "grpc" and status < len(codes) else str(status)


def _tables(found: _Found) -> tuple[Sends, Buckets]:
    """The rows and counts of all levels as tables."""
    numbers = [np.full(len(rows), number, np.int64) for number, rows in enumerate(found.rows)]
    rows = np.concatenate([*found.rows, np.empty(0, ROW)])
    fields = {name: rows[name].astype(np.int64) for name in Sends.__slots__ if name != "level"}
    sends = Sends(level=np.concatenate([*numbers, np.empty(0, np.int64)]), **fields)
    cells = [(number, np.flatnonzero(counts), counts) for number, counts in enumerate(found.counts)]
    level = np.concatenate([*(np.full(len(at), number, np.int64) for number, at, _ in cells), np.empty(0, np.int64)])
    bucket = np.concatenate([*(at.astype(np.int64) for _, at, _ in cells), np.empty(0, np.int64)])
    count = np.concatenate([*(counts[at] for _, at, counts in cells), np.empty(0, np.int64)])
    assert not len(bucket) or int(bucket.max()) < BUCKETS
    return sends, Buckets(level, bucket, count)


# --- the highest rate ----------------------------------------------------------------------------------------------
def _search(slo: Slo, crew: Crew, found: _Found) -> None:
    """Look for the highest rate within what was promised; its trials are levels of their own."""
    traffic = found.traffic
    alone = _drive(Arrivals(CLOSED, 1), PROBE_S, SOUGHT, crew, found)
    mean_s = alone.seconds / max(alone.done, 1)
    if alone.ended != "complete" or alone.failures:
        return
    search = Search(0.5 / mean_s, traffic.most_per_s or float("inf"))
    while (following := search.next()) is not None and found.ended != INTERRUPTED:
        rate, again = following
        found.say(f"{rate:.4g}/s ({'again' if again else 'looking for the highest rate'})")
        least = 1.2 * stats.samples_needed(slo.quantile) / rate
        if again:
            outcome = _decided(rate, max(traffic.seconds, least, LEAST_OF_TRIAL_S), slo, crew, found)
        else:
            _drive(
                Arrivals(POISSON, rate_per_s=rate),
                max(traffic.seconds / 2, least, LEAST_OF_TRIAL_S),
                SOUGHT,
                crew,
                found,
            )
            outcome = guess(found.levels[-1], found.rows[-1], slo)
        search.take(rate, outcome, again=again)


def _decided(rate: float, seconds: float, slo: Slo, crew: Crew, found: _Found) -> str:
    """What comes of a second look at a rate: trials are added up until they decide, or are too many."""
    looks: list[Rows] = []
    for _ in range(MOST_LOOKS):
        level = _drive(Arrivals(POISSON, rate_per_s=rate), seconds, CONFIRMED, crew, found)
        looks.append(found.rows[-1])
        outcome = promise(level, np.concatenate(looks), slo, mlperf=found.traffic.mlperf)
        found.levels[-1] = replace(level, promise=outcome)
        if outcome != UNDECIDED or found.ended == INTERRUPTED:
            break
    return outcome


def guess(level: Level, rows: Rows, slo: Slo) -> str:
    """Whether a short trial rather kept the promise or broke it."""
    late = _latency_s(rows) > slo.bound_s
    return KEPT if level.ended == "complete" and len(late) and late.mean() <= 1 - slo.quantile else BROKEN


def promise(level: Level, rows: Rows, slo: Slo, *, mlperf: bool) -> str:
    """Whether a level kept what was promised: kept and broken are shown by an interval that lies on one side, or by MLPerf's
    rule; requests that failed count as too slow.
    """
    if level.ended != "complete" or not level.done:
        return BROKEN
    latency_s = _latency_s(rows)
    late = latency_s > slo.bound_s
    if mlperf and within(latency_s, slo.quantile, slo.bound_s):
        return KEPT
    found = steady.steady_quantile(np.minimum(latency_s, FOREVER_S), slo.quantile)
    if found is None:  # too short to tell the quantile; that far more are late than may be is seen sooner
        share = steady.steady_mean(late.astype(np.float64)) if len(late) > 1 and late.any() else None
        return BROKEN if share is not None and share.low > 1 - slo.quantile else UNDECIDED
    if found.low > slo.bound_s:
        return BROKEN
    return KEPT if found.high <= slo.bound_s and not mlperf else UNDECIDED


def _latency_s(rows: Rows) -> Floats:
    """Latencies in the order in which requests were due, infinite for those that failed."""
    asked = rows[rows["outcome"] != records.CUT_OFF]
    asked = asked[np.argsort(asked["due_ns"], kind="stable")]
    latency: Floats = np.where(asked["outcome"] == records.OK, (asked["done_ns"] - asked["due_ns"]) / 1e9, np.inf)
    return latency


def _shrink(found: _Found) -> None:
    """Keep every second row of the largest level, and again, while all of them hold too many."""
    while sum(map(len, found.rows)) > MOST_ROWS:
        at = max(range(len(found.rows)), key=lambda number: len(found.rows[number]))
        found.rows[at] = found.rows[at][::2].copy()
        found.levels[at] = replace(found.levels[at], thinned=found.levels[at].thinned * 2)
