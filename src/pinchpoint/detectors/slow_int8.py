"""C116: int8 is slower than float32 would be."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C116",
    title="int8 slower than fp32",
    question="Would the quantised operators be faster in float32?",
    bound="cpu",
    cells=(("model", "cpu"), ("model", "memory")),
    needs=("model.share", "model.quantised_share", "model.float_gain", "threads.starved_cores"),
    remedies=("float-twin",),
    lookalikes=("C106",),
)
def slow_int8(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Quantised operators and conversions take longer than float32 kernels need for the same operations here.

    **Mechanism.** Int8 pays where the processor multiplies bytes in one instruction and the runtime fuses the
    conversions around each operator. Without such instructions, or with conversions left standing, each tensor is
    turned to and fro, and weights are widened again for every request. What float32 would take follows from this
    machine's float32 peak, four times the bytes, and the distance from the floor that kernels usually keep.
    **Looks like it, is not.** An int8 operator far above its int8 floor can still beat float32: then it is a slow path
    (C114) and int8 stays. Threads that wait for a CPU stretch every operator, so nothing is said while they do (C106).
    **Confirm.** Run the float32 model on the same requests: it must be faster.
    **Remedies.** Use the float32 model, another quantisation format (operators instead of pairs of conversions), no
    per-channel scales, only the large products in int8, or a newer runtime.
    """
    yield Evidence(signals["model.share"], "above", limits.trivial_share)
    yield Evidence(signals["model.quantised_share"], "above", limits.leading_share)
    yield Evidence(signals["model.float_gain"], "above", limits.worthwhile_gain)
    yield Evidence(signals["threads.starved_cores"], "below", limits.contended_cores)
