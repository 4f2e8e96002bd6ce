"""M102: moving intermediate results takes the time."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="M102",
    title="activations streamed",
    question="Is the model held up by moving its intermediate results through memory?",
    bound="memory",
    kind="limit",
    cells=(("model", "memory"),),
    needs=("model.memory_share", "model.activations_share"),
    remedies=("fuse-operators", "smaller-model"),
    lookalikes=("C107", "C112", "M104"),
)
def activations_streamed(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The model runs at the memory floor of its inputs, outputs and intermediate results.

    **Mechanism.** Operators that compute little for each element (additions, activations, normalisation, transposes)
    read a tensor and write another. If these do not fit into the cache, each such operator costs a trip through memory,
    at the bandwidth measured here. Unlike weights, these bytes grow with the batch, so batching does not help.
    **Looks like it, is not.** Weights are M101. Results that fit into the cache are moved far faster: then small
    operators cost their dispatch (C105). Memory that is allocated anew and cleared by the kernel is M104. Operators
    that the runtime would fuse if it were allowed to are C112.
    **Confirm.** Fuse two neighbouring operators, or shrink the tensors with the same graph: the time must follow the
    bytes. A faster CPU at the same bandwidth must change little.
    **Remedies.** Fuse chains into one kernel, keep a layout throughout instead of transposing, work in place, use
    16-bit activations or smaller inputs.
    """
    yield Evidence(signals["model.memory_share"], "above", limits.trivial_share)
    yield Evidence(signals["model.activations_share"], "above", limits.leading_share)
