"""What was seen of a server under the load that it had, of which nothing is known: how busy things are, and no request."""

from __future__ import annotations

from dataclasses import dataclass

from pinchpoint.domain.quantity import Quantity


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a resource was in use, as a share of its capacity; `n` counts stretches of time, or looks."""

    resource: str
    capacity: float
    used: Quantity


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what Python threads were seen doing: the stage of the ledger, and the line of the user's own code beside it."""

    stage: str
    label: str
    share: Quantity


@dataclass(frozen=True, slots=True)
class Awaited:
    """Another service, and the share of the moments in which an answer of it was awaited."""

    address: str
    share: Quantity


@dataclass(frozen=True, slots=True)
class Observed:
    """A server watched for some stretches of time without load of ours. What could not be seen is None or missing.

    `starved` is how many threads wait for a CPU, `throttled` in which share of a quota's periods it was used up, `storage` in
    which share of the moments a thread waits for storage, `backlog` how many connections wait to be accepted. `tool_cpus` is what
    watching took of the host's CPUs.
    """

    seconds: float
    stretches: int
    uses: tuple[Use, ...] = ()
    starved: Quantity | None = None
    throttled: Quantity | None = None
    storage: Quantity | None = None
    backlog: Quantity | None = None
    rss_bytes: Quantity | None = None
    growth_bytes_per_s: Quantity | None = None
    cpu_time: tuple[Part, ...] = ()
    waits: tuple[Part, ...] = ()
    peers: tuple[Awaited, ...] = ()
    tool_cpus: Quantity | None = None
