"""Run -> Trace: requests, stages, thread states, collections, counters and loads on one time line, of bounded size.

At most 20,000 requests, 60,000 stages, 40,000 thread states, 10,000 collections and 1,000 points of each of 100 counters are
kept: some 30 MB as JSON, however long the run. What is too much is thinned evenly over the run; requests keep the slowest
besides, since those are what a time line is opened for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pinchpoint.domain.run import COLLECTION, CONTROL, FAILED, OBSERVED, SECOND, SITES, Ints, Run, Telemetry, Visit
from pinchpoint.domain.track import Facts, Series, Slice, Trace, Track
from pinchpoint.domain.words import SITE_WORDS
from pinchpoint.server_counters import GAUGES as SERVER_GAUGES
from pinchpoint.units import NS_PER_S

MOST_REQUESTS, SLOWEST = 20_000, 500
MOST_SPANS, MOST_LANES = 60_000, 16
MOST_STATES, MOST_COLLECTIONS, MOST_VISITS = 40_000, 10_000, 1_000
MOST_POINTS, MOST_SERIES = 1_000, 100
LONGEST_GAP_NS = 25_000_000  # between samples: across a longer one nothing is known of a thread
ABOUT, REQUESTS, STATES = "the run", "requests and stages", "thread states (sampled)"
INTERPRETER, IN_FLIGHT, COUNTERS = "interpreter", "several requests in flight", "counters"
# Columns of the telemetry that are what they say at the moment; all others count up, and are shown as what is added a second.
GAUGES = frozenset(
    {"cgroup.memory_bytes", "host.cpus", "host.load_1min", "process.rss_bytes", "process.runnable_threads", "process.threads"}
)  # fmt: skip
KINDS = ("marked", "wrapped", "handed to another thread", "told by the answer")
FLAGS = ((FAILED, "failed"), (SECOND, "second length"), (CONTROL, "control"))
US, MS = 1e3, 1e6
OF_SERVER = "server."


def tracks(run: Run) -> Trace:
    """The run on one time line."""
    begin, end = _extent(run)
    left_out: list[str] = []
    rows = _shown(run, left_out)
    found = [
        *_requests(run, rows, begin, left_out),
        *_states(run, begin, left_out),
        *_collections(run, begin, left_out),
        *_visits(run.ladder[:MOST_VISITS], begin),
    ]
    series = (
        *_in_flight(run.ladder[:MOST_VISITS], begin),
        *_counters(run.telemetry, begin, left_out),
        *_counters(_prefixed(run.told), begin, left_out),
    )
    if len(run.telemetry.t_ns) and end - int(run.telemetry.t_ns[-1]) > LONGEST_GAP_NS:
        last = (int(run.telemetry.t_ns[-1]) - begin) / NS_PER_S
        left_out.append(f"counters were read until {last:.1f} s; a viewer may draw their last values on")
    whole = Slice(
        f"run {run.id}", 0, end - begin, tuple((f"left out {i}", words) for i, words in enumerate(left_out, 1))
    )
    facts: Facts = (("created", run.created), ("pinchpoint", run.version), ("ended", run.ended),
                    *((f"start-up: {phase.name}, s", phase.seconds) for phase in run.startup))  # fmt: skip
    about = Track(ABOUT, "everything", (whole,))
    return Trace(run.id, run.target.uri, begin, (about, *found), series, facts, tuple(left_out))


def _extent(run: Run) -> tuple[int, int]:
    """The first and the last moment of anything that is drawn."""
    begins = [
        run.requests.start_ns,
        run.spans.begin_ns,
        run.samples.t_ns,
        run.telemetry.t_ns,
        run.told.t_ns,
        run.events.begin_ns,
    ]
    ends = [
        run.requests.end_ns,
        run.spans.end_ns,
        run.samples.t_ns,
        run.telemetry.t_ns,
        run.told.t_ns,
        run.events.end_ns,
    ]
    first = [int(each.min()) for each in begins if len(each)] + [visit.begin_ns for visit in run.ladder]
    last = [int(each.max()) for each in ends if len(each)] + [visit.end_ns for visit in run.ladder]
    begin = min(first, default=0)
    return begin, max(last, default=begin)


def evenly(positions: Ints, most: int) -> Ints:
    """At most `most` of the positions, at equal distances."""
    if len(positions) <= most:
        return positions
    return positions[np.linspace(0, len(positions) - 1, max(most, 0)).astype(np.int64)]


# --- requests and stages -------------------------------------------------------------------------------------------
def _shown(run: Run, left_out: list[str]) -> Ints:
    """The rows of the requests that are drawn: evenly, half of them with stages if there are as many, and the slowest."""
    requests, count = run.requests, len(run.requests.index)
    if count <= MOST_REQUESTS:
        return np.arange(count, dtype=np.int64)
    slowest = np.argpartition(requests.end_ns - requests.start_ns, -SLOWEST)[-SLOWEST:].astype(np.int64)
    room = MOST_REQUESTS - SLOWEST
    observed = evenly(np.flatnonzero(requests.observed), room // 2)
    others = evenly(np.flatnonzero(~requests.observed), room - len(observed))
    chosen = np.unique(np.concatenate([slowest, observed, others]))
    left_out.append(f"{len(chosen):,} of {count:,} requests are shown: evenly chosen, and the {SLOWEST} slowest")
    return chosen


def _requests(run: Run, rows: Ints, begin: int, left_out: list[str]) -> Iterator[Track]:
    """A track for the request's thread, with the requests and their stages, and one for each other that worked for them."""
    requests = run.requests
    by_thread: dict[int, list[Slice]] = {run.request_thread: []}
    for row in rows.tolist():
        flags = int(requests.flags[row])
        marks = [words for flag, words in FLAGS if flags & flag]
        name = f"request ({', '.join(marks)})" if marks else "request"
        facts: Facts = (("request", int(requests.index[row])), ("stages recorded", "yes" if flags & OBSERVED else "no"))
        by_thread[run.request_thread].append(_slice(name, requests.start_ns[row], requests.end_ns[row], begin, facts))
    for i in _spans_of(run, rows, left_out).tolist():
        thread = int(run.spans.thread[i])
        by_thread.setdefault(thread, []).append(_span(run, i, begin))
    for thread, slices in by_thread.items():
        own = f"thread {thread} (requests)" if thread == run.request_thread else f"thread {thread}"
        yield from _nested(REQUESTS, own, slices, left_out)


