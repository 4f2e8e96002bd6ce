"""I104: requests wait for bytes to pass through the network."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="I104",
    title="network bandwidth",
    question="Do requests wait for bytes to pass through the network?",
    bound="io",
    cells=(("network", "network", "transfer"),),
    needs=("request.transfer_share",),
    remedies=("smaller-messages",),
)
def network_bandwidth(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The bytes of a request or its answer come as fast as the network takes them, and that takes a good part of the time.

    **Mechanism.** A link passes so many bytes a second, and a message of many bytes occupies it for its size over that. An
    answer counts where its packets are full and come one after the other without a pause, from its first byte to its last;
    a request by its size over the rate at which the kernel saw its bytes taken (TCP_INFO).
    **Looks like it, is not.** Encoding the same bytes takes the server's CPU, before the first of them is sent (C104). An answer
    that is computed piece by piece comes in pieces of its own size, or with pauses. A few bytes over a long way are round trips
    (I103), and so is a connection that begins slowly and waits for each of its first windows to be acknowledged.
    **Confirm.** Ask for an answer of half the bytes, and of a quarter: the time must fall in proportion. Ask from the server's
    own machine: it must vanish.
    **Remedies.** Compress (gzip, where both sides' CPUs are free), send less (fewer digits, top results only, smaller images), a
    binary format instead of JSON, a faster link, or move client and server closer.
    """
    yield Evidence(signals["request.transfer_share"], "above", limits.trivial_share)
