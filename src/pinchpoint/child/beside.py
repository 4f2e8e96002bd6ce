"""A thread of our own for what we run beside the target.

What a thread allocates lies in a part of the heap of its own (an arena of glibc's malloc). The profile of a session with
thousands of operators, kept in the target's part, leaves it in so many pieces that the target's own session takes half as long
again.
"""

from __future__ import annotations

import _thread
from typing import Any, Callable, List


class Beside:
    """Does one thing after the other in its thread, until it is closed."""

    def __init__(self) -> None:
        self._asked, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._asked.acquire()
        self._done.acquire()
        self._work: Any = None
        self._outcome: List[Any] = []
        _thread.start_new_thread(self._serve, ())

    def do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """What `work(*arguments)` returns or raises, there."""
        self._work = (work, arguments)
        self._asked.release()
        self._done.acquire()
        returned, raised = self._outcome
        if raised is not None:
            raise raised
        return returned

    def close(self) -> None:
        """End the thread."""
        self._work = None
        self._asked.release()

    def _serve(self) -> None:
        while True:
            self._asked.acquire()
            if self._work is None:
                return
            work, arguments = self._work
            try:
                self._outcome = [work(*arguments), None]
            except BaseException as error:
                self._outcome = [None, error]
            self._done.release()