def _spans_of(run: Run, rows: Ints, left_out: list[str]) -> Ints:
    """The rows of the stages that are drawn: all of a request or none, if it has not more than may be drawn at all."""
    spans = run.spans
    mine = np.flatnonzero(np.isin(spans.index, run.requests.index[rows]))
    if len(mine) <= MOST_SPANS:
        return mine
    whose = np.unique(spans.index[mine])
    kept = evenly(whose, int(len(whose) * MOST_SPANS / len(mine)))
    chosen = mine[np.isin(spans.index[mine], kept)]
    if len(chosen) > MOST_SPANS or not len(chosen):
        chosen = mine if not len(chosen) else chosen
        longest = np.argpartition(spans.end_ns[chosen] - spans.begin_ns[chosen], -MOST_SPANS)[-MOST_SPANS:]
        chosen = np.sort(chosen[longest])
    shown = len(np.unique(spans.index[chosen]))
    left_out.append(f"{len(chosen):,} of {len(mine):,} stages are shown, those of {shown:,} of {len(whose):,} requests")
    return chosen


def _span(run: Run, i: int, begin: int) -> Slice:
    """A stage; its CPU time, wait for a CPU and page faults only where they were read."""
    spans = run.spans
    number, kind = int(spans.name[i]), int(spans.kind[i])
    name = run.span_names[number] if number < len(run.span_names) else f"stage {number}"
    facts: list[tuple[str, str | int | float]] = [("request", int(spans.index[i]))]
    facts.append(("seen", KINDS[kind] if kind < len(KINDS) else str(kind)))
    if spans.thread[i] == run.request_thread and spans.begin_cpu_ns[i] >= 0:
        facts.append(("on CPU, us", float(spans.end_cpu_ns[i] - spans.begin_cpu_ns[i]) / US))
        if spans.begin_delay_ns[i] >= 0:
            facts.append(("waited for a CPU, us", float(spans.end_delay_ns[i] - spans.begin_delay_ns[i]) / US))
        if spans.begin_faults[i] >= 0:
            facts.append(("page faults", int(spans.end_faults[i] - spans.begin_faults[i])))
    return _slice(name, spans.begin_ns[i], spans.end_ns[i], begin, tuple(facts))


