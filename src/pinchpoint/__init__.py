"""pinchpoint finds what limits an ML inference system, says what removing the limit would gain, and proves it.

Importing this package costs next to nothing, so that `pinchpoint.stage` may stand in production code.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from pinchpoint.stages import stage

__version__ = "0.1.0"
__all__ = ["Diagnosis", "LoadOptions", "PinchpointError", "diagnose", "load", "record", "stage"]

_HOMES = {
    "Diagnosis": "pinchpoint.domain.verdict",
    "LoadOptions": "pinchpoint.driving",
    "PinchpointError": "pinchpoint.errors",
    "diagnose": "pinchpoint.api",
    "load": "pinchpoint.api",
    "record": "pinchpoint.api",
}


def __getattr__(name: str) -> Any:
    """Load the heavy public names on first use."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'pinchpoint' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


class _Package(ModuleType):
    """This package, whose public verbs are functions although modules of the same names implement them.

    Importing `pinchpoint.record` would bind the module to the name of the function; here the function keeps it
    (docs/decisions/002).
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
