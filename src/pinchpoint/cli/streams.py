"""Where results and messages go: stdout, stderr, JSON files; a reader that went away is no error."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pinchpoint.errors import BadInput

STDOUT = "-"


def show(text: str, stream: TextIO | None = None) -> None:
    """Write `text` and a newline to stdout (or `stream`) now; what its encoding lacks is replaced.

    BadInput where the stream cannot take it (a full disk); silence where its reader has gone.
    """
    target = stream or sys.stdout
    encoding = target.encoding or "utf-8"
    try:
        target.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        target.flush()
    except BrokenPipeError:
        _to_nowhere(target)
    except OSError as error:
        _to_nowhere(target)
        raise BadInput(what=f"the result cannot be written: {error.strerror}", where="stdout", todo="") from error


def say(text: str) -> None:
    """One line to stderr, whatever is in `text`; never an error."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    with contextlib.suppress(BadInput, OSError, ValueError):
        show(f"pinchpoint: {flat}", sys.stderr)


def coloured(stream: TextIO) -> bool:
    """Whether `stream` is a terminal on which colour is wanted (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def form_for(stream: TextIO) -> str:
    """The form of a report that suits the stream."""
    return "terminal-colour" if coloured(stream) else "terminal"


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Make descriptors 0 to 2, sys.stdout and sys.stderr exist where the caller has closed them.

    Otherwise the next file that is opened takes the number, and what is meant for the stream ends up in it.
    """
    with contextlib.suppress(OSError):
        while (nowhere := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(nowhere)
    with contextlib.ExitStack() as stack:
        if sys.stdout is None or sys.stderr is None:
            sink = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            if sys.stdout is None:
                stack.enter_context(contextlib.redirect_stdout(sink))
            if sys.stderr is None:
                stack.enter_context(contextlib.redirect_stderr(sink))
        yield


def checked_json(path: str | None) -> None:
    """BadInput unless a JSON document can be written to `path` (None and `-` always can); leaves no file behind."""
    if path is None or path == STDOUT:
        return
    file = Path(path)
    try:
        if file.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        if file.is_file():
            with file.open("ab+") as stream:
                stream.seek(0)
                first = stream.read(1)
            if first not in (b"", b"{"):
                raise FileExistsError(None, "it holds something else than JSON, which would be lost")
        elif not file.exists():
            file.open("xb").close()
            file.unlink()
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def write_json(path: str, document: str) -> None:
    """The document to a file, or to stdout for `-`."""
    if path == STDOUT:
        show(document)
        return
    try:
        Path(path).write_text(document + "\n", "utf-8")
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


@contextlib.contextmanager
def results_on_stderr(wanted: bool) -> Iterator[None]:
    """While `wanted`, whatever code of ours or of a library prints to stdout goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr) if wanted else contextlib.nullcontext():
        yield


def _unwritable(path: str, error: Exception) -> BadInput:
    """Why a JSON file cannot be written, in one line."""
    why = getattr(error, "strerror", None) or str(error)
    return BadInput(what=f"the JSON document cannot be written: {why}", where=path, todo="Choose another --json PATH")


def _to_nowhere(stream: TextIO) -> None:
    """Let the interpreter's own flush at exit write to nowhere instead of failing."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
