"""The operator arm: a session's profiled twin, visited in the child, as operators with their times and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pinchpoint import runtime_profile, torch_profile
from pinchpoint.arms import TORCH
from pinchpoint.domain.operator import Node
from pinchpoint.domain.quantity import exact
from pinchpoint.domain.run import OperatorArm, OperatorTime
from pinchpoint.domain.target import Session
from pinchpoint.errors import BadInput
from pinchpoint.graphs import read_nodes
from pinchpoint.process import Child
from pinchpoint.stats import mean_interval
from pinchpoint.timeline import typical_of
from pinchpoint.torch_costs import WHOLE

OPERATOR_EVENTS = 40_000
MOST_OPERATOR_RUNS = 2000
UNACCOUNTED_SHARE = 0.05
USUAL_OPERATORS = 200  # of a graph that nobody has counted


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit to the twin of the session of this number; at the last one it is closed and what it found is told."""

    number: int
    seconds: float
    timeout_s: float
    last: bool


def visit(
    child: Child, session: Session, operators: int | None, plan: Visit
) -> tuple[tuple[OperatorTime, ...], OperatorArm] | None:
    """The operators of a session and its arm, after the last visit; None before, and where it was not profiled."""
    counted = operators or (1 if session.runtime == TORCH else USUAL_OPERATORS)
    runs = max(3, OPERATOR_EVENTS // max(counted, 1))
    command = {
        "do": "profile",
        "session": plan.number,
        "prefix": str(child.records / f"profile-{plan.number}"),
        "seconds": plan.seconds,
        "most_runs": min(runs, MOST_OPERATOR_RUNS),
        "last": plan.last,
        "whole": WHOLE,
    }
    arm = child.ask(command, plan.timeout_s).get("profile")
    if not arm:
        return None
    path = Path(str(arm["path"]))
    walls, cpus = np.array(arm["seconds"]), np.array(arm["cpu_seconds"])
    typical, around = typical_of(walls), (0.0, 0.0)
    if session.runtime == TORCH:
        profiled = torch_profile.read(path, plan.number, typical)
        rows, around = profiled.operators, (profiled.modules, profiled.tensors)
    else:
        rows = runtime_profile.operators(path, plan.number, int(arm["warm_runs"]), typical)
        if _unaccounted_share(rows) > UNACCOUNTED_SHARE:
            nodes = _nodes(child, plan)
            rows = runtime_profile.operators(path, plan.number, int(arm["warm_runs"]), typical, nodes)
    path.unlink(missing_ok=True)
    walls, cpus = walls[typical], cpus[typical]
    return rows, OperatorArm(
        plan.number,
        len(walls),
        mean_interval(walls) if len(walls) > 1 else exact(float(walls[0])),
        float(min(cpus.sum() / walls.sum(), 1.0)),
        sum(row.cost.weight_bytes + row.cost.activation_bytes for row in rows if row.cost is not None),
        _optimised(child, session, plan),
        *around,
    )


def _unaccounted_share(rows: Sequence[OperatorTime]) -> float:
    """The share of the profiled time in operators whose cost is not known."""
    whole = sum(row.seconds.value for row in rows)
    return sum(row.seconds.value for row in rows if row.cost is None) / whole if whole else 0.0


def _nodes(child: Child, plan: Visit) -> Mapping[str, Node]:
    """The nodes of a session's optimised graph, which the runtime writes out on demand; none where it cannot."""
    path = child.records / f"graph-{plan.number}.onnx"
    reply = child.ask({"do": "dump", "session": plan.number, "path": str(path)}, plan.timeout_s)
    if "failed" in reply or not path.exists():
        return {}
    try:
        return read_nodes(path)
    except BadInput:
        return {}
    finally:
        path.unlink(missing_ok=True)


def _optimised(child: Child, session: Session, plan: Visit) -> tuple[tuple[str, float, float, float], ...] | None:
    """Operators that full graph optimisation would leave, where the session runs with less; None where it has it."""
    if session.optimization == "all":
        return None
    prefix = child.records / f"optimised-{plan.number}"
    reply = child.ask({"do": "optimise", "session": plan.number, "prefix": str(prefix)}, plan.timeout_s)
    if not reply.get("path"):
        return None
    path = Path(str(reply["path"]))
    rows = runtime_profile.kinds_and_costs(path)
    path.unlink(missing_ok=True)
    return tuple(
        (kind, cost.flops, cost.weight_bytes, cost.activation_bytes) if cost else (kind, 0.0, 0.0, 0.0)
        for kind, cost in rows
    )
