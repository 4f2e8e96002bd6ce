"""Fewer round trips and fewer bytes between client and server."""

from __future__ import annotations

from collections.abc import Iterator

from pinchpoint.contracts import Remedy, Tables, remedy
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact
from pinchpoint.domain.service import CONNECT, DISTANCE, STALL, TRANSFER
from pinchpoint.units import percent

GONE, ANSWER = exact(0.0), "answer"
WORTH_A_WORD = 0.01  # of the latency: what is there at least for its removal to be proposed
WORTH_PACKING = 0.9  # of its bytes: what gzip leaves of an answer where it is worth a word
PACKED, NO_BYTES = "answers packed to {share} (gzip)", "messages without bytes"


def _without(name: str, words: str, kind: str, *sites: str) -> Remedy:
    """A remedy that takes all of some sites away, proposed where the first of them is more than next to nothing."""

    @remedy(name, words=words)
    def propose(tables: Tables, finding: Finding) -> Iterator[Change]:
        if any(row.site == sites[0] and row.share > WORTH_A_WORD for row in tables.typical.rows):
            yield Change(
                name, finding.code, words, kind, tuple(Edit(GONE, state="network", site=site) for site in sites)
            )

    return propose


@remedy("smaller-messages", words=NO_BYTES)
def smaller_messages(tables: Tables, finding: Finding) -> Iterator[Change]:
    """The share of an answer that gzip leaves, measured on its own bytes, and the bound of no bytes at all. What packing costs of
    CPU time is in neither.
    """
    service = tables.run.service
    packed = service.wire.packed if service is not None and service.wire is not None else None
    answers = any((row.site, row.label) == (TRANSFER, ANSWER) for row in tables.typical.rows)
    if packed is not None and answers and packed.value < WORTH_PACKING:
        words = PACKED.format(share=percent(packed.value))
        edits = (Edit(packed, state="network", site=TRANSFER, label=ANSWER),)
        yield Change("smaller-messages", finding.code, words, "estimate", edits)
    edits = (Edit(GONE, state="network", site=TRANSFER),)
    yield Change("smaller-messages", finding.code, NO_BYTES, "bound", edits)


ON_THE_WAY = (
    _without("keep-connections", "connections that are kept", "estimate", CONNECT),
    _without("one-write", "an answer in one write, or TCP_NODELAY", "estimate", STALL),
    _without("move-closer", "client and server side by side", "bound", DISTANCE, CONNECT, TRANSFER),
    smaller_messages,
)
