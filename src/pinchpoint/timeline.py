"""Run -> the moments of its observed requests: each with its owner, its seconds, and the clocks read at both ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pinchpoint import stats
from pinchpoint.domain.run import MARKED, NEW_SHAPE, Ints, Run
from pinchpoint.stage_names import UNPLACED, Owner, owner_of, placed

Mask = npt.NDArray[np.bool_]
TYPICAL_FROM, TYPICAL_TO = 0.25, 0.75
FEWEST_WITH_A_MIDDLE = 8
OUTSIDE = Owner(None, "")


@dataclass(frozen=True, slots=True)
class Steady:
    """Which requests of a run count: `main` are answered, of the first input length and after the warm-up; `typical` are
    those between the 25th and the 75th percentile of latency. `warm_up` is how many were cut.
    """

    main: Mask
    typical: Mask
    warm_up: int


@dataclass(frozen=True, slots=True)
class Moments:
    """Stretches of the request thread's time between two clock readings, in order of time; all arrays have one length.

    `request` is the row of the request in `Run.requests`, `owner` a number into `owners`, which has no undecided stages;
    `depth` is how many spans are open.
    """

    owners: tuple[Owner, ...]
    request: Ints
    owner: Ints
    begin_ns: Ints
    end_ns: Ints
    cpu_ns: Ints
    delay_ns: Ints
    faults: Ints
    depth: Ints


@dataclass(frozen=True, slots=True)
class Handed:
    """Stretches of other threads that worked for a request, with the same owners."""

    request: Ints
    thread: Ints
    owner: Ints
    begin_ns: Ints
    end_ns: Ints


def steady(run: Run) -> Steady:
    """Cut the warm-up where the series becomes stationary, and take the middle half. Requests of a new shape may be slow at
    any time: they are no warm-up, except those before the first shape that came again.
    """
    requests = run.requests
    eligible = requests.ok & ~requests.second
    if np.count_nonzero(eligible) > 1:
        eligible[np.argmax(eligible)] = False  # the very first answer is start-up
    positions = np.flatnonzero(eligible)
    known = positions[~first_of_shape(run)[positions]]
    if len(known) * 2 < len(positions):
        known = positions  # nearly all are new: there is nothing that they differ from
    begin = known[stats.warmup_end(requests.latency_s[known])] if len(known) else 0
    cut = int(np.count_nonzero(positions < begin))
    main = np.zeros(len(requests.index), dtype=bool)
    main[positions[cut:]] = True
    typical = main.copy()
    typical[main] = typical_of(requests.latency_s[main])
    return Steady(main, typical, cut)


def first_of_shape(run: Run) -> Mask:
    """Which requests are the first of their shape: of the payload's arrays, or of what they gave to a runtime."""
    requests = run.requests
    found: Mask = np.not_equal(requests.flags & NEW_SHAPE, 0)
    shapes = np.array(run.aside.payload_shapes, dtype=np.int64)
    asked = np.flatnonzero(~requests.second)
    if len(shapes) and len(asked):
        numbers = shapes[requests.index[asked] % len(shapes)]
        _, first = np.unique(numbers, return_index=True)
        found[asked[first[numbers[first] >= 0]]] = True
    return found


def typical_of(seconds: npt.NDArray[np.float64]) -> Mask:
    """Which values lie between the 25th and the 75th percentile; all of them where there are too few to have a middle."""
    if len(seconds) < FEWEST_WITH_A_MIDDLE:
        return np.ones(len(seconds), dtype=bool)
    low, high = np.quantile(seconds, [TYPICAL_FROM, TYPICAL_TO])
    middle: Mask = (seconds >= low) & (seconds <= high)
    return middle


