"""An OTLP file of traces -> the spans that a service noted of our own requests.

The file holds an ExportTraceServiceRequest (or TracesData) as JSON on each line, as the OpenTelemetry Collector's file exporter
and the SDKs' write it (opentelemetry.io/docs/specs/otel/protocol/file-exporter). It is not believed: what is no span is passed
over, and lines, spans and depth are bounded. All of our requests bear the same `traceparent` (W3C Trace Context), so that none
has to be written anew: a span whose parent is ours is the top of one request, and what descends from it is of that request.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from pinchpoint.errors import BadInput

LONGEST_LINE, MOST_BYTES, MOST_SPANS = 8 << 20, 1 << 30, 500_000
LONGEST_NAME, DEEPEST = 200, 64
SAMPLED = "01"
HEADER = "traceparent"


@dataclass(frozen=True, slots=True)
class Traced:
    """A span: its name, the service that noted it, begin and end in nanoseconds since 1970, and how deep below the top."""

    name: str
    service: str
    begin_ns: int
    end_ns: int
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """What our requests say of themselves: their trace, and the span that they are in."""

    trace: str
    span: str

    @classmethod
    def fresh(cls) -> Context:
        """One of its own."""
        return cls(secrets.token_hex(16), secrets.token_hex(8))

    @property
    def header(self) -> str:
        """The value of `traceparent`."""
        return f"00-{self.trace}-{self.span}-{SAMPLED}"


@dataclass(slots=True)
class TraceFile:
    """A file that a service writes its traces to; what is in it already is none of ours."""

    path: Path
    begins_at: int

    @classmethod
    def at(cls, path: Path) -> TraceFile:
        """BadInput where it cannot be read, or is no file (a pipe has no end). One that is not there yet may come."""
        todo = "Give the file that the service writes its traces to"
        try:
            if not path.exists():
                return cls(path, 0)
            if path.is_file():
                return cls(path, path.stat().st_size)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise BadInput(what=f"cannot be read: {why}", where=str(path), todo=todo) from error
        raise BadInput(what="it is no file", where=str(path), todo=todo)

    def requests(self, context: Context) -> tuple[tuple[Traced, ...], ...]:
        """The spans of each request that was added since, the top first; none where nothing was."""
        try:
            with self.path.open("rb") as file:
                anew = file.seek(0, 2) < self.begins_at  # a file that was begun anew
                file.seek(0 if anew else self.begins_at)
                return families(_lines(file), context)
        except OSError:
            return ()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines; one that is too long is passed over."""
    read = 0
    while read < MOST_BYTES and (line := file.readline(LONGEST_LINE)):
        read += len(line)
        if line.endswith(b"\n") or len(line) < LONGEST_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n") and read < MOST_BYTES:
            line = file.readline(LONGEST_LINE)
            read += len(line)


def families(lines: Iterator[bytes], context: Context) -> tuple[tuple[Traced, ...], ...]:
    """The spans of each request of a context, the top first and then by depth; one without its top is left out."""
    children: dict[str, list[tuple[str, Traced]]] = defaultdict(list)
    found = (each for line in lines for each in _spans(line, context.trace))
    for own, parent, span in islice(found, MOST_SPANS):
        children[parent].append((own, span))
    return tuple(tuple(_descent(own, top, children)) for own, top in children.get(context.span, ()))


def _descent(own: str, top: Traced, children: Mapping[str, Sequence[tuple[str, Traced]]]) -> Iterator[Traced]:
    level, depth, seen = [(own, top)], 0, {own}
    while level and depth < DEEPEST:
        yield from (Traced(each.name, each.service, each.begin_ns, each.end_ns, depth) for _, each in level)
        level = [child for parent, _ in level for child in children.get(parent, ()) if child[0] not in seen]
        seen |= {each for each, _ in level}
        depth += 1


def _spans(line: bytes, trace: str) -> Iterator[tuple[str, str, Traced]]:
    """Id, parent's id and span of what a line tells of a trace."""
    if trace.encode() not in line.lower():
        return
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return
    for resource in _objects(told, "resourceSpans"):
        service = _service(resource)
        for scope in _objects(resource, "scopeSpans"):
            for span in _objects(scope, "spans"):
                found = _span(span, service, trace)
                if found is not None:
                    yield found


def _span(span: Mapping[str, Any], service: str, trace: str) -> tuple[str, str, Traced] | None:
    of, own, parent = (str(span.get(name, "")).lower() for name in ("traceId", "spanId", "parentSpanId"))
    if of != trace or not own:
        return None
    begin, end = (_moment(span.get(name)) for name in ("startTimeUnixNano", "endTimeUnixNano"))
    if begin is None or end is None or end < begin:
        return None
    return own, parent, Traced(str(span.get("name", ""))[:LONGEST_NAME], service, begin, end)


def _moment(told: object) -> int | None:
    """A fixed64, which JSON writes as a string; some write a number."""
    if isinstance(told, bool) or not isinstance(told, (int, str)):
        return None
    text = str(told)
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) <= 19 else None


def _service(resource: Mapping[str, Any]) -> str:
    about = resource.get("resource")
    for each in _objects(about, "attributes") if isinstance(about, dict) else ():
        value = each.get("value")
        if each.get("key") == "service.name" and isinstance(value, dict):
            return str(value.get("stringValue", ""))[:LONGEST_NAME]
    return ""


def _objects(told: object, name: str) -> Iterator[Mapping[str, Any]]:
    found = told.get(name) if isinstance(told, dict) else None
    return (each for each in found if isinstance(each, dict)) if isinstance(found, list) else iter(())


@dataclass(frozen=True, slots=True)
class Traces:
    """Where a service writes its traces, and what our requests say of themselves, so that they are found there."""

    file: TraceFile | None = None
    context: Context | None = None
    ahead_ns: int = 0  # of CLOCK_MONOTONIC is the clock that spans are noted by

    @classmethod
    def to(cls, path: str) -> Traces:
        """Those of a file; none where no file is named. BadInput where it cannot be read."""
        if not path:
            return cls()
        return cls(TraceFile.at(Path(path)), Context.fresh(), time.time_ns() - time.monotonic_ns())

    @property
    def headers(self) -> tuple[str, ...]:
        """What our requests bear, as `--header` has it."""
        return (f"{HEADER}: {self.context.header}",) if self.context is not None else ()

    def requests(self) -> tuple[tuple[Traced, ...], ...]:
        """The spans of each of our requests, the top first, by CLOCK_MONOTONIC."""
        if self.file is None or self.context is None:
            return ()
        return tuple(tuple(map(self._here, family)) for family in self.file.requests(self.context))

    def unseen(self, found: Sequence[object]) -> tuple[tuple[str, str], ...]:
        """That none was there, and what that needs."""
        if self.file is None or found:
            return ()
        why = f"{self.file.path} has no span of them: the service must take the header traceparent, and write there meanwhile"
        return (("traces of the requests", why),)

    def _here(self, span: Traced) -> Traced:
        return replace(span, begin_ns=span.begin_ns - self.ahead_ns, end_ns=span.end_ns - self.ahead_ns)
