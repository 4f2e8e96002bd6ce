"""`Middleware(app)`: a live server tells the stages of each request itself, in the head of its answer.

    app = Middleware(app)        # FastAPI, Starlette, any ASGI application

    Server-Timing: preprocess;dur=11.2;at=0.3, model;dur=8.1;at=11.6, total;dur=21

`dur` is milliseconds, as W3C Server-Timing says; `at` is ours, milliseconds after the middleware got the request, and whoever
does not know it passes over it. Stages are those marked by `pinchpoint.stage` that the request enters in its own task, in tasks
that it starts, and in threads that get its context (`asyncio.to_thread`, the thread pools of Starlette and FastAPI;
`loop.run_in_executor` with `contextvars.copy_context().run`). All stages are told, nested ones too. Those that end after the head
was sent cannot be told, such as those of a streaming body. Standard library only.
"""

from __future__ import annotations

import re
from contextvars import ContextVar, Token
from time import perf_counter_ns
from typing import Any, Awaitable, Callable, Dict, List, MutableMapping, Optional, Tuple

from pinchpoint import stages

__all__ = ["Middleware"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

MOST = 32  # stages of a request that are told one by one, and names of more of them
LONGEST_NAME = 40
_NO_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~\w-]", re.ASCII)  # RFC 9110, 5.6.2


class _Request:
    """The stages of a request that have ended so far: name, begin, end; beyond `MOST` of them, the seconds by name."""

    __slots__ = ("begin_ns", "ended", "head_sent", "sums")

    def __init__(self) -> None:
        self.ended: List[Tuple[str, int, int]] = []
        self.sums: Dict[str, int] = {}  # each stage's time without that of the stages inside it
        self.head_sent = False
        self.begin_ns = perf_counter_ns()

    def note(self, name: str, begin_ns: int, end_ns: int, inner_ns: int) -> None:
        """A stage ended."""
        if self.head_sent:
            return
        if len(self.ended) <= MOST:  # one more says that there are too many
            self.ended.append((name, begin_ns, end_ns))
        if name in self.sums or len(self.sums) < MOST:
            self.sums[name] = self.sums.get(name, 0) + end_ns - begin_ns - inner_ns

    def header(self) -> bytes:
        """The value of Server-Timing: stages in the order in which they began, the total last."""
        self.head_sent = True
        total = perf_counter_ns() - self.begin_ns
        if len(self.ended) > MOST:  # what each took is told, not when
            told = ["%s;dur=%.3f" % (_token(name), ns / 1e6) for name, ns in self.sums.items()]
        else:
            told = [
                "%s;dur=%.3f;at=%.3f" % (_token(name), (end - begin) / 1e6, (begin - self.begin_ns) / 1e6)
                for name, begin, end in sorted(self.ended, key=lambda each: (each[1], -each[2]))
            ]
        return ", ".join([*told, "total;dur=%.3f" % (total / 1e6)]).encode()


class _Open:
    """A stage that has begun, and the one around it; the outermost one is the request itself."""

    __slots__ = ("around", "begin_ns", "inner_ns", "name", "request")

    def __init__(self, request: _Request, name: str, around: Optional[_Open]) -> None:
        self.request, self.name, self.around = request, name, around
        self.inner_ns, self.begin_ns = 0, perf_counter_ns()


_open: ContextVar[Optional[_Open]] = ContextVar("pinchpoint_open_stage", default=None)


class _Listener:
    """Notes the stages of whichever request the current context belongs to."""

    def begin(self, name: str) -> None:
        """A stage begins."""
        around = _open.get()
        if around is not None:
            _open.set(_Open(around.request, name, around))

    def end(self) -> None:
        """The innermost stage of this context ends; the request itself does not end here."""
        ended = _open.get()
        if ended is not None and ended.around is not None:
            now = perf_counter_ns()
            _open.set(ended.around)
            ended.around.inner_ns += now - ended.begin_ns
            ended.request.note(ended.name, ended.begin_ns, now, ended.inner_ns)


_LISTENER = _Listener()


def _token(name: str) -> str:
    return _NO_TOKEN.sub("_", name)[:LONGEST_NAME] or "_"


def begun() -> Tuple[_Request, Token[Optional[_Open]]]:
    """Note the stages of this context from now on; what `ended` needs comes second."""
    if stages._listener is None:  # pinchpoint's child may listen
        stages.listen(_LISTENER)
    request = _Request()
    return request, _open.set(_Open(request, "", None))


def ended(token: Token[Optional[_Open]]) -> None:
    """The request is over."""
    _open.reset(token)


class Middleware:
    """An ASGI application around another one, whose answers tell their stages; anything but HTTP passes through.

    A Server-Timing header that the application sets stays as it is. Where pinchpoint itself records the program, the stages are
    its own, and only the total is told here.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request; whatever the application raises goes on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request, token = begun()

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"server-timing", request.header())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self.app(scope, receive, telling)
        finally:
            ended(token)
