"""What a server tells of its own counters, read beside the load: a time series on the clock of the run.

It is read at the ends of each stretch of load, when nothing is in flight, and within one about once a second; never while the
server is left alone or is asked unwatched, so that the control arm tells what it costs: at most a hundredth of the time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from pinchpoint.counted import Tally
from pinchpoint.domain.run import Telemetry
from pinchpoint.domain.served import Served
from pinchpoint.errors import BadInput
from pinchpoint.listeners import served_by
from pinchpoint.load.addresses import is_local, parse, resolved
from pinchpoint.load.fetching import page
from pinchpoint.load.payloads import headers
from pinchpoint.load.sending import Sending
from pinchpoint.prometheus_text import Sample, samples
from pinchpoint.self_description import statistics, steps
from pinchpoint.server_counters import (
    KINDS,
    QUEUE,
    TRITON,
    ServerKind,
    kind_by_name,
    kind_of,
    values_of,
    values_of_statistics,
    values_of_step,
)

EVERY_S, OF_TIME = 1.0, 0.01
TIMEOUT_S = 1.0
MOST_FAILURES = 3  # in a row: then it is not asked again

COUNTERS = "what the server itself counts"
Source = Callable[[], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Sources:
    """Who tells what a server counts: what kind of server it is, where that is known, and what reads it."""

    kind: ServerKind | None = None
    read: tuple[Source, ...] = ()

    def unseen(self, counts: Tally) -> tuple[tuple[str, str], ...]:
        """What the server does not tell, or what is not used of it, each with its reason."""
        if self.kind is None:
            return ()
        if not self.read:
            how = f"{self.kind.name} tells it {self.kind.turn_on}; another place is named by --set metrics=URL"
            return ((COUNTERS, how),)
        if counts.reason:
            return ((COUNTERS, counts.reason),)
        queues = not counts.counted or any(each.name == QUEUE for each in counts.counted)
        return () if queues else (("queueing in the server", f"{self.kind.name} does not tell it"),)


def sources(sending: Sending, model: str, served: Served, named: str = "", software: str = "") -> Sources:
    """Triton's statistics of a model, and a page of metrics: the one that is named, or one of a server on this host.

    BadInput where the named one tells nothing that is known.
    """
    kind, read = None, list[Source]()
    if model and statistics(sending, model):
        kind = TRITON
        read.append(lambda: values_of_statistics(statistics(sending, model)))  # of its page, these are finer
        read += [partial(_step, sending, *each) for each in Counter(steps(sending, model)).items()]
    for place in [_named(sending, named)] if named else _places(sending, served):
        told = _samples(place)
        found = kind_of(told)
        if found is not None and values_of(found, told, model):
            kind = found
            read.insert(0, partial(_values, found, place, model))
            break
    else:
        if named:
            known = ", ".join(each.name for each in KINDS)
            todo = f"Check the place; known are those of {known}"
            raise BadInput(what="no counters that are known are told there", where=parse(named).uri, todo=todo)
    names = (*(each.name for each in served.processes), software)
    return Sources(kind or kind_by_name(names), tuple(read))


def _named(sending: Sending, url: str) -> Sending:
    """The place that the user names; headers go to none but the server that they are for."""
    address = parse(url)
    if address.kind != "http":
        raise BadInput(
            what="a page of metrics is read by http", where=address.uri, todo="Name it as http://host:port/metrics"
        )
    ours = sending.address
    same = (address.tls, address.host, address.port) == (ours.tls, ours.host, ours.port)
    return Sending(address, (), sending.headers if same else headers((), address), sending.ca, sending.insecure)


def _places(sending: Sending, served: Served) -> Iterator[Sending]:
    """Where servers on this host tell it: at their own port, or at another one that the same processes listen on."""
    ours = sending.address
    hosts = resolved(ours)
    if not is_local(hosts):
        return
    mine = {each.pid for each in served.processes}
    for port, path in dict.fromkeys(place for kind in KINDS for place in kind.places):
        if port in (None, ours.port):
            if ours.kind == "http":
                yield replace(sending, address=replace(ours, target=path))
        elif not ours.unix and mine & {each.pid for each in served_by(hosts, port).processes}:
            yield Sending(replace(ours, kind="http", port=port, target=path, tls=False), (), ())


def _step(sending: Sending, model: str, times: int) -> Mapping[str, float]:
    return values_of_step(statistics(sending, model), model, times)


def _samples(place: Sending) -> tuple[Sample, ...]:
    return tuple(samples(page(place, TIMEOUT_S) or b""))


def _values(kind: ServerKind, place: Sending, model: str) -> Mapping[str, float]:
    return values_of(kind, _samples(place), model)


@dataclass(slots=True)
class Scraper:
    """Reads sources; a reading that one of them does not answer is left out."""

    sources: Sequence[Source]
    every_s: float = EVERY_S
    _rows: list[tuple[int, Mapping[str, float]]] = field(default_factory=list)
    _failures: int = 0
    _took_s: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)
    _on: threading.Event = field(default_factory=threading.Event)
    _reading: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read."""
        if self.sources:
            self._thread = threading.Thread(target=self._scrape, name="scraper", daemon=True)
            self._thread.start()

    def watch(self, *, on: bool) -> None:
        """One reading now; further ones only while it is on."""
        (self._on.set if on else self._on.clear)()
        self._read()

    def so_far(self) -> Telemetry:
        """What was read until now: the columns that were there throughout."""
        rows = tuple(self._rows)
        if not rows:
            return Telemetry.nothing()
        names = [name for name in rows[0][1] if all(name in values for _, values in rows)]
        columns = tuple((name, np.array([values[name] for _, values in rows])) for name in names)
        return Telemetry(np.array([t for t, _ in rows], dtype=np.int64), columns)

    def stop(self) -> None:
        """End reading."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _scrape(self) -> None:
        while not self._over.wait(max(self.every_s, self._took_s / OF_TIME)):
            if self._on.is_set():
                self._read()

    def _read(self) -> None:
        with self._reading:
            if not self.sources or self._failures >= MOST_FAILURES:
                return
            began = time.monotonic()
            found = [each() for each in self.sources]
            self._took_s = time.monotonic() - began
            if not all(found):
                self._failures += 1
                return
            self._failures = 0
            self._rows.append((time.monotonic_ns(), {name: value for each in found for name, value in each.items()}))
