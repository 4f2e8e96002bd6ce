"""What the command line chooses for every bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.noise import RETRIES

BUDGET_S = 12.0  # a diagnosis needs 8 s for its 600 requests, and a second or two for the operators


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds for each diagnosis, retries of loud trials, which cases (all where empty), and whom to tell of progress."""

    budget_s: float = BUDGET_S
    retries: int = RETRIES
    only: tuple[str, ...] = ()
    half: str | None = None
    progress: Callable[[str], None] = field(default=lambda _: None)

    def wants(self, name: str) -> bool:
        """Whether a case of this name was asked for."""
        return not self.only or any(part in name for part in self.only)
