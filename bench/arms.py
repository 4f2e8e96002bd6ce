"""Two arms on one target, interleaved A B B A: what switching something on does to the median latency."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from bench.tool import scratch
from pinchpoint import plugins, stats
from pinchpoint.contracts import Plan, Probe
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import Ints
from pinchpoint.domain.target import TargetSpec
from pinchpoint.domain.workload import Workload
from pinchpoint.process import Child, Ended
from pinchpoint.record import SLICE_S, TELEMETRY_EVERY_S
from pinchpoint.sampling import Sampler

ON, OFF, WARM = 32, 64, 128  # flags of requests, beyond those that the tool uses
WARM_S = 1.0
TIMEOUT_S = 60.0
LEAST_CYCLES = 4  # of A B B A: an interval from fewer is as wide as the overhead
Run = Callable[[], object]
Switch = Callable[[], AbstractContextManager[object]]


def orders(cycles: int, seed: int) -> list[tuple[bool, ...]]:
    """For each cycle whether its four slices are on: A B B A or B A A B, by chance."""
    rng = random.Random(seed)
    return [(first, not first, not first, first) for first in (rng.random() < 0.5 for _ in range(cycles))]


def overhead(cycles: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Quantity:
    """The relative cost from each cycle's latencies with it on and off: exp of the mean log ratio of medians, less one."""
    ratios = [math.log(float(np.median(on)) / float(np.median(off))) for on, off in cycles if len(on) and len(off)]
    mean = stats.mean_interval(ratios)
    return Quantity(
        math.expm1(mean.value), math.expm1(mean.low), math.expm1(mean.high), sum(len(on) for on, _ in cycles)
    )


# --- the tool itself -----------------------------------------------------------------------------------------------
class Watching:
    """What records while a slice is on: the sampler of threads, and the outside counters a few times a second."""

    def __init__(self, child: Child, thread: int, seed: int) -> None:
        self._sampler = Sampler(child.pid, thread, seed)
        self._probes: list[Probe] = []
        self._read = 0.0
        for make in plugins.builtin().probes:
            probe = make()
            try:
                probe.open(child.pid)
            except OSError:
                continue  # what cannot be seen here costs nothing here
            self._probes.append(probe)

    def __enter__(self) -> Watching:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sampler.stop()
        for probe in self._probes:
            probe.close()

    def tick(self) -> None:
        """Read the counters where it is time to."""
        if time.monotonic() - self._read >= TELEMETRY_EVERY_S:
            self._read = time.monotonic()
            for probe in self._probes:
                probe.read()


def recording_overhead(
    target: str, seconds: float, settings: Mapping[str, str] | None = None, seed: int = 0
) -> tuple[Quantity, float]:
    """What the tool's recording costs a target, and the target's median seconds without it."""
    cycles = max(LEAST_CYCLES, round(seconds / (4 * SLICE_S)))
    with scratch() as folder:
        plan = _plan(target, settings or {}, folder)
        child = Child(None)
        try:
            return _driven(child, plan, orders(cycles, seed), seed)
        finally:
            child.close()


def _plan(target: str, settings: Mapping[str, str], folder: object) -> Plan:
    kind = next(each for each in plugins.builtin().targets if each.recognises(target))
    return kind.prepare(TargetSpec(kind.kind, target, tuple(settings.items())), Workload(), folder)  # type: ignore[arg-type]


def _driven(child: Child, plan: Plan, cycles: list[tuple[bool, ...]], seed: int) -> tuple[Quantity, float]:
    loaded = child.ask({"do": "load", "spec": dict(plan.load), "records": str(child.records), "seed": seed}, TIMEOUT_S)
    if "thread" not in loaded:
        raise Ended(str(loaded))
    _pace(child, WARM_S, 0.0, WARM, lambda: None)
    marks = []
    for number, cycle in enumerate(cycles):
        for on in cycle:
            if on:
                with Watching(child, int(loaded["thread"]), seed + number) as watching:
                    _pace(child, SLICE_S, Workload().observe, ON, watching.tick)
            else:
                _pace(child, SLICE_S, 0.0, OFF, lambda: None)
        marks.append(len(child.rows("requests", 4)))
    rows = child.rows("requests", 4)
    return overhead(by_cycle(rows, marks)), float(np.median((rows[:, 2] - rows[:, 1])[rows[:, 3] & OFF != 0])) / 1e9


def by_cycle(rows: Ints, marks: Sequence[int]) -> list[tuple[list[float], list[float]]]:
    """Latencies of each cycle, on and off, from rows of index, begin, end and flags; `marks` are the cycles' ends."""
    latency, flags = (rows[:, 2] - rows[:, 1]) / 1e9, rows[:, 3]
    found = []
    for begin, end in zip([0, *marks], marks, strict=False):
        part, of = latency[begin:end], flags[begin:end]
        found.append((part[of & ON != 0].tolist(), part[of & OFF != 0].tolist()))
    return found


def _pace(child: Child, seconds: float, observe: float, flag: int, tick: Callable[[], None]) -> None:
    command = {"do": "pace", "seconds": seconds, "count": 10**9, "observe": observe, "flag": flag}
    reply = child.ask(command, TIMEOUT_S, tick, progress=True)
    if "ended" in reply or "failed" in reply:
        raise Ended(str(reply))


# --- anything else, in this process --------------------------------------------------------------------------------
def switched_overhead(off: Run, on: Run, seconds: float, switch: Switch = nullcontext, seed: int = 0) -> Quantity:
    """What `on` under `switch` costs over `off`, both called in this process in slices as long as the tool's."""
    cycles = []
    for cycle in orders(max(LEAST_CYCLES, round(seconds / (4 * SLICE_S))), seed):
        arms: tuple[list[float], list[float]] = ([], [])
        for is_on in cycle:
            with switch() if is_on else nullcontext():
                arms[0 if is_on else 1].extend(_timed(on if is_on else off))
        cycles.append(arms)
    return overhead(cycles)


def _timed(run: Run) -> list[float]:
    """Seconds of each call in a slice, its first aside."""
    run()
    found: list[float] = []
    deadline = time.perf_counter() + SLICE_S
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found
