"""`pinchpoint report`: a saved run in another form."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from pinchpoint.cli.streams import form_for, show


class Form(StrEnum):
    """The forms that a user may ask for."""

    terminal = "terminal"
    json = "json"


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run.")],
    format: Annotated[Form, typer.Option("--format", help="In which form.")] = Form.terminal,  # noqa: A002  # the option's name
) -> int:
    """Show a saved run again, as text or as JSON."""
    from pinchpoint import api

    name = form_for(sys.stdout) if format is Form.terminal else format.value
    show(api.report(run, name).rstrip("\n"))
    return 0
