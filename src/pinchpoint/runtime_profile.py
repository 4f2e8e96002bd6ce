"""Reads ONNX Runtime's own profile: which operators ran, for how long, on which shapes.

The file is written by the user's runtime and is untrusted: bounded in size, and anything that does not fit is left out.
An event costs microseconds (see the `event_s` ceiling), which is still inside the times that this module returns.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from pinchpoint import stats
from pinchpoint.accounting import cost_of, cost_of_profiled
from pinchpoint.domain.operator import BITS, Cost, Node, Tensor
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import OperatorTime

PROFILE_BYTES = 256 << 20
SUFFIX = "_kernel_time"
CONTAINERS = frozenset({"If", "Loop", "Scan"})
BATCHES = 10
NO_NODES: Mapping[str, Node] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Event:
    name: str
    kind: str
    domain: str
    provider: str
    start_us: float
    seconds: float
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameter_bytes: float


def operators(
    path: Path, session: int, warm_runs: int, chosen: npt.NDArray[np.bool_], nodes: Mapping[str, Node] = NO_NODES
) -> tuple[OperatorTime, ...]:
    """One row an operator over the chosen ones of the profiled runs after the warm ones; empty where the profile cannot be
    read or tells of other runs than were made.

    The profile leaves out attributes and pre-packed weights; `nodes` of the optimised graph, by name, make up for it.
    """
    events = read_events(path)
    timed = _run_windows(events)[warm_runs:]
    if len(timed) != len(chosen) or not np.any(chosen):
        return ()
    windows = [window for window, wanted in zip(timed, chosen, strict=True) if wanted]
    starts = np.array([start for start, _ in windows])
    by_name: dict[str, list[list[_Event]]] = defaultdict(lambda: [[] for _ in windows])
    for event in _node_events(events):
        at = int(np.searchsorted(starts, event.start_us, side="right")) - 1
        if at >= 0 and event.start_us <= windows[at][1]:
            by_name[event.name][at].append(event)
    return tuple(_operator(session, name, each, nodes) for name, each in by_name.items())


def kinds_and_costs(path: Path) -> tuple[tuple[str, Cost | None], ...]:
    """Kind and cost of every operator of a single profiled run."""
    return tuple((event.kind, _cost(event, {})) for event in _node_events(read_events(path)))


def read_events(path: Path) -> list[Mapping[str, Any]]:
    """The profile's events; empty where the file is absent, too large or not a profile."""
    try:
        if path.stat().st_size > PROFILE_BYTES:
            return []
        events = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []


def _run_windows(events: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Start and end in microseconds of each run of the model, in order."""
    runs = [e for e in events if e.get("cat") == "Session" and e.get("name") == "model_run"]
    return sorted((float(e["ts"]), float(e["ts"]) + float(e["dur"])) for e in runs)


def _node_events(events: Sequence[Mapping[str, Any]]) -> Iterator[_Event]:
    for event in events:
        name, args = str(event.get("name", "")), event.get("args")
        if event.get("cat") != "Node" or not name.endswith(SUFFIX) or not isinstance(args, dict):
            continue
        kind = str(args.get("op_name", ""))
        if kind in CONTAINERS:
            continue  # its body's operators are events of their own
        domain, _, bare = kind.rpartition(".")
        yield _Event(
            name[: -len(SUFFIX)],
            bare,
            domain,
            str(args.get("provider", "")),
            float(event["ts"]),
            float(event["dur"]) / 1e6,
            _tensors(args.get("input_type_shape")),
            _tensors(args.get("output_type_shape")),
            _bytes(args.get("parameter_size")),
        )


def _tensors(listed: object) -> tuple[Tensor, ...]:
    """Tensors from `[{"float": [1, 4096]}, ...]`."""
    if not isinstance(listed, list):
        return ()
    found = []
    for item in listed:
        if isinstance(item, dict) and len(item) == 1:
            ((dtype, shape),) = item.items()
            if isinstance(shape, list) and all(isinstance(d, int) and d >= 0 for d in shape):
                found.append(Tensor(str(dtype), tuple(shape)))
    return tuple(found)


def _bytes(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0


def _operator(session: int, name: str, runs: Sequence[Sequence[_Event]], nodes: Mapping[str, Node]) -> OperatorTime:
    seconds = np.array([math.fsum(event.seconds for event in run) for run in runs])
    first = next(event for run in runs for event in run)
    calls = sum(len(run) for run in runs) / len(runs)
    cost = _cost(first, nodes)
    if cost is not None and calls > 1:
        cost = _times(cost, calls)
    quantity = stats.mean_interval(seconds, batches=BATCHES) if len(seconds) > 1 else exact(float(seconds[0]))
    return OperatorTime(session, name, first.kind, first.provider, _positive(quantity), calls, cost)


def _positive(quantity: Quantity) -> Quantity:
    return Quantity(quantity.value, max(quantity.low, 0.0), quantity.high, quantity.n)


def _times(cost: Cost, calls: float) -> Cost:
    return Cost(
        cost.flops * calls, cost.weight_bytes * calls, cost.activation_bytes * calls,
        cost.lookups * calls, cost.lookup_bytes * calls, cost.arithmetic,
    )  # fmt: skip


def _cost(event: _Event, nodes: Mapping[str, Node]) -> Cost | None:
    if event.name in nodes:
        return cost_of_profiled(nodes[event.name], event.inputs, event.outputs)
    return cost_of(
        event.kind, event.domain, event.inputs, event.outputs, constants(event.inputs, event.parameter_bytes), {}
    )


def constants(inputs: Sequence[Tensor], parameter_bytes: float) -> tuple[bool, ...]:
    """Which inputs are constants: the profile gives only their summed size, so the smallest set of inputs of that size.

    Later inputs are preferred, since operators take their weights after their data.
    """
    if parameter_bytes <= 0:
        return (False,) * len(inputs)
    sizes = [each.nbytes if each.dtype in BITS else 0 for each in inputs]
    indexes = range(len(inputs) - 1, -1, -1)
    for size in range(1, min(len(inputs), 8) + 1):
        for chosen in combinations(indexes, size):
            if sum(sizes[i] for i in chosen) == parameter_bytes:
                return tuple(i in chosen for i in range(len(inputs)))
    return tuple(i > 0 for i in range(len(inputs)))
