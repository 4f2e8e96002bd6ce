"""V102: the latency drifted while it was measured, or others disturbed it."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.diagnose import any_of
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="V102",
    title="not stationary",
    question="Did the latency change while it was measured, or was it disturbed?",
    bound="measurement",
    cells=(),
    needs=("measurement.drift_share", "measurement.disturbed_share"),
    remedies=("measure-longer", "quiet-machine"),
)
def not_stationary(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """Typical latency in the second half of the run differs from the first half, or requests wait for others' work.

    **Mechanism.** Means, percentiles and shares describe a system that stays as it is. If caches still fill, memory
    grows, the clock is lowered or a neighbour comes and goes, one figure for the whole run describes none of it. The
    warm-up has been cut off already; this is what is left. Where requests wait for a CPU that others have for a good part
    of their time, the machine is too noisy to tell what else they do.
    **Looks like it, is not.** Noise that comes and goes widens the intervals but moves both halves alike (V104). A slow
    first request is the start, not a drift. A neighbour who takes most of the time is the answer itself (C109), and the
    run counts. A system that slows down for good with every request has a leak, and a
    longer run makes it plainer.
    **Confirm.** Measure again for longer: a warm-up ends, a neighbour goes, a leak goes on.
    **Remedies.** Use a larger budget, a quiet machine, a fixed clock. If the drift stays, it is the finding: look at
    memory and at temperature over time.
    """
    drifted = Evidence(signals["measurement.drift_share"], "above", limits.drift_share)
    disturbed = Evidence(signals["measurement.disturbed_share"], "above", limits.leading_share)
    yield from (drifted,) if disturbed.signal.quantity is None else any_of(drifted, disturbed)
