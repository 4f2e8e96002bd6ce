"""V101: the client was the bottleneck."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="V101",
    title="the client was the bottleneck",
    question="Did our own side hold requests up?",
    bound="measurement",
    cells=(),
    needs=("client.used_share",),
    remedies=("stronger-client",),
)
def client_the_limit(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """What sends the requests was too busy to be trusted.

    **Mechanism.** Whoever sends requests uses a CPU too. Where that takes most of its time, answers lie until it comes to
    them, and the latency is its own. How much it can do is measured in each run, against a server that does nothing, with
    the same request and answer.
    **Looks like it, is not.** A server that is slow leaves its client idle, however many requests wait. A client that has to
    share its CPU with the server is slowed down by it: that shows as a CPU taken by others (C109) on either side.
    **Confirm.** Send the same load from two processes, or from another machine: what was the client's goes away.
    **Remedies.** More client processes, a CPU of its own for each, a machine of its own, or less load.
    """
    yield Evidence(signals["client.used_share"], "above", limits.client_used)