def _slice(name: str, begin_ns: np.int64, end_ns: np.int64, zero: int, facts: Facts = ()) -> Slice:
    return Slice(name, int(begin_ns) - zero, max(int(end_ns), int(begin_ns)) - zero, facts)


def _nested(group: str, name: str, slices: Iterable[Slice], left_out: list[str]) -> Iterator[Track]:
    """Tracks on which slices lie apart or within each other: as many as overlapping ones need (tasks of an event loop)."""
    lanes: list[list[Slice]] = []
    ends: list[list[int]] = []
    dropped = 0
    for each in sorted(slices, key=lambda one: (one.begin_ns, -one.end_ns)):
        lane = next((n for n, running in enumerate(ends) if _fits(each, running)), None)
        if lane is None and len(lanes) == MOST_LANES:
            dropped += 1
            continue
        if lane is None:
            lane = len(lanes)
            lanes.append([])
            ends.append([])
        lanes[lane].append(each)
        ends[lane].append(each.end_ns)
    if dropped:
        left_out.append(f"{dropped:,} slices of {name}, where more than {MOST_LANES} overlapped")
    for number, kept in enumerate(lanes, start=1):
        yield Track(group, name if number == 1 else f"{name} [{number}]", tuple(kept))


def _fits(each: Slice, running: list[int]) -> bool:
    """Whether a slice lies within what runs on a track; ends that it has passed are forgotten."""
    while running and running[-1] <= each.begin_ns:
        running.pop()
    return not running or each.end_ns <= running[-1]


# --- thread states and the interpreter -----------------------------------------------------------------------------
def _states(run: Run, begin: int, left_out: list[str]) -> Iterator[Track]:
    """What each thread was seen doing; a sample stands for the time since the one before, equal ones are joined."""
    samples = run.samples
    order = np.lexsort((samples.t_ns, samples.thread))
    cuts = np.flatnonzero(np.diff(samples.thread[order])) + 1
    joined = [(int(samples.thread[mine[0]]), *_joined(samples.t_ns[mine], samples.site[mine]))
              for mine in np.split(order, cuts) if len(mine) > 1]  # fmt: skip
    total = sum(len(ends) for _, _, ends, _ in joined)
    share = min(MOST_STATES / total, 1.0) if total else 1.0
    shown = 0
    for thread, begins, ends, sites in joined:
        kept = evenly(np.arange(len(ends), dtype=np.int64), max(int(len(ends) * share), 1)).tolist()
        shown += len(kept)
        slices = tuple(_slice(_doing(int(sites[i])), begins[i], ends[i], begin) for i in kept)
        own = " (requests)" if thread == run.request_thread else ""
        yield Track(STATES, f"thread {thread}{own}", slices)
    if shown < total:
        left_out.append(f"{shown:,} of {total:,} thread states are shown, evenly chosen")


def _joined(t_ns: Ints, sites: Ints) -> tuple[Ints, Ints, Ints]:
    """Begins, ends and sites of a thread's stretches from its samples in order of time."""
    begins, ends, sites = np.maximum(t_ns[:-1], t_ns[1:] - LONGEST_GAP_NS), t_ns[1:], sites[1:]
    first = np.ones(len(ends), dtype=bool)
    first[1:] = (sites[1:] != sites[:-1]) | (begins[1:] > ends[:-1])
    at = np.flatnonzero(first)
    return begins[at], ends[np.append(at[1:] - 1, len(ends) - 1)], sites[at]


def _doing(site: int) -> str:
    name = SITES[site] if 0 <= site < len(SITES) else f"site {site}"
    return SITE_WORDS.get(name, name)


