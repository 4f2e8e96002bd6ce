"""Findings: what a detector concluded, and from what."""

from __future__ import annotations

from dataclasses import dataclass

from pinchpoint.domain.signal import Signal


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that the tool judges by, from limits.toml."""

    name: str
    value: float
    unit: str
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One test that a detector makes: the signal is `above` or `below` the limit."""

    signal: Signal
    relation: str
    limit: Limit

    def status(self) -> str:
        """`present`, `absent`, or `unknown` where the signal is missing or its interval straddles the limit."""
        quantity = self.signal.quantity
        if quantity is None:
            return "unknown"
        if self.relation == "above":
            return (
                "present"
                if quantity.low > self.limit.value
                else "absent"
                if quantity.high <= self.limit.value
                else "unknown"
            )
        return (
            "present"
            if quantity.high < self.limit.value
            else "absent"
            if quantity.low >= self.limit.value
            else "unknown"
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """The conclusion of one detector.

    `cells` are the ledger cells that the cause explains, each (stage or "*", state) or (stage or "*", state, site);
    `lookalikes` are the codes that must be ruled out before it counts as supported.
    """

    code: str
    status: str
    where: str
    evidence: tuple[Evidence, ...]
    missing: tuple[str, ...]
    remedies: tuple[str, ...]
    bound: str
    kind: str
    cells: tuple[tuple[str, ...], ...]
    lookalikes: tuple[str, ...]
