"""C102: making the model's input takes the time."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C102",
    title="preprocessing heavy",
    question="Does computing the model's input take a good part of the request?",
    bound="cpu",
    cells=(("preprocess", "cpu"),),
    needs=("preprocess.cpu_share",),
    remedies=("faster-preprocessing",),
)
def preprocessing_heavy(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The request's thread computes in the preprocessing stage, before the model can start.

    **Mechanism.** Decoding, resizing, tokenising and feature building run on the CPU, often in one thread and in
    interpreted code, for every request. The time is taken from the thread's own CPU clock at the ends of the stage, so
    waiting inside of it is not counted.
    **Looks like it, is not.** A stage that is long because it waits: for files (I101), for another service (I105), or
    for a CPU (C106, C108, C109). Decoding JSON or base64 is C104. A stage whose CPU time goes into fresh memory is
    M104.
    **Confirm.** Replay the stage: keep its result for an input in memory and serve it again, beside an arm that does
    the same look-up and still computes. The latency must fall by the stage's time.
    **Remedies.** Do less (decode at the size that is needed), vectorise, use a faster library, cache results that come
    again, move the work off the request or into the model's graph.
    """
    yield Evidence(signals["preprocess.cpu_share"], "above", limits.leading_share)
