"""C111: the smallest floats take many times longer."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="C111",
    title="denormal floats",
    question="Does the model take longer because of values that are all but zero?",
    bound="cpu",
    cells=(("model", "cpu"), ("model", "memory")),
    needs=("model.share", "model.denormal_share"),
    remedies=("flush-denormals",),
)
def denormal_floats(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The same operators on the same inputs are faster when denormal floats are taken for zero.

    **Mechanism.** Floats below the smallest normal one (1e-38 for float32) have fewer digits, and many processors leave
    the fast path for each of them: up to a hundred times slower, on some hardly at all. They come from weights that
    training drove towards zero, from padding, and from states that fade away. Runs of the session as it is take turns
    with runs on the same inputs that take such values for zero.
    **Looks like it, is not.** A kernel that is slow on every value is a slow path (C114), and arithmetic that must be
    done is C101: neither gets faster by this.
    **Confirm.** Send inputs without such values, or clean the weights: latency must fall as it did here.
    **Remedies.** Have the session take denormals for zero (session.set_denormal_as_zero), set small weights to zero
    before exporting, scale the inputs. Answers change by less than float32 can tell in nearly all models.
    """
    yield Evidence(signals["model.share"], "above", limits.trivial_share)
    yield Evidence(signals["model.denormal_share"], "above", limits.trivial_share)
