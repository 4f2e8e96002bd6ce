"""A program of `bench.shared` in a process of its own: so many requests in flight for so long; prints completions a second."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from bench import shared
from pinchpoint.child.crowd import Crowd
from pinchpoint.child.pacing import is_async


def main(name: str, seconds: float, load: int) -> float:
    """Requests a second that the program completes."""
    call = getattr(shared, name)
    loop = asyncio.new_event_loop() if is_async(call) else None
    crowd = Crowd((lambda _: call()) if loop is None else _ignoring(call), [None])
    crowd.visit(load, seconds / 10, loop)
    visit = crowd.visit(load, seconds, loop)
    return visit["done"] / ((visit["end_ns"] - visit["begin_ns"]) / 1e9)


def _ignoring(call: Callable[[], Any]) -> Callable[[Any], Any]:
    async def called(_: object) -> None:
        await call()

    return called


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
