"""What it takes to become ready: the starts of a run by phase, and what of them is reading and optimising."""

from __future__ import annotations

from dataclasses import dataclass

from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.run import BusyLine


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """A phase of a start: its seconds with the target's files in the page cache (or as they were found), and on disk.

    CPU seconds, bytes and faults are means of the same starts; of `cold_read_bytes` of the cold ones. None: not seen.
    """

    name: str
    detail: str
    seconds: Quantity
    cold_seconds: Quantity | None
    cpu_s: float | None
    read_bytes: float | None
    cold_read_bytes: float | None
    requested_bytes: float | None
    major_faults: float | None


@dataclass(frozen=True, slots=True)
class Startup:
    """The starts of a run, from the begin of the process to the first answer; example inputs are not counted.

    `warm` and `cold` are of starts with the target's own files in the page cache and on disk, None where there were none;
    `found` is the run's own start, whose files were wherever they were. `reading` is cold less warm, `optimising` what
    graph optimisation takes of a session's opening; None where it was not measured, and `cold_reason` says why there was
    no cold start, `again_reason` why there are not more starts. `warm_up` requests after the first one were slower by
    `warm_up_s` in all.
    """

    found: Quantity
    warm: Quantity | None
    cold: Quantity | None
    reading: Quantity | None
    read_bytes: float | None
    optimising: Quantity | None
    phases: tuple[PhaseTime, ...]
    busy_lines: tuple[BusyLine, ...]
    warm_up: int
    warm_up_s: float
    cold_reason: str
    again_reason: str

    @property
    def whole(self) -> Quantity:
        """A start as it is at its slowest: cold where that was seen, else warm, else as it was found."""
        return self.cold or self.warm or self.found

    def seconds(self, *names: str) -> Quantity | None:
        """The sum of the named phases without reading from disk; None where there are none of them."""
        mine = [phase.seconds for phase in self.phases if phase.name in names]
        if not mine:
            return None
        value = sum(each.value for each in mine)
        half = sum(each.high - each.low for each in mine) / 2
        return Quantity(value, max(value - half, 0.0), value + half, min(each.n for each in mine))
