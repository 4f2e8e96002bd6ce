"""W108: the first request of a shape is slow."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import any_of
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W108",
    title="recompilation or re-planning on new shapes",
    question="Are requests slow because nothing of their shape was asked before?",
    bound="wait",
    cells=(("*", "cpu"), ("*", "wait"), ("*", "memory")),
    needs=("request.new_shape_share", "tail.new_shape_share"),
    remedies=("fixed-shapes",),
)
def new_shapes(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The first request of each shape takes far longer than the next one of that shape.

    **Mechanism.** Compilers, graph planners and caches of kernels work by shape: inputs of a length or size that never
    came before are traced, compiled or planned first, and remembered. With few shapes that is a warm-up; with many it
    strikes requests for as long as new ones come. The shapes of each request's arrays, and of what it hands to a
    runtime, are noted; a first request is compared with a later one of the same payload.
    **Looks like it, is not.** A warm-up makes the first requests slow whatever their shape, and is cut off. Large
    inputs take longer every time they come. An answer that is cached by value is quick for the same values only, so
    where a shape came once, it is asked again with other values.
    **Confirm.** Send the same shapes again, or pad to a few sizes: the slow requests must go.
    **Remedies.** Pad inputs to a few sizes (buckets) and warm each up, export the model with dynamic shapes, raise the
    bound of the cache of compiled shapes.
    """
    typical = Evidence(signals["request.new_shape_share"], "above", limits.most_share)
    slow = Evidence(signals["tail.new_shape_share"], "above", limits.leading_share)
    yield from (typical,) if slow.signal.quantity is None else any_of(typical, slow)
