"""The page that verbs write beside a run once the answer is on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pinchpoint.cli.streams import say
from pinchpoint.errors import PinchpointError

if TYPE_CHECKING:
    from pinchpoint.domain.load_report import LoadReport
    from pinchpoint.domain.verdict import Diagnosis


def beside(folder: Path | None, found: Diagnosis | LoadReport | None) -> Path | None:
    """The page of what was found; None, with a line, where it cannot be drawn or written."""
    from pinchpoint import api

    if folder is None or found is None:
        return None
    try:
        return api.write_page(folder, found)
    except PinchpointError as error:
        say(f"no page: {error}")
        return None
