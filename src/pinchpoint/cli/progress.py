"""What is going on, on stderr: one rewritten line on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import os
import shutil
import sys
from types import TracebackType
from typing import TextIO

_ERASE = "\r\x1b[K"
FIRST_VERDICT = "first verdict: "  # words that stay while others come and go


class Progress:
    """Called with each step's words; leaves a terminal's line clean when it is closed.

    It never fails: a stderr that has gone away is given up silently.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._rewrites = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._silent = quiet
        self._last = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rewrites and self._last:
            self._write(_ERASE)

    def __call__(self, words: str) -> None:
        """Show `words` in place of what was shown before; the same words again are not repeated."""
        flat = " ".join("".join(c if c.isprintable() else " " for c in words).split())
        if flat == self._last:
            return
        self._last = flat
        if self._rewrites:
            width = max(shutil.get_terminal_size().columns - 1, 1)
            self._write(f"{_ERASE}{flat[:width]}" + ("\n" if flat.startswith(FIRST_VERDICT) else ""))
        else:
            self._write(f"{flat}\n")

    def _write(self, text: str) -> None:
        """Write now, or fall silent for good."""
        if self._silent:
            return
        try:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):
            self._silent = True
