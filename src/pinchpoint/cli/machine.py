"""`pinchpoint machine`: this machine's ceilings, and what can and cannot be observed here."""

from __future__ import annotations

from typing import Annotated

import typer

from pinchpoint.cli import options
from pinchpoint.cli.progress import Progress
from pinchpoint.cli.streams import STDOUT, checked_json, results_on_stderr, show, write_json


def machine(
    python: options.Python = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again, even if the ceilings are known.")] = False,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> int:
    """Show this machine's ceilings, and what can be seen here.

    What cannot be observed is listed with the reason.
    """
    checked_json(json)
    from pinchpoint import api

    with Progress(quiet=quiet) as progress, results_on_stderr(json == STDOUT):
        environment = api.machine(python, fresh=fresh, progress=progress)
    if json is not None:
        write_json(json, api.render_environment(environment, "json"))
    if json != STDOUT:
        show(api.render_environment(environment))
    return 0
