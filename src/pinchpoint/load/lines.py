"""What a worker is told: lines of JSON that come over a pipe while it works."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any


class Lines:
    """Lines of JSON from a pipe, as they come; `stop` is called at once where one says so, or where the other end is gone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        self._queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._fd, self._loop = descriptor, loop
        self._parts: list[bytes] = []  # of a line that has not ended
        self.stop: Callable[[], None] = lambda: None
        self.stopped = False  # since the last level was announced
        os.set_blocking(descriptor, False)
        loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._fd)
            self.stopped = True
            self.stop()
            self._queue.put_nowait(None)
            return
        *lines, rest = data.split(b"\n")
        for line in lines:
            said = json.loads(b"".join([*self._parts, line]))
            self._parts.clear()
            self.stopped = said["do"] == "stop"
            if self.stopped:
                self.stop()
            else:
                self._queue.put_nowait(said)
        self._parts.append(rest)

    async def next(self) -> dict[str, Any] | None:
        """The next line but `stop`, which is obeyed at once; None when the other end is gone."""
        return await self._queue.get()
