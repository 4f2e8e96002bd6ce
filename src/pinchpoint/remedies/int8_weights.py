"""Weights in 8 bits: a quarter of the bytes to read."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Tables, remedy
from pinchpoint.domain.change import Change
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.split import SessionSplit, Split
from pinchpoint.remedies.operators import bounded, told_apart, whole

BYTES_LEFT = 0.25


@remedy("int8-weights", words="int8 weights (check the answers)")
def int8_weights(tables: Tables, finding: Finding) -> Iterator[Change]:
    """A quarter of the weight bytes, from wherever the smaller set then fits; arithmetic at its int8 peak at best, and
    unchanged at worst. Quantising the activations costs their bytes once more.
    """
    edits = tuple(
        whole(item, _factor(session, item), anchored=True) for session, item in told_apart(tables) if _has_weights(item)
    )
    if edits:
        yield Change("int8-weights", finding.code, "int8 weights (check the answers)", "estimate", edits)


def _has_weights(item: Split) -> bool:
    cost = item.operator.cost
    return item.floors is not None and cost is not None and cost.weight_bytes > 0 and cost.arithmetic == "float32"


def _factor(session: SessionSplit, item: Split) -> Quantity:
    assert item.floors is not None
    assert item.operator.cost is not None
    now = session.ceilings.at("read_bytes_per_s", session.arm.working_set_bytes)
    then = session.ceilings.at("read_bytes_per_s", session.arm.working_set_bytes * BYTES_LEFT)
    faster = now.value / then.value if now and then else 1.0
    float32, int8 = (session.ceilings.value("flops_per_s", dtype) for dtype in ("float32", "int8"))
    arithmetic = float32.value / int8.value if float32 and int8 else 1.0
    memory, cpu = item.floors.weights.value, item.floors.arithmetic.value
    seconds = max(item.seconds.value, 1e-12)
    rest = max(seconds - max(memory, cpu), 0.0)
    least = max(memory * BYTES_LEFT * min(faster, 1.0), cpu * min(arithmetic, 1.0))
    most = memory * BYTES_LEFT + cpu + rest + item.floors.activations.value
    return bounded((least * most) ** 0.5 / seconds, least / seconds, min(most / seconds, 1.0), item.seconds.n)