def _collections(run: Run, begin: int, left_out: list[str]) -> Iterator[Track]:
    """Garbage collections with their generation."""
    events = run.events
    mine = np.flatnonzero(events.kind == COLLECTION)
    kept = evenly(mine, MOST_COLLECTIONS)
    if len(kept) < len(mine):
        left_out.append(f"{len(kept):,} of {len(mine):,} garbage collections are shown, evenly chosen")
    slices = [
        _slice("garbage collection", events.begin_ns[i], events.end_ns[i], begin, (("generation", int(events.detail[i])),))
        for i in kept.tolist()
    ]  # fmt: skip
    yield from _nested(INTERPRETER, "garbage collector", slices, left_out)


# --- several requests in flight, counters --------------------------------------------------------------------------
def _visits(visits: Sequence[Visit], begin: int) -> Iterator[Track]:
    """Each stretch with a number of requests in flight."""
    if visits:
        yield Track(IN_FLIGHT, "load", tuple(
            Slice(f"{visit.load} in flight" if visit.load else "left alone", visit.begin_ns - begin, visit.end_ns - begin,
                  tuple(_of_visit(visit)))
            for visit in sorted(visits, key=lambda each: each.begin_ns)
        ))  # fmt: skip


def _of_visit(visit: Visit) -> Iterator[tuple[str, str | int | float]]:
    yield from (("completed", visit.done), ("failed", visit.failed), ("CPU, s", visit.cpu_s))
    if visit.done:
        yield "mean latency, ms", visit.mean_s * MS / US
    for name, seconds in zip(("p50", "p90", "p99"), visit.quantiles_s, strict=False):
        yield f"{name}, ms", seconds * MS / US
    if visit.gil_probes:
        yield "interpreter lock found held", visit.gil_held / visit.gil_probes
    for each in visit.held:
        yield f"{each.kind} {each.name}: held, s", each.held_s
        yield f"{each.kind} {each.name}: waited for, s", each.waited_s


def _in_flight(visits: Sequence[Visit], begin: int) -> Iterator[Series]:
    """The load and the throughput of the visits, back to 0 after each."""
    ordered = sorted((visit for visit in visits if visit.end_ns > visit.begin_ns), key=lambda each: each.begin_ns)
    loads, rates = [float(visit.load) for visit in ordered], [visit.rate for visit in ordered]
    for name, measure, values in (("requests", "in flight", loads), ("requests completed", "a second", rates)):
        points: list[tuple[int, float]] = []
        for visit, value in zip(ordered, values, strict=True):
            points += [(visit.begin_ns - begin, value), (visit.end_ns - begin, 0.0)]
        if points:
            yield Series(IN_FLIGHT, name, measure, tuple(points))


def _prefixed(told: Telemetry) -> Telemetry:
    """What a server itself told, by names that say so."""
    return Telemetry(told.t_ns, tuple((f"{OF_SERVER}{name}", values) for name, values in told.columns))


def _counters(telemetry: Telemetry, begin: int, left_out: list[str]) -> Iterator[Series]:
    """The telemetry: gauges as they are, counters as what is added a second until the next point."""
    kept = evenly(np.arange(len(telemetry.t_ns), dtype=np.int64), MOST_POINTS)
    if len(kept) < len(telemetry.t_ns):
        left_out.append(f"{len(kept):,} of {len(telemetry.t_ns):,} points of each counter are shown, evenly chosen")
    if len(telemetry.columns) > MOST_SERIES:
        left_out.append(f"{MOST_SERIES} of {len(telemetry.columns)} counters are shown")
    times = telemetry.t_ns[kept]
    for name, column in telemetry.columns[:MOST_SERIES]:
        values = column[kept]
        grows = (
            name not in GAUGES
            and name.removeprefix(OF_SERVER) not in SERVER_GAUGES
            and len(values) > 1
            and not np.any(np.diff(values) < 0)
        )
        points = _rates(times, values) if grows else list(zip(times.tolist(), values.tolist(), strict=True))
        sound = tuple((t - begin, value) for t, value in points if np.isfinite(value))
        if sound:
            yield Series(COUNTERS, name, "a second" if grows else "then", sound)


def _rates(times: Ints, values: npt.NDArray[np.float64]) -> list[tuple[int, float]]:
    """What a counter grew by a second, from each moment to the next; moments that coincide are one."""
    apart = np.diff(times) > 0
    rates = np.diff(values)[apart] / (np.diff(times)[apart] / NS_PER_S)
    return list(zip(times[:-1][apart].tolist(), rates.tolist(), strict=True))
