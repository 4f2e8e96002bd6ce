"""C103: making the answer from the model's output takes the time."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C103",
    title="postprocessing heavy",
    question="Does computing the answer from the model's output take a good part of the request?",
    bound="cpu",
    cells=(("postprocess", "cpu"),),
    needs=("postprocess.cpu_share",),
    remedies=("faster-postprocessing",),
)
def postprocessing_heavy(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The request's thread computes in the postprocessing stage, after the model is done.

    **Mechanism.** Sorting scores, merging boxes, decoding tokens or drawing masks runs on the CPU, often element by
    element in interpreted code. It grows with the output, not with the model: a small model with a large output is
    typical. The time is from the thread's own CPU clock.
    **Looks like it, is not.** Writing the answer as JSON or protobuf is C104. A stage that waits for a disk, a service,
    a lock or a CPU spends no CPU time and is I106, I105, W104 or C109. A stage whose CPU time goes into fresh memory is
    M104.
    **Confirm.** Replay the stage: serve a kept result for a known output, beside an arm that does the same look-up and
    still computes. The latency must fall by the stage's time.
    **Remedies.** Vectorise, cut the output down early (top k before sorting, thresholds before merging), or make the
    step part of the model's graph.
    """
    yield Evidence(signals["postprocess.cpu_share"], "above", limits.leading_share)
