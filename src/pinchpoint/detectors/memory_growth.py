"""M105: memory grows with every request."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import detector
from pinchpoint.domain.finding import Evidence
from pinchpoint.domain.signal import Signals
from pinchpoint.limits import Limits


@detector(
    code="M105",
    title="memory grows without end",
    question="Does every request leave memory behind, for as long as one looks?",
    bound="memory",
    cells=(),
    needs=("memory.growth_bytes", "memory.growth_persistence", "memory.hours_to_limit"),
    remedies=("bound-caches",),
)
def memory_growth(signals: Signals, limits: Limits) -> Iterator[Evidence]:
    """The process keeps memory for each request that it has answered, early and late in the run alike.

    **Mechanism.** A list that is only appended to, a cache without a bound or buffers of the runtime for each new shape
    keep what a request made. Latency shows nothing of it until memory is full; then the process is killed, or pages
    come back from swap (M103). Memory that belongs to the process alone is read before and after each half second of
    requests, and only what it grows meanwhile counts. Of a live server that of all its processes is read with one request
    in flight; programs that leave their memory to a collector (Java, Node.js) are left out.
    **Looks like it, is not.** Warm-up and the allocator's own reserve grow at first and then stay: the second half of
    the run must grow like the first. A cache with a bound fills and then stays, too; one that is not full by the end of
    a run looks like a leak, so a longer run decides. A server that has grown by less than a fifth of its own memory may be
    filling its caches: then it stays open.
    **Confirm.** Run for longer: the bytes a request must stay what they are. Remove what is suspected of keeping them.
    **Remedies.** Bound the caches, drop what was answered, limit the runtime's arena for inputs of changing shape,
    restart workers after so many requests until the leak is found.
    """
    yield Evidence(signals["memory.growth_bytes"], "above", limits.kept_bytes)
    yield Evidence(signals["memory.growth_persistence"], "above", limits.growth_persistence)
    yield Evidence(signals["memory.hours_to_limit"], "below", limits.hours_to_limit)
