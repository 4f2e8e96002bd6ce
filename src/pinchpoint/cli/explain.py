"""`pinchpoint explain`: what a cause, a bound, a state or a metric means."""

from __future__ import annotations

from typing import Annotated

import typer

from pinchpoint.cli.streams import show


def explain(
    word: Annotated[
        str,
        typer.Argument(metavar="WORD", help="A cause such as M101, a bound, a state, a signal; none lists all causes."),
    ] = "",
) -> int:
    """Say what a cause or another word means; without one, list them.

    For a cause: what it is, what looks like it, how it is confirmed, and what to do about it.
    """
    from pinchpoint import api

    show(api.explain(word).rstrip("\n"))
    return 0
