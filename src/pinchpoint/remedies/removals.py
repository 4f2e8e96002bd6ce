"""Remedies that take cells away: nothing can gain more than the whole cell, so they are bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pinchpoint.contracts import Remedy, Tables, remedy
from pinchpoint.domain.change import Change, Edit
from pinchpoint.domain.finding import Finding
from pinchpoint.domain.quantity import exact

GONE = exact(0.0)


def removal(name: str, words: str, edits: Sequence[Edit], kind: str = "bound") -> Remedy:
    """A remedy that applies the same edits wherever its finding is present."""

    @remedy(name, words=words)
    def propose(tables: Tables, finding: Finding) -> Iterator[Change]:
        del tables
        yield Change(name, finding.code, words, kind, tuple(edits))

    return propose


def _stage(*stages: str) -> list[Edit]:
    return [Edit(GONE, stage=stage, state="cpu") for stage in stages]


REMOVALS = (
    removal("faster-preprocessing", "preprocessing that costs nothing", _stage("preprocess")),
    removal("faster-postprocessing", "postprocessing that costs nothing", _stage("postprocess")),
    removal("faster-codec", "encoding and decoding that cost nothing", _stage("deserialize", "serialize")),
    removal(
        "cache-reads",
        "what is read kept in memory",
        [Edit(GONE, state="disk", site="disk"), Edit(GONE, state="disk", site="fault")],
        "estimate",
    ),
    removal("move-writes-off-path", "writes and syncs off the request's path", [Edit(GONE, site="sync")], "estimate"),
    removal("shorten-lock", "nobody else holding the lock", [Edit(GONE, state="wait", site="futex")]),
    removal("free-interpreter", "no other thread in the interpreter", [Edit(GONE, state="wait", site="gil")]),
    removal("replace-timer", "an event instead of the timer", [Edit(GONE, state="wait", site="timer")], "estimate"),
    removal("open-once", "the model opened once", [Edit(GONE, stage="model", state="cpu", site="opening")]),
    removal("raise-quota", "a CPU quota that is never reached", [Edit(GONE, state="starved")]),
    removal("isolate-cpu", "CPUs that nobody else uses", [Edit(GONE, state="starved")]),
    removal(
        "reuse-buffers", "buffers kept instead of made anew", [Edit(GONE, state="memory", site="fault")], "estimate"
    ),
    removal("zero-copy", "inputs passed on without copies", [Edit(GONE, state="memory", site="copy")]),
    removal(
        "more-memory",
        "memory that holds everything",
        [Edit(GONE, state="memory", site="fault"), Edit(GONE, state="disk", site="fault")],
    ),
)
