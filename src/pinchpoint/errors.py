"""The errors that the library raises; only `pinchpoint.cli` turns them into exit codes.

    PinchpointError
    ├── BadInput         the target, an option or a file cannot be used        exit 2
    ├── TargetFailed     the target broke while it was measured                exit 3
    ├── RunDamaged       a run folder cannot be read                           exit 2
    └── Interrupted      the user stopped it; what was measured is saved       exit 130

Each says what happened, where, and what to do next, in one line.
"""

from __future__ import annotations


class PinchpointError(Exception):
    """The root: a message in one line of the form `what (where): what to do`."""

    exit_code = 70

    def __init__(self, *, what: str, where: str, todo: str) -> None:
        self.what, self.where, self.todo = _one_line(what), _one_line(where), _one_line(todo)
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}. {self.todo}." if self.todo else f"{place}{self.what}."


class BadInput(PinchpointError):
    """The target, an option or an input file cannot be used as it was given."""

    exit_code = 2


class RunDamaged(BadInput):
    """A run folder is incomplete, damaged, or newer than this version reads."""


class TargetFailed(PinchpointError):
    """The target crashed, hung, exited or was killed before it could be measured."""

    exit_code = 3


class Interrupted(PinchpointError):
    """The user interrupted before anything could be measured."""

    exit_code = 130


def _one_line(text: str, limit: int = 400) -> str:
    """`text` on one line without control characters, at most `limit` characters, without a closing full stop."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (flat if len(flat) <= limit else flat[: limit - 3] + "...").rstrip(".")
