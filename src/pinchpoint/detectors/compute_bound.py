"""C101: the model's arithmetic takes the time."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C101",
    title="compute-bound operators",
    question="Is the model held up by the arithmetic that it has to do?",
    bound="cpu",
    kind="limit",
    cells=(("model", "cpu"),),
    needs=("model.cpu_share", "model.arithmetic_efficiency"),
    remedies=("lower-precision", "smaller-model"),
    lookalikes=("C105", "C106", "C107", "C112", "C114"),
)
def compute_bound(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The model's compulsory arithmetic, at this machine's peak, accounts for a good part of its time.

    **Mechanism.** Every operator has a number of multiplications and additions that no implementation can avoid.
    Divided by the most that this runtime does a second here, in this data type and with these threads, they give a time
    that only less or faster arithmetic can shorten. When the model's time is near it, the hardware does honest work:
    this is a limit, not a mistake.
    **Looks like it, is not.** A CPU at 100 % is no evidence: a core that waits for memory counts as busy too, and there
    the arithmetic floor is low (M101, M102). Nor are many tiny operators (C105), an operator on a slow path (C114), or
    a graph with avoidable work (C112). One thread beside idle CPUs is compute-bound as well, but more threads come
    first (C107).
    **Confirm.** Change the arithmetic alone: int8 or bfloat16 with the kernels for it, or fewer FLOPs (a smaller
    input). The time must follow. Moving fewer bytes for the same arithmetic must change little.
    **Remedies.** Lower precision where the CPU has instructions for it (check the answers), a smaller or pruned model,
    more cores, an accelerator. Batches gain little: each item brings its own arithmetic.
    """
    yield Evidence(signals["model.cpu_share"], "above", limits.leading_share)
    yield Evidence(signals["model.arithmetic_efficiency"], "above", limits.attainable_efficiency)
