"""A few figures of findings that stand beside the verdict: what they are about is no part of a request's time."""

from __future__ import annotations

from pinchpoint.domain.finding import Finding
from pinchpoint.reporters.figures import limit

FIGURES = {  # code -> (signal, words around its value)
    "C110": (("idle.cpu_share", "{} of the CPU time comes after the answer"),),
    "C117": (("cpu.slowdown_share", "{} slower at the end"),),
    "M105": (("memory.growth_bytes", "{}"), ("memory.hours_to_limit", "full in {} at this rate")),
}


def in_figures(finding: Finding | None) -> str:
    """`: 33 kB a request, full in 0.1 h at this rate`; "" for other findings, or where nothing was measured."""
    if finding is None or finding.code not in FIGURES:
        return ""
    measured = {e.signal.name: e.signal for e in finding.evidence}
    words = []
    for name, text in FIGURES[finding.code]:
        signal = measured.get(name)
        if signal is not None and signal.quantity is not None:
            words.append(text.format(limit(signal.quantity.value, signal.unit)))
    return f": {', '.join(words)}" if words else ""
