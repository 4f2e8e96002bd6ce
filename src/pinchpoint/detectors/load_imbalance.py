"""W106: one of several workers is full while another has nothing to do."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="W106",
    title="load imbalance",
    question="Do requests wait at one worker while another like it is idle?",
    bound="wait",
    cells=(),
    needs=("capacity.busiest_share", "capacity.idlest_share", "capacity.idle_share"),
    remedies=("spread-requests",),
)
def load_imbalance(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """With several requests in flight one worker is busy all the time, another of the same kind is not, and CPUs are idle.

    **Mechanism.** Who serves a request is decided before anybody knows how long the line there is: by the connection it
    comes over, by a hash of its key, by turns among requests of different size. Workers that wait for connections at one
    socket take as many as they find there, so connections that are kept may all lie at one of them. Threads of each
    process are looked at from outside; pools of one size made at one line of the target's own code are
    timed one by one.
    **Looks like it, is not.** Where all workers are full there are too few of them (W102). A pool that another stage uses
    is no worker of the same kind: each request goes to one of those that are compared.
    **Confirm.** A new connection for each request, or one line that all workers take from: throughput must rise.
    **Remedies.** One queue for all workers; a balancer that sends each request to the one with the fewest outstanding;
    connections that end after some requests; SO_REUSEPORT with many clients.
    """
    yield Evidence(signals["capacity.busiest_share"], "above", limits.saturated)
    yield Evidence(signals["capacity.idlest_share"], "below", limits.idle_worker)
    yield Evidence(signals["capacity.idle_share"], "above", limits.idle_share)
