"""I103: requests wait for packets to go there and back."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="I103",
    title="network round trips",
    question="Do requests wait for packets to go there and back?",
    bound="io",
    cells=(("network", "network", "connect", "distance", "stall"),),
    needs=("request.round_trips_share",),
    remedies=("keep-connections", "move-closer", "one-write"),
)
def network_round_trips(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """A good part of each request is spent on the way, however few bytes it has.

    **Mechanism.** A packet takes its time there and back, whatever is in it. A request on a connection that stands needs one
    round trip; a new connection needs one more, and its encryption one or two. A server that sends an answer in two small
    parts, without TCP_NODELAY, holds the second one back until the first is acknowledged (Nagle's algorithm), and the client's
    kernel waits 40 ms with that in the hope of sending something along. The round trip is the shortest that the kernel saw
    (TCP_INFO); a new connection and the answer's parts are timed by the client's clock.
    **Looks like it, is not.** A call that the server itself makes is I105: there its own threads wait. Many bytes on a narrow
    link take long at any distance (I104). A server that is far away and takes far longer itself is not limited by the way.
    **Confirm.** Keep connections; the time until a request is sent must vanish. Ask from the server's own machine; the round
    trip must vanish. Acknowledge at once (TCP_QUICKACK), as some requests here do: a stall of 40 ms must vanish. Add a known
    delay, in three doses: the latency must grow by as many round trips as are said.
    **Remedies.** Keep connections open (keep-alive, a pool in the client, HTTP/2), write an answer at once or set TCP_NODELAY,
    ask for several things in one request, move client and server closer.
    """
    yield Evidence(signals["request.round_trips_share"], "above", limits.trivial_share)
