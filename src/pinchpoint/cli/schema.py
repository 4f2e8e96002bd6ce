"""`pinchpoint schema`: the JSON Schema of a diagnosis, or of what `load` tells."""

from __future__ import annotations

from typing import Annotated

import typer

from pinchpoint.cli.streams import show


def schema(
    of: Annotated[str, typer.Argument(metavar="[diagnosis|load]", help="Of which verb's JSON.")] = "diagnosis",
) -> int:
    """Print the JSON Schema of what --json writes."""
    from pinchpoint import api

    show(api.schema(of).rstrip("\n"))
    return 0
