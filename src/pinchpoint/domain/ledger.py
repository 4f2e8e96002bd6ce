"""The ledger: an account of where a request's time goes."""

from __future__ import annotations

from dataclasses import dataclass

from pinchpoint.domain.quantity import Quantity

STAGES = ("client", "network", "queue", "framework", "deserialize", "preprocess", "model", "postprocess", "serialize")
TOLD = "told"  # the site of a cell that the target itself told, and of which nobody saw what it was spent on
STATES = ("cpu", "memory", "gpu", "disk", "network", "starved", "wait", "unexplained")


@dataclass(frozen=True, slots=True)
class Row:
    """One cell of the ledger: seconds of `stage` spent in `state`, mean over the named set of requests.

    `operator` subdivides the model; `label` is the user's own name of the stage or the function found there.
    `site` says what a blocked thread waited for, what computing is for, or that a cell is only told. `overlapped_s` ran beside
    the request's own path, outside the sum.
    """

    question: str
    load: int
    requests: str
    stage: str
    operator: str | None
    state: str
    source: str
    seconds: Quantity
    share: float
    overlapped_s: float = 0.0
    label: str = ""
    site: str = ""

    @property
    def remainder(self) -> bool:
        """Whether this is what no cell accounts for."""
        return self.state == "unexplained" and self.site != TOLD


@dataclass(frozen=True, slots=True)
class Ledger:
    """The rows of one question, with the mean latency of the same set of requests that they must add up to."""

    question: str
    requests: str
    latency: Quantity
    rows: tuple[Row, ...]
    stages_from: str = "inferred"

    def seconds(self, stage: str | None = None, state: str | None = None, site: str | None = None) -> float:
        """The sum of the matching cells, in seconds."""
        return sum(
            r.seconds.value
            for r in self.rows
            if (stage is None or r.stage == stage)
            and (state is None or r.state == state)
            and (site is None or r.site == site)
        )
