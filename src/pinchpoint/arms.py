"""What the child tells of the target's runtimes: its sessions, what ceilings they need, and what became known of a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pinchpoint import roofline
from pinchpoint.domain.run import Environment, OperatorTime
from pinchpoint.domain.target import Session, TargetFacts

ONNX, TORCH = "onnxruntime", "torch"


def session_of(item: Mapping[str, Any]) -> Session:
    """A session as the child describes it."""
    return Session(
        str(item["runtime"]),
        str(item["version"]),
        item["model_path"],
        int(item["intra_op_threads"]),
        int(item["inter_op_threads"]),
        str(item["optimization"]),
        tuple(item["providers"]),
        item.get("spinning"),
        str(item.get("form", "")),
        tuple(map(str, item.get("notes", ()))),
    )


def runtimes(
    sessions: Sequence[Session], environment: Environment, *, numpy: bool
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The runtimes whose ceilings the sessions are judged by, each with the thread counts; numpy's, without counts, where
    there is no session but numpy is in use.
    """
    most = max(1, math.floor(environment.effective_cpus))
    for runtime in sorted({session.runtime for session in sessions}):
        used = {
            roofline.threads_of(each, environment.cpus, environment.effective_cpus)
            for each in sessions
            if each.runtime == runtime
        }
        yield runtime, tuple(sorted({1, most, *used}))
    if not sessions and numpy:
        yield ONNX, ()


def with_learned(facts: TargetFacts, learned: Mapping[str, Any], operators: Sequence[OperatorTime]) -> TargetFacts:
    """The facts with what only loading told of a torch module, and the work of a request where all of it is accounted."""
    if learned.get("kind") != TORCH:
        return facts
    known = [row.cost.flops for row in operators if row.cost is not None]
    return replace(
        facts,
        kind=TORCH,
        parameters=int(learned["parameters"]),
        parameter_bytes=int(learned["parameter_bytes"]),
        input_text=str(learned["input_text"]),
        operators=sum(row.calls > 0 for row in operators) or None,
        flops_per_request=math.fsum(known) if known and len(known) == len(operators) else None,
    )
