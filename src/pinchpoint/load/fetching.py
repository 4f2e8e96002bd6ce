"""What a server says of itself, asked for beside the load: one small answer, on a connection that ends with it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httptools

from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.load.addresses import Address, resolved
from pinchpoint.load.greeting import greet
from pinchpoint.load.payloads import OF_THE_BODY, Header, Payload, rendered
from pinchpoint.load.sending import Sending, tls_context

TIMEOUT_S = 5.0
NOTHING = Payload("", b"", "")
CLOSE = Header("Connection", "close")
ERRORS = (TargetFailed, ValueError, RecursionError, httptools.HttpParserError)


class _Body:
    """The body of an answer."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def on_body(self, data: bytes) -> None:
        """A part of it."""
        self.parts.append(data)


def fetched(sending: Sending, target: str, method: str = "GET", body: bytes | None = None) -> Any:  # noqa: ANN401  # any JSON
    """What the same server answers at another path, as JSON; None where it answers with no success, no JSON, or too much, and
    where it is not there any more.
    """
    with contextlib.suppress(BadInput):
        return first_fetched(sending, target, method, body)
    return None


def first_fetched(sending: Sending, target: str, method: str = "GET", body: bytes | None = None) -> Any:  # noqa: ANN401  # any JSON
    """The same of a server that was not asked before: BadInput where nobody is there."""
    payload = NOTHING if body is None else Payload("request", body, "application/json")
    with contextlib.suppress(*ERRORS):
        found = _asked(sending, replace(sending.address, target=target), method, payload, TIMEOUT_S)
        return None if found is None else json.loads(found)
    return None


def page(sending: Sending, timeout_s: float) -> bytes | None:
    """What the place itself answers to a GET, as it comes; None where that is no success, too much, or not there."""
    with contextlib.suppress(BadInput, *ERRORS):
        return _asked(sending, sending.address, "GET", NOTHING, timeout_s)
    return None


def _asked(sending: Sending, address: Address, method: str, payload: Payload, timeout_s: float) -> bytes | None:
    """The body of an answer; None where it is no success, or too large. Raises what `greet` does, and what httptools raises."""
    request = rendered(address, method, payload, [*_own(sending.headers), CLOSE])
    found = greet(address, resolved(address), request, timeout_s, tls_context(sending), once=True)
    if found.raw is None or not 200 <= found.status < 300:  # RFC 9110, 15
        return None
    answer = _Body()
    httptools.HttpResponseParser(answer).feed_data(found.raw)
    return b"".join(answer.parts)


def _own(headers: Sequence[Header]) -> list[Header]:
    """The user's headers that say who asks; what the body is, is ours to say."""
    return [each for each in headers if each.name.lower() not in OF_THE_BODY]
