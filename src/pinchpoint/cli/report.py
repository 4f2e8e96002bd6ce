"""`pinchpoint report`: a saved run in another form."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from pinchpoint.cli import configuration
from pinchpoint.cli.streams import form_for, show
from pinchpoint.errors import BadInput


class Form(StrEnum):
    """The forms that a user may ask for."""

    terminal = "terminal"
    json = "json"
    html = "html"
    markdown = "markdown"
    perfetto = "perfetto"


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run.")],
    format: Annotated[Form, typer.Option("--format", help="In which form.")] = Form.terminal,  # noqa: A002  # the option's name
    open: Annotated[bool, typer.Option("--open", help="Open the page in a browser (with --format html).")] = False,  # noqa: A002
) -> int:
    """Show a saved run again.

    As text, as JSON, as a page, as Markdown to paste, or on a time line for https://ui.perfetto.dev.
    """
    from pinchpoint import api

    limits = configuration.read().limits
    if format is Form.html:
        page = api.write_page(run, limits=limits)
        show(str(page))
        if open:
            import webbrowser

            webbrowser.open(page.resolve().as_uri())
        return 0
    if open:
        raise BadInput(what="only a page can be opened", where="--open", todo="Add --format html")
    name = form_for(sys.stdout) if format is Form.terminal else format.value
    show(api.report(run, name, limits).rstrip("\n"))
    return 0
