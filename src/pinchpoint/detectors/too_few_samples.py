"""V104: too little was measured for an answer."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import any_of
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="V104",
    title="too few samples for what was asked",
    question="Are there too few requests, or too much noise, to answer?",
    bound="measurement",
    cells=(),
    needs=("measurement.samples", "measurement.noise_share"),
    remedies=("measure-longer", "quiet-machine"),
)
def too_few_samples(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Fewer steady requests than the asked statistic needs, or an interval too wide to show a gain.

    **Mechanism.** A percentile needs enough requests beyond it to exist at all, and every cell of the ledger needs
    enough to be told from its neighbours. With less, an honest interval spans several causes, and whatever is named is
    a guess.
    **Looks like it, is not.** A drift makes intervals wide as well, and more of the same does not help then (V102). A
    tail that cannot be resolved does not put typical latency in doubt.
    **Confirm.** Measure four times as long: the intervals must halve.
    **Remedies.** Use a larger budget, or ask for a lower percentile. On a noisy machine find quiet first: noise costs
    more requests than patience has.
    """
    yield from any_of(
        Evidence(signals["measurement.samples"], "below", limits.enough_samples),
        Evidence(signals["measurement.noise_share"], "above", limits.noise_share),
    )
