"""What `pinchpoint.asgi.Middleware` costs a request, with and without stages: `python bench/middleware_cost.py`."""

from __future__ import annotations

import asyncio
import statistics
import time

from pinchpoint import stages
from pinchpoint.asgi import App, Message, Middleware, Receive, Send
from pinchpoint.stages import stage

STAGES, REQUESTS, ROUNDS = 4, 2000, 21
HTTP = {"type": "http"}
HEAD, BODY = {"type": "http.response.start", "status": 200, "headers": []}, {"type": "http.response.body"}


async def plain(_scope: Message, _receive: Receive, send: Send) -> None:
    await send(HEAD)
    await send(BODY)


async def marked(_scope: Message, _receive: Receive, send: Send) -> None:
    for name in ("deserialize", "preprocess", "model", "serialize"):
        with stage(name):
            pass
    await send(HEAD)
    await send(BODY)


async def sink(_message: Message) -> None:
    pass


async def nothing() -> Message:
    return {}


async def ns_a_request(app: App) -> float:
    began = time.perf_counter_ns()
    for _ in range(REQUESTS):
        await app(HTTP, nothing, sink)
    return (time.perf_counter_ns() - began) / REQUESTS


async def main() -> None:
    found: dict[str, list[float]] = {name: [] for name in ("plain", "marked", "plain, told", "marked, told")}
    for _ in range(ROUNDS):
        stages.listen(None)
        found["plain"].append(await ns_a_request(plain))
        found["marked"].append(await ns_a_request(marked))
        found["plain, told"].append(await ns_a_request(Middleware(plain)))
        found["marked, told"].append(await ns_a_request(Middleware(marked)))
    medians = {name: statistics.median(each) for name, each in found.items()}
    for name, ns in medians.items():
        print(f"{name:14} {ns:7.0f} ns a request")
    each = (medians["marked, told"] - medians["plain, told"]) / STAGES
    print(
        f"the middleware {medians['plain, told'] - medians['plain']:.0f} ns a request, {each:.0f} ns a stage;", end=" "
    )
    print(f"a marker that nobody listens to {(medians['marked'] - medians['plain']) / STAGES:.0f} ns")


if __name__ == "__main__":
    asyncio.run(main())
