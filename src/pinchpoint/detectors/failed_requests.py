"""V105: requests failed."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="V105",
    title="errors in the responses",
    question="Did too many requests fail?",
    bound="measurement",
    cells=(),
    needs=("measurement.error_share",),
    remedies=("fix-errors",),
)
def failed_requests(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """More requests failed than can be left aside.

    **Mechanism.** A request that fails takes another path: it may return at once, or only after a timeout. Failed
    requests are left out of the latency, so what remains is a selection, and its causes are those of the lucky ones.
    **Looks like it, is not.** Answers that are merely wrong are not seen: pinchpoint does not know what is right.
    Single failures in a long run change nothing in the middle half of the others.
    **Confirm.** Look at the first error in the report, send that input alone, and see it fail.
    **Remedies.** Make the requests succeed first: the inputs (--input), the limits of the server, its timeouts. Then
    measure again.
    """
    yield Evidence(signals["measurement.error_share"], "above", limits.error_share)
