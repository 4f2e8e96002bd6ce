"""Forms in which a diagnosis or a run's time line is shown. A new one is a file here and an entry in `BUILTIN` or `TRACES`."""

from __future__ import annotations

from pinchpoint.contracts import Reporter
from pinchpoint.reporters.html_page import HTML, NOTEBOOK
from pinchpoint.reporters.json_document import JSON
from pinchpoint.reporters.markdown import MARKDOWN
from pinchpoint.reporters.perfetto import PERFETTO
from pinchpoint.reporters.terminal import TERMINAL, TERMINAL_COLOUR

BUILTIN = (TERMINAL, TERMINAL_COLOUR, JSON, HTML, NOTEBOOK, MARKDOWN)
TRACES = (PERFETTO,)


def screen(*, colour: bool) -> Reporter:
    """The reporter for people, with or without terminal escapes."""
    return TERMINAL_COLOUR if colour else TERMINAL
