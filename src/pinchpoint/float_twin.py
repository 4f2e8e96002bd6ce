"""A quantised operator -> what the same operation would take in float32, from the ceilings; converting would not be needed."""

from __future__ import annotations

import math
from dataclasses import replace

from pinchpoint import roofline
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.split import SessionSplit, Split
from pinchpoint.flop_counts import INT8_KINDS

CONVERTING = frozenset(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"))
PACKED = frozenset(("MatMul", "Gemm", "Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul"))
WIDER = 4.0  # bytes of a float32 for each of an int8
WELL_FED, USUAL, POOR = 1.0, 1.3, 2.5  # times the floor that kernels reach, as for replaced operators


def is_quantised(item: Split) -> bool:
    """Whether an operator computes in int8, or converts to or from it."""
    return item.operator.kind in INT8_KINDS or item.operator.kind in CONVERTING


def float_factor(item: Split, session: SessionSplit) -> Quantity | None:
    """The factor on an operator's time that float32 would bring; None where it is not quantised or its cost is not known."""
    if item.operator.kind in CONVERTING:
        return exact(0.0)
    cost = item.operator.cost
    if cost is None or item.seconds.value <= 0:
        return None
    if item.operator.kind in PACKED and cost.weight_bytes == 0 and _converts(session):
        return _packed(item)
    if item.operator.kind not in INT8_KINDS:
        return None
    wide = replace(
        cost,
        arithmetic="float32",
        weight_bytes=cost.weight_bytes * WIDER,
        activation_bytes=cost.activation_bytes * WIDER,
    )
    floors = roofline.floors_of(wide, session.arm.working_set_bytes * WIDER, session.ceilings)
    if floors is None:
        return None
    usual, best, worst = (floors.higher * times / item.seconds.value for times in (USUAL, WELL_FED, POOR))
    return Quantity(usual, best, worst, item.seconds.n)


def _converts(session: SessionSplit) -> bool:
    return any(item.operator.kind in CONVERTING for item in session.splits)


def _packed(item: Split) -> Quantity | None:
    """For a product whose weights are converted in each request: constants can be packed, which gains anything or nothing."""
    if item.floors is None:
        return None
    best = min(item.floors.higher / item.seconds.value, 1.0)
    return Quantity(math.sqrt(best), best, 1.0, item.seconds.n)
