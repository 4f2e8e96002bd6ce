"""The `pinchpoint` script and `python -m pinchpoint`: an interrupt while the command line is being loaded is one line too."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

INTERRUPTED = 130  # as pinchpoint.cli says it, which has not been loaded yet


def main() -> int:
    """Load the command line and run it; its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from pinchpoint.cli import main as answer

    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return answer()


def _leave(number: int, frame: object) -> None:
    """Nothing has begun, so nothing has to be ended in order; an exception here would be seen as a traceback."""
    del number, frame
    with contextlib.suppress(OSError):
        os.write(2, b"pinchpoint: interrupted.\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
