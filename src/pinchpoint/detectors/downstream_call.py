"""I105: requests wait for another service."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="I105",
    title="a downstream call is awaited",
    question="Do requests wait for the answer of another service?",
    bound="io",
    cells=(("*", "network", "network"),),
    needs=("request.network_share",),
    remedies=("avoid-call",),
)
def downstream_call(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The request's thread is blocked on a connection while it serves a request.

    **Mechanism.** A feature store, a database, a cache or another model is asked, and the thread stands still until the
    answer is there. The time belongs to the network and to the other side; neither this program's CPU nor its disk is
    busy. It is from samples of what the thread was blocked in: connecting, sending, receiving, or polling sockets.
    **Looks like it, is not.** A lock that is held during such a call makes other requests wait too, but those are
    blocked in the lock (W104). A sleep or a retry interval is a timer (W110), even inside a client library. Encoding
    what is sent is CPU time (C104).
    **Confirm.** Answer the call from memory: the latency must fall by its time. Add a known delay to the connection, in
    three doses: the latency must grow by the same.
    **Remedies.** Cache the answers, ask for several at once, ask while the model computes, keep connections open, move
    the service closer, or stop asking.
    """
    yield Evidence(signals["request.network_share"], "above", limits.trivial_share)
