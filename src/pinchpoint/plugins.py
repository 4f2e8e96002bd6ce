"""The explicit lists of built-ins, and other people's plugins by entry point; the only importer of the plugin folders."""

from __future__ import annotations

from functools import cache

from pinchpoint import detectors, probes, remedies, reporters, signals, targets
from pinchpoint.contracts import Plugins


@cache
def builtin() -> Plugins:
    """Everything that pinchpoint ships."""
    return Plugins(
        targets=targets.BUILTIN,
        probes=probes.BUILTIN,
        signals=signals.BUILTIN,
        detectors=detectors.BUILTIN,
        remedies=remedies.BUILTIN,
        reporters=reporters.BUILTIN,
        trace_reporters=reporters.TRACES,
        load_reporters=reporters.LOADS,
    )
