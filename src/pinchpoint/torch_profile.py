"""Reads what the child noted of a torch module's calls: which operators ran, on what, for how long.

The file comes from the target's own process and is untrusted: bounded in size, and anything that does not fit is left out.
What timing an operator adds to its time (see the `event_s` ceilings) is still inside the times that this module returns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from pinchpoint import stats
from pinchpoint.domain.operator import Cost
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import OperatorTime
from pinchpoint.runtime_profile import BATCHES, PROFILE_BYTES
from pinchpoint.torch_costs import Call, Seen, cost_of

COMPILED = "compiled"
GRAPH = "compiled graph"
PROVIDER = "CPU"


_Run = tuple[int, list[int], int]  # structure, nanoseconds of its operators, page faults of the thread


class _Operator(msgspec.Struct, rename={"inputs": "in", "outputs": "out"}):
    name: str
    kind: str
    inputs: list[tuple[str, list[int], float, bool]]
    outputs: list[tuple[str, list[int], float, bool]]
    alias: bool
    scalars: list[tuple[int, int]]
    faults: int = 0


class _Structure(msgspec.Struct):
    modules: int
    tensors: int
    operators: list[_Operator]


class _Profile(msgspec.Struct):
    form: str
    structures: list[_Structure]
    runs: list[_Run]


@dataclass(frozen=True, slots=True)
class Profiled:
    """Operators of a module's calls, how many modules a call goes through, and how many tensors these hold."""

    operators: tuple[OperatorTime, ...] = ()
    modules: float = 0.0
    tensors: float = 0.0


def read(path: Path, session: int, chosen: npt.NDArray[np.bool_]) -> Profiled:
    """One row an operator over the chosen calls; empty where the file cannot be read or tells of other calls."""
    try:
        if path.stat().st_size > PROFILE_BYTES:
            return Profiled()
        profile = msgspec.json.decode(path.read_bytes(), type=_Profile)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return Profiled()
    if len(profile.runs) != len(chosen):
        return Profiled()
    runs = [run for run, wanted in zip(profile.runs, chosen, strict=True) if wanted and _fits(run, profile)]
    if not runs:
        return Profiled()
    if profile.form == COMPILED:
        return _whole(profile, session, runs)
    modules = sum(profile.structures[number].modules for number, _, _ in runs) / len(runs)
    tensors = sum(profile.structures[number].tensors for number, _, _ in runs) / len(runs)
    return Profiled(_rows(profile.structures, session, runs), modules, tensors)


def _fits(run: _Run, profile: _Profile) -> bool:
    number, took, _ = run
    if not 0 <= number < len(profile.structures):
        return False
    return len(took) == (1 if profile.form == COMPILED else len(profile.structures[number].operators))


def _rows(structures: Sequence[_Structure], session: int, runs: Sequence[_Run]) -> tuple[OperatorTime, ...]:
    costs = [{o.name: _cost(o) for o in structure.operators} for structure in structures]
    first: dict[str, _Operator] = {}
    seconds: dict[str, list[float]] = {}
    for at, (number, took, _) in enumerate(runs):
        for operator, nanoseconds in zip(structures[number].operators, took, strict=True):
            first.setdefault(operator.name, operator)
            seconds.setdefault(operator.name, [0.0] * len(runs))[at] += nanoseconds / 1e9
    # Counted by operator in one call and in all of each timed one: the one says where they are, the other how many.
    once = sum(max(o.faults, 0) for number, _, _ in runs for o in structures[number].operators)
    often = sum(max(run[2], 0) for run in runs) / once if once else 0.0
    found = []
    for name, operator in first.items():
        mine = [costs[number][name] for number, _, _ in runs if name in costs[number]]
        calls = len(mine) / len(runs)
        known = [cost for cost in mine if cost is not None]
        cost = _mean(known, len(runs)) if len(known) == len(mine) else None
        faults = max(operator.faults, 0) * calls * often
        found.append(
            OperatorTime(session, name, operator.kind, PROVIDER, _quantity(seconds[name]), calls, cost, faults=faults)
        )
    return tuple(found)


def _whole(profile: _Profile, session: int, runs: Sequence[_Run]) -> Profiled:
    """A compiled module as one operator: its arithmetic and weights are those of the operators that were compiled, its
    activations at least what it is given and gives. It starts no operators one by one, so its calls are none.
    """
    costs = []
    for number, _, _ in runs:
        operators = profile.structures[number].operators
        each = [cost for operator in operators if (cost := _cost(operator)) is not None]
        if not each:
            continue
        ends = 0.0
        if operators:
            ends = sum(t[2] for t in operators[0].inputs if not t[3]) + sum(t[2] for t in operators[-1].outputs)
        main = max(each, key=lambda cost: cost.flops)
        costs.append(
            Cost(
                sum(c.flops for c in each), sum(c.weight_bytes for c in each), ends,
                sum(c.lookups for c in each), sum(c.lookup_bytes for c in each), main.arithmetic,
            )
        )  # fmt: skip
    cost = _mean(costs, len(runs)) if len(costs) == len(runs) else None
    quantity = _quantity([took[0] / 1e9 for _, took, _ in runs])
    return Profiled((OperatorTime(session, GRAPH, GRAPH, PROVIDER, quantity, 0.0, cost),))


def _cost(operator: _Operator) -> Cost | None:
    if any(size < 0 for each in (*operator.inputs, *operator.outputs) for size in each[1]):
        return None
    inputs, outputs = (
        tuple(Seen(dtype, tuple(shape), max(held, 0.0), weight) for dtype, shape, held, weight in each)
        for each in (operator.inputs, operator.outputs)
    )
    scalars: Mapping[int, int] = dict(operator.scalars)
    return cost_of(Call(operator.kind, inputs, outputs, operator.alias, scalars))


def _mean(costs: Sequence[Cost], runs: int) -> Cost | None:
    """The mean cost over so many runs; of several data types the one with most arithmetic is judged by."""
    if not costs:
        return None

    def mean(amounts: Iterable[float]) -> float:
        return math.fsum(amounts) / runs

    return Cost(
        mean(c.flops for c in costs),
        mean(c.weight_bytes for c in costs),
        mean(c.activation_bytes for c in costs),
        mean(c.lookups for c in costs),
        mean(c.lookup_bytes for c in costs),
        max(costs, key=lambda cost: cost.flops).arithmetic,
    )


def _quantity(seconds: Sequence[float]) -> Quantity:
    values = np.array(seconds)
    if len(values) < 2:
        return exact(float(values[0]))
    found = stats.mean_interval(values, batches=BATCHES)
    return Quantity(found.value, max(found.low, 0.0), found.high, found.n)
