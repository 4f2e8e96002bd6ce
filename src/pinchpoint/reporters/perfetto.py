"""A run's time line as JSON of the Trace Event Format, which https://ui.perfetto.dev and chrome://tracing open.

A group of tracks is a process there and a track a thread; their numbers are ours, since one thread of the target has several
tracks. Times are microseconds after the run's first moment. The file is plain ASCII: names are cleaned, and whatever else is
not ASCII is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from pinchpoint.contracts import TraceReporter
from pinchpoint.domain.track import Facts, Trace
from pinchpoint.reporters.layout import clean, shortened

FIRST_TRACK = (
    1001  # apart from the groups, whose numbers begin at 1: a thread numbered as its process counts as its main one
)
LONGEST = 200
US = 1e3

Event = dict[str, object]


def render(trace: Trace) -> str:
    """The trace as a JSON object, one event a line, in order of time."""
    events = [*_names(trace), *sorted(_events(trace), key=_order)]
    about = {
        "run": clean(trace.run),
        "target": _name(trace.target),
        "clock": f"microseconds; 0 is {trace.begin_ns} ns of CLOCK_MONOTONIC",
        **{_name(key): _value(value) for key, value in trace.facts},
        "left out": [_name(words) for words in trace.left_out] or "nothing",
    }
    lines = ",\n".join(_json(event) for event in events)
    return f'{{"displayTimeUnit": "ms",\n"otherData": {_json(about)},\n"traceEvents": [\n{lines}\n]}}'


PERFETTO = TraceReporter("perfetto", render)


def _names(trace: Trace) -> Iterator[Event]:
    """What processes and threads are called, and their order from top to bottom."""
    groups = _groups(trace)
    for group, pid in groups.items():
        yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": _name(group)}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    for tid, track in enumerate(trace.tracks, start=FIRST_TRACK):
        pid = groups[track.group]
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": _name(track.name)}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}


def _events(trace: Trace) -> Iterator[Event]:
    """Slices as complete events, and points of series as counters."""
    groups = _groups(trace)
    for tid, track in enumerate(trace.tracks, start=FIRST_TRACK):
        pid = groups[track.group]
        for each in track.slices:
            yield {
                "ph": "X", "name": _name(each.name), "cat": _name(track.group), "ts": each.begin_ns / US,
                "dur": (each.end_ns - each.begin_ns) / US, "pid": pid, "tid": tid, "args": _arguments(each.facts),
            }  # fmt: skip
    for series in trace.series:
        name, measure, pid = _name(series.name), _name(series.measure), groups[series.group]
        for t_ns, value in series.points:
            yield {"ph": "C", "name": name, "ts": t_ns / US, "pid": pid, "tid": 0, "args": {measure: value}}


def _order(event: Event) -> tuple[float, float]:
    """By begin; of those that begin together, what lasts longer holds the others."""
    ts, duration = event["ts"], event.get("dur", 0.0)
    assert isinstance(ts, float)
    assert isinstance(duration, float)
    return ts, -duration


def _groups(trace: Trace) -> dict[str, int]:
    """The groups in their order, each with its number."""
    names = dict.fromkeys([each.group for each in trace.tracks] + [each.group for each in trace.series])
    return {name: number for number, name in enumerate(names, start=1)}


def _arguments(facts: Facts) -> dict[str, object]:
    return {_name(key): _value(value) for key, value in facts}


def _value(value: str | float) -> str | float:
    return _name(value) if isinstance(value, str) else value


def _name(text: str) -> str:
    """Text of the target without control characters, and not longer than anyone reads."""
    return shortened(clean(text), LONGEST)


def _json(value: object) -> str:
    """JSON in ASCII; ValueError on a number that is not finite."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
