"""Forms in which a diagnosis, a run's time line, or a report of `load` is shown.

A new one is a file here and an entry in `BUILTIN`, `TRACES` or `LOADS`.
"""

from __future__ import annotations

from pinchpoint.contracts import Reporter
from pinchpoint.reporters.html_page import HTML, NOTEBOOK
from pinchpoint.reporters.json_document import JSON, LOAD_JSON
from pinchpoint.reporters.load_markdown import LOAD_MARKDOWN
from pinchpoint.reporters.load_page import LOAD_HTML, LOAD_NOTEBOOK
from pinchpoint.reporters.load_screen import LOAD_TERMINAL, LOAD_TERMINAL_COLOUR
from pinchpoint.reporters.markdown import MARKDOWN
from pinchpoint.reporters.perfetto import PERFETTO
from pinchpoint.reporters.terminal import TERMINAL, TERMINAL_COLOUR

BUILTIN = (TERMINAL, TERMINAL_COLOUR, JSON, HTML, NOTEBOOK, MARKDOWN)
TRACES = (PERFETTO,)
LOADS = (LOAD_TERMINAL, LOAD_TERMINAL_COLOUR, LOAD_JSON, LOAD_HTML, LOAD_NOTEBOOK, LOAD_MARKDOWN)


def screen(*, colour: bool) -> Reporter:
    """The reporter for people, with or without terminal escapes."""
    return TERMINAL_COLOUR if colour else TERMINAL
