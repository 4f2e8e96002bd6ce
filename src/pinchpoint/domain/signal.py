"""Signals: the only thing that detectors see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pinchpoint.domain.quantity import Quantity


@dataclass(frozen=True, slots=True)
class Signal:
    """A named measurement. `quantity` is None where it could not be measured, and `reason` says why.

    `mechanism` names how it was obtained (`clock`, `sampling`, `counter`, `roofline`, `configuration`, ...), so that a
    verification can insist on another one.
    """

    name: str
    unit: str
    mechanism: str
    quantity: Quantity | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Signals(Mapping[str, Signal]):
    """All signals of a run by name; an unknown name is an error of ours, not a missing measurement."""

    by_name: Mapping[str, Signal] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Signal:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)