class _Owners:
    """Numbers for owners, and the owner of each stack of spans, computed once a stack."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._by_stack: dict[tuple[tuple[int, int], ...], Owner] = {(): OUTSIDE}
        self.numbers: dict[Owner, int] = {}

    def of(self, stack: Sequence[tuple[int, int]]) -> Owner:
        key = tuple(stack)
        if key not in self._by_stack:
            self._by_stack[key] = owner_of([(self._name(number), kind) for number, kind in key])
        return self._by_stack[key]

    def number(self, owner: Owner) -> int:
        return self.numbers.setdefault(owner, len(self.numbers))

    def _name(self, number: int) -> str:
        return self._names[number] if number < len(self._names) else f"stage {number}"


def moments(run: Run, chosen: Mask) -> tuple[Moments, Handed]:
    """The moments of the observed requests among `chosen`, and what other threads did for them."""
    spans, requests = run.spans, run.requests
    rows = np.flatnonzero(chosen & requests.observed)
    probe_of = {int(index): i for i, index in enumerate(run.probes.index)}
    marked = bool(np.any(spans.kind == MARKED)) or run.target.kind == "onnx"
    of_request: dict[int, list[int]] = defaultdict(list)
    for i in np.argsort(spans.begin_ns, kind="stable"):
        of_request[int(spans.index[i])].append(int(i))
    owners = _Owners(run.span_names)
    main_rows: list[tuple[int, ...]] = []
    handed_rows: list[tuple[int, ...]] = []
    for row in rows:
        index = int(requests.index[row])
        if index not in probe_of:
            continue
        mine = of_request.get(index, [])
        own = [i for i in mine if spans.thread[i] == run.request_thread]
        stages = _one_request(run, int(row), probe_of[index], own, owners, marked, main_rows)
        others = [i for i in mine if spans.thread[i] != run.request_thread]
        if others:
            _other_threads(run, int(row), others, owners, stages, handed_rows)
    names = tuple(owners.numbers)
    return Moments(names, *_columns(main_rows, 8)), Handed(*_columns(handed_rows, 5))


def _one_request(
    run: Run, row: int, probe: int, own: Sequence[int], owners: _Owners, marked: bool, out: list[tuple[int, ...]]
) -> list[tuple[int, int, Owner]]:
    """Append the moments of one request; returns begin, end and owner of each for placing other threads' work."""
    spans, probes, requests = run.spans, run.probes, run.requests
    begin_cpu, begin_delay = int(probes.begin_cpu_ns[probe]), int(probes.begin_delay_ns[probe])
    faults = int(probes.minor_faults[probe] + probes.major_faults[probe])
    readings = []
    for i in own:
        for when, cpu, delay, fault, opens in (
            (spans.begin_ns, spans.begin_cpu_ns, spans.begin_delay_ns, spans.begin_faults, True),
            (spans.end_ns, spans.end_cpu_ns, spans.end_delay_ns, spans.end_faults, False),
        ):
            readings.append((int(when[i]), int(cpu[i]), int(delay[i]), int(fault[i]), i, opens))
    readings.sort(key=lambda reading: reading[0])
    first_fault = _first_fault(run, probe, [reading[3] for reading in readings], faults)
    end_cpu, end_delay = begin_cpu + int(probes.cpu_ns[probe]), begin_delay + int(probes.run_delay_ns[probe])
    readings.insert(0, (int(requests.start_ns[row]), begin_cpu, begin_delay, first_fault, -1, False))
    readings.append((int(requests.end_ns[row]), end_cpu, end_delay, first_fault + faults, -1, False))
    return _between(readings, spans.name, spans.kind, owners, marked, row, out)


def _first_fault(run: Run, probe: int, counts: Sequence[int], total: int) -> int:
    """The fault counter when the request began; older runs do not tell: there, what lies outside of spans is taken as half
    before and half after.
    """
    if len(run.probes.begin_faults):
        return int(run.probes.begin_faults[probe])
    if not counts:
        return 0
    return min(counts) - max(total - (max(counts) - min(counts)), 0) // 2


def _between(
    readings: Sequence[tuple[int, int, int, int, int, bool]],
    names: Ints,
    kinds: Ints,
    owners: _Owners,
    marked: bool,
    row: int,
    out: list[tuple[int, ...]],
) -> list[tuple[int, int, Owner]]:
    """The moments between consecutive readings, each owned by the innermost span that is open then."""
    active: list[int] = []
    found: list[tuple[Owner, int]] = []
    for _, _, _, _, span, opens in readings[:-1]:
        if opens:
            active.append(span)
        elif span in active:
            active.remove(span)
        found.append((owners.of([(int(names[i]), int(kinds[i])) for i in active]), len(active)))
    stages = placed([o for o, _ in found], gaps_are_framework=marked, is_gap=[depth == 0 for _, depth in found])
    placed_owners = []
    for (early, late), (owner, depth), stage in zip(pairwise(readings), found, stages, strict=True):
        final = replace(owner, stage=stage)
        placed_owners.append((early[0], late[0], final))
        delta = [late[k] - early[k] for k in (1, 2, 3)]
        out.append((row, owners.number(final), early[0], late[0], *delta, depth))
    return placed_owners


def _other_threads(
    run: Run,
    row: int,
    others: Sequence[int],
    owners: _Owners,
    moments_of_request: Sequence[tuple[int, int, Owner]],
    out: list[tuple[int, ...]],
) -> None:
    """Append other threads' spans; one whose name tells nothing belongs to the stage that was open when it began."""
    spans = run.spans
    for i in others:
        owner = owners.of([(int(spans.name[i]), int(spans.kind[i]))])
        if owner.stage is None:
            begin = int(spans.begin_ns[i])
            around = next((o for early, late, o in moments_of_request if early <= begin < late), None)
            owner = replace(owner, stage=around.stage if around else UNPLACED, inside_library=True)
        out.append((row, int(spans.thread[i]), owners.number(owner), int(spans.begin_ns[i]), int(spans.end_ns[i])))


def _columns(rows: Sequence[tuple[int, ...]], count: int) -> list[Ints]:
    table = np.array(rows, dtype=np.int64).reshape(len(rows), count)
    return list(table.T)
