"""Traffic + address -> LoadRun: greet the target, measure the client, then one level after the other, or the search of a rate."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pinchpoint import stats
from pinchpoint.domain.arrivals import CLOSED, POISSON, Arrivals
from pinchpoint.domain.run import Environment, Ints
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
from pinchpoint.load import greeting, grpc_greeting, payloads, records, self_proof
from pinchpoint.load.addresses import Address, is_local, resolved
from pinchpoint.load.crew import ROW, Crew, Rows, Seen
from pinchpoint.load.histogram import BUCKETS
from pinchpoint.load.search import BROKEN, KEPT, UNDECIDED, Search

HOPELESS = 100  # requests of a level that all failed: it is given up
OVERDUE = 10  # times the promised latency that a request waits: the rate is beyond what the target can do
OVERDUE_S = 2.0  # without a promise
PROBE_S = 1.0  # one request in flight, before a rate is looked for
LEAST_OF_TRIAL_S = 1.0
MOST_ROWS = 8_000_000  # of all levels together: past it, the earlier levels of a search are thinned

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sending:
    """What goes where, secrets included: this stays in memory."""

    address: Address
    bodies: tuple[payloads.Payload, ...]
    headers: tuple[payloads.Header, ...]
    ca: str | None = None
    insecure: bool = False


@dataclass(slots=True)
class _Found:
    """What came of the levels so far."""

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
    single = all(each.loop == CLOSED and each.concurrency == 1 for each in traffic.levels) and len(traffic.levels) == 1
    if not single or traffic.slo:
        what = "it is another machine: more than one request in flight may harm who else uses it"
        raise BadInput(what=what, where=address.uri, todo="Permit a rate with --max-rate, or leave it at one in flight")


def drive(traffic: Traffic, sending: Sending, naming: Naming, say: Say) -> LoadRun:
    """Send the traffic and return what became of it. Raises what `greeting.greet` raises; an interrupt after the first answer
    ends the run early, and is said in `ended`.
    """
    address = sending.address
    hosts = resolved(address)
    permitted(traffic, address, hosts)
    requests = _requests(traffic, sending)
    say("first request")
    greeted = _greeted(traffic, sending, hosts, requests[0])
    plan = _plan(traffic, sending, requests, greeted)
    found, client = _Found(), Client(traffic.workers, reason="interrupted")
    try:
        say("what the client can do")
        in_flight = max((each.concurrency for each in traffic.levels), default=0) or self_proof.IN_FLIGHT
        client = self_proof.client(plan, requests[0], greeted.raw, in_flight, traffic.workers)
        _drive_all(traffic, plan, sending, found, say)
    except KeyboardInterrupt:
        found.ended = "interrupted"
    sends, buckets = _tables(found)
    return LoadRun(
        naming.id, naming.created, naming.version, address.kind, address.uri, traffic, naming.environment, sends, buckets,
        tuple(found.levels), client, greeted.server, found.ended, tuple(_notes(traffic, greeted)),
    )  # fmt: skip


def _requests(traffic: Traffic, sending: Sending) -> list[bytes]:
    if sending.address.kind == "grpc":
        return [each.body for each in sending.bodies]
    return [payloads.rendered(sending.address, traffic.method, each, sending.headers) for each in sending.bodies]


def _greeted(traffic: Traffic, sending: Sending, hosts: Sequence[str], request: bytes) -> greeting.Greeting:
    if sending.address.kind == "grpc":
        return grpc_greeting.greet(sending.address, hosts, request, sending.headers, traffic.timeout_s)
    return greeting.greet(sending.address, hosts, request, traffic.timeout_s, tls_context(sending))


def tls_context(sending: Sending) -> ssl.SSLContext | None:
    """How the server's certificate is checked; BadInput for a file of authorities that is none."""
    if not sending.address.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=sending.ca)
    except (OSError, ssl.SSLError) as error:
        why = getattr(error, "strerror", None) or "no certificate in it"
        raise BadInput(what=f"cannot be read: {why}", where=f"--ca {sending.ca}", todo="Give a PEM file") from None
    if sending.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _plan(traffic: Traffic, sending: Sending, requests: Sequence[bytes], greeted: greeting.Greeting) -> dict[str, Any]:
    address = sending.address
    return {
        "kind": address.kind, "requests": [base64.b64encode(each).decode() for each in requests],
        "statuses": list(traffic.statuses), "check": list(traffic.check), "stream": greeted.stream, "host": greeted.host,
        "port": address.port, "unix": address.unix, "tls": address.tls, "name": address.host, "ca": sending.ca,
        "insecure": sending.insecure, "timeout_s": traffic.timeout_s, "seed": traffic.seed, "target": address.target,
        "metadata": [[each.name.lower(), each.value] for each in sending.headers] if address.kind == "grpc" else [],
    }  # fmt: skip


