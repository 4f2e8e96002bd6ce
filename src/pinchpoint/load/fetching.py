"""What a server says of itself, asked for beside the load: one small answer as JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httptools

from pinchpoint.errors import BadInput, TargetFailed
from pinchpoint.load.addresses import resolved
from pinchpoint.load.engine import Sending, tls_context
from pinchpoint.load.greeting import greet
from pinchpoint.load.payloads import Header, Payload, rendered

TIMEOUT_S = 5.0
NOTHING = Payload("", b"", "")
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
    address = replace(sending.address, target=target)
    payload = NOTHING if body is None else Payload("request", body, "application/json")
    request = rendered(address, method, payload, _own(sending.headers))
    with contextlib.suppress(*ERRORS):
        found = greet(address, resolved(address), request, TIMEOUT_S, tls_context(sending))
        if found.raw is None or not 200 <= found.status < 300:  # RFC 9110, 15
            return None
        answer = _Body()
        httptools.HttpResponseParser(answer).feed_data(found.raw)
        return json.loads(b"".join(answer.parts))
    return None


def _own(headers: Sequence[Header]) -> list[Header]:
    """The user's headers that say who asks; what the body is, is ours to say."""
    return [each for each in headers if each.name.lower() != "content-type"]
