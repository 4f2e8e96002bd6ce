"""The errors that the library raises, and how long an interrupt waits; only `pinchpoint.cli` turns them into exit codes.

    PinchpointError
    ├── BadInput         the target, an option or a file cannot be used        exit 2
    │   └── RunDamaged   a run folder cannot be read                           exit 2
    ├── TargetFailed     the target broke while it was measured                exit 3
    ├── Interrupted      the user stopped it before a request was answered     exit 130
    └── AnalysisFailed   a defect of ours; the run is kept                     exit 70

Each says what happened, where, and what to do next, in one line.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

INTERRUPTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
PATIENCE = 3  # interrupts in a row that end even what must not be cut in two


class PinchpointError(Exception):
    """The root: a message in one line of the form `what (where): what to do`."""

    exit_code = 70

    def __init__(self, *, what: str, where: str, todo: str) -> None:
        self.what, self.where, self.todo = _one_line(what).rstrip("."), _one_line(where), _one_line(todo).rstrip(".")
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


class AnalysisFailed(PinchpointError):
    """A defect of ours in what follows a recording: the run is kept, and can be diagnosed when it is mended."""


class Interrupts:
    """The signal handler while interrupts are held back: it notes them, and raises KeyboardInterrupt where one is heard."""

    def __init__(self) -> None:
        self.seen = False
        self.heard = False
        self._waiting = 0

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """An interrupt arrived."""
        self.seen = True
        self._waiting += 1
        if self.heard or self._waiting >= PATIENCE:
            self.heard, self._waiting = False, 0  # what follows is cleaning up
            raise KeyboardInterrupt

    def listen(self, *, heard: bool) -> None:
        """From now on, raise interrupts at once or hold them back; KeyboardInterrupt if one waits to be heard."""
        self.heard = heard  # first: from here on an interrupt either raises by itself or is counted
        waiting, self._waiting = self._waiting, 0
        if heard and waiting:
            self.heard = False
            raise KeyboardInterrupt


@contextlib.contextmanager
def interrupts_held() -> Iterator[Interrupts]:
    """Let a block finish that must not be cut in two: an interrupt meanwhile is only noted in what is yielded.

    Holds what would raise KeyboardInterrupt, in the main thread; another handler of the host program is left alone.
    Blocks may nest. The third interrupt in a row is raised after all.
    """
    outer = signal.getsignal(signal.SIGINT)
    if isinstance(outer, Interrupts):
        was, outer.heard = outer.heard, False
        try:
            yield outer
        finally:
            outer.listen(heard=was)
        return
    here = threading.current_thread() is threading.main_thread()
    ours = [each for each in INTERRUPTS if here and signal.getsignal(each) is signal.default_int_handler]
    held = Interrupts()
    for each in ours:
        signal.signal(each, held)
    try:
        yield held
    finally:
        for each in ours:
            signal.signal(each, signal.default_int_handler)


@contextlib.contextmanager
def interrupts_postponed() -> Iterator[None]:
    """A block that an interrupt would leave half done, such as loading libraries: it is raised when the block is done."""
    with interrupts_held() as held:
        yield
    if held.seen:
        raise KeyboardInterrupt


@contextlib.contextmanager
def interrupts_heard() -> Iterator[None]:
    """Inside of `interrupts_held`: a block in which the first interrupt is raised at once, one that waits included."""
    held = signal.getsignal(signal.SIGINT)
    if not isinstance(held, Interrupts):
        yield
        return
    was = held.heard
    held.listen(heard=True)
    try:
        yield
    finally:
        held.listen(heard=was)


def _one_line(text: str, limit: int = 400) -> str:
    """`text` on one line without control characters, at most `limit` characters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