def _notes(traffic: Traffic, greeted: greeting.Greeting) -> list[str]:
    notes = []
    if not greeted.keeps and greeted.server != "grpc":
        notes.append("the server closes the connection after each answer: every request pays for a new one")
    if len(traffic.payloads) > 1:
        notes.append(f"{len(traffic.payloads)} payloads, drawn at random")
    return notes


# --- levels --------------------------------------------------------------------------------------------------------
def cpus_for(workers: int) -> tuple[int, ...]:
    """A CPU of its own for each worker, the last ones, where at least as many are left to the target; none elsewhere."""
    mine = sorted(os.sched_getaffinity(0))
    return tuple(mine[-workers:]) if len(mine) >= 2 * workers + 2 else ()


def _drive_all(traffic: Traffic, plan: Mapping[str, Any], sending: Sending, found: _Found, say: Say) -> None:
    crew = Crew(plan, traffic.workers, cpus_for(traffic.workers))
    try:
        if traffic.slo:
            _search(traffic, traffic.slo, crew, sending, found, say)
        for arrivals in traffic.levels:
            level = _drive(traffic, arrivals, traffic.seconds, MEASURED, crew, sending, found, say)
            if level.ended == "interrupted":
                found.ended = "interrupted"
            if level.ended != "complete":
                break
    finally:
        crew.close()


def _drive(
    traffic: Traffic,
    arrivals: Arrivals,
    seconds: float,
    purpose: str,
    crew: Crew,
    sending: Sending,
    found: _Found,
    say: Say,
) -> Level:
    """Drive one level and keep what came of it."""
    count = traffic.count if purpose == MEASURED else 0
    order = {
        "arrivals": {name: getattr(arrivals, name) for name in arrivals.__slots__},
        "seconds": 0.0 if count else seconds,
        "count": count,
        "spacing_s": 1 / traffic.most_per_s if traffic.most_per_s and arrivals.loop == CLOSED else 0.0,
    }
    seen = crew.drive(order, _watching(traffic, arrivals, say), 2 * traffic.timeout_s + 5)
    level = _level(seen, arrivals, purpose, sending)
    found.levels.append(level)
    found.rows.append(seen.all_rows())
    found.counts.append(seen.counts)
    return level


def _watching(traffic: Traffic, arrivals: Arrivals, say: Say) -> Callable[[Seen, float], str]:
    """What looks at a level while it runs: says how it goes, and stops what leads nowhere."""
    bound_s = max(OVERDUE * traffic.slo.bound_s, OVERDUE_S) if traffic.slo else 0.0
    last = 0.0

    def watch(seen: Seen, seconds: float) -> str:
        nonlocal last
        if seconds - last >= 0.5:
            last = seconds
            say(_live(arrivals, seen, seconds))
        if seen.done >= HOPELESS and seen.failed == seen.done:
            return f"all of the first {seen.done} requests failed"
        behind = seen.counters.get(records.SENT, 0) - seen.done
        if bound_s and arrivals.loop != CLOSED and behind > arrivals.rate_per_s * bound_s + 100:
            return "over-saturated"
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
    waiting = seen.counters.get(records.SENT, 0) - seen.done
    return text + f", {waiting} under way" + (f", {seen.failed} failed" if seen.failed else "")


