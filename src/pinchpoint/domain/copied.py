"""What requests copy: bytes that go from one place in memory to another, and the lines that send them there."""

from __future__ import annotations

from dataclasses import dataclass

from pinchpoint.domain.quantity import Quantity


@dataclass(frozen=True, slots=True)
class CopySite:
    """A function at a line of the target's code and what it copies a request: how often, bytes (None: it does not tell how
    many), CPU seconds, and the stage.
    """

    function: str
    file: str
    line: int
    stage: str
    times: float
    size_bytes: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies a request, with page faults in what they copy into.

    `size_bytes` are those of which the size is known; `payloads` is their number over the bytes of the payload, or of the
    largest copy where that is larger. `sites` are those with most seconds first.
    """

    seconds: Quantity
    size_bytes: Quantity
    payloads: Quantity
    sites: tuple[CopySite, ...]
