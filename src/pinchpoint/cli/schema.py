"""`pinchpoint schema`: the JSON Schema of a diagnosis."""

from __future__ import annotations

from pinchpoint.cli.streams import show


def schema() -> int:
    """Print the JSON Schema of what --json writes."""
    from pinchpoint import api

    show(api.schema().rstrip("\n"))
    return 0