def _level(seen: Seen, arrivals: Arrivals, purpose: str, sending: Sending) -> Level:
    hidden = payloads.secrets(sending.headers, sending.address)
    statuses = sorted(seen.statuses.items(), key=lambda pair: -pair[1])
    failures = []
    for number, count in enumerate(seen.outcomes):
        if number not in (records.OK, records.CUT_OFF) and count:
            shown = ", ".join(f"{status} ({many})" for status, many in statuses[:5]) if number == records.STATUS else ""
            failures.append(Failure(records.OUTCOMES[number], int(count), payloads.without(shown, hidden)))
    return Level(
        arrivals, purpose, seen.begin_ns, seen.end_ns, seen.counters.get(records.SENT, 0), seen.done, tuple(failures),
        seen.counters.get(records.CPU_NS, 0) / 1e9, seen.counters.get(records.DELAY_NS, 0) / 1e9,
        seen.counters.get(records.CONNECTS, 0), seen.counters.get(records.UNASKED, 0), seen.thinned, seen.lost,
        seen.stopped or "complete",
    )  # fmt: skip


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
def _search(traffic: Traffic, slo: Slo, crew: Crew, sending: Sending, found: _Found, say: Say) -> None:
    """Look for the highest rate within what was promised; its trials are levels of their own."""
    alone = _drive(traffic, Arrivals(CLOSED, 1), PROBE_S, SOUGHT, crew, sending, found, say)
    mean_s = alone.seconds / max(alone.done, 1)
    if alone.ended != "complete" or alone.failures:
        return
    search = Search(0.5 / mean_s, traffic.most_per_s or float("inf"))
    while (following := search.next()) is not None:
        rate, again = following
        say(f"{rate:.4g}/s ({'again' if again else 'looking for the highest rate'})")
        least = stats.samples_needed(slo.quantile) / rate
        seconds = max(traffic.seconds if again else traffic.seconds / 2, least * 1.2, LEAST_OF_TRIAL_S)
        arrivals = Arrivals(POISSON, rate_per_s=rate)
        purpose = CONFIRMED if again else SOUGHT
        level = _drive(traffic, arrivals, seconds, purpose, crew, sending, found, say)
        if level.ended == "interrupted":
            found.ended = "interrupted"
            return
        outcome = kept(level, found.rows[-1], slo)
        found.levels[-1] = replace(level, kept=outcome == KEPT)
        search.take(rate, outcome, again=again)
        _shrink(found)


def kept(level: Level, rows: Rows, slo: Slo) -> str:
    """Whether a trial kept the promise: its interval lies on one side; requests that failed count as too slow."""
    if level.ended != "complete" or not level.done:
        return BROKEN
    asked = rows[rows["outcome"] != records.CUT_OFF]
    late = np.where(asked["outcome"] == records.OK, (asked["done_ns"] - asked["due_ns"]) / 1e9, np.inf) > slo.bound_s
    if not late.any():
        return KEPT if len(asked) >= stats.samples_needed(slo.quantile) else UNDECIDED
    share = stats.mean_interval(late[np.argsort(asked["due_ns"], kind="stable")].astype(np.float64))
    if share.high <= 1 - slo.quantile:
        return KEPT
    return BROKEN if share.low > 1 - slo.quantile else UNDECIDED if share.value > 1 - slo.quantile else KEPT


def _shrink(found: _Found) -> None:
    """Keep every second row of the levels so far, once all of them hold too many."""
    while sum(map(len, found.rows)) > MOST_ROWS:
        found.rows = [rows[::2] for rows in found.rows]
        found.levels = [replace(level, thinned=level.thinned * 2) for level in found.levels]
