"""`Middleware(app)` of `pinchpoint.asgi` for WSGI applications, such as Flask's and Django's.

    app.wsgi_app = Middleware(app.wsgi_app)

What has ended when the application calls `start_response` is told: with Flask and Django all that a view does, and nothing of an
application that is a generator itself. Standard library only.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable

from pinchpoint import asgi

__all__ = ["Middleware"]


class Middleware:
    """A WSGI application around another one, whose answers tell their stages."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request; whatever the application raises goes on."""
        request, token = asgi.begun()

        def telling(status: str, headers: Any, *error: Any) -> Any:
            return start_response(status, [*headers, ("Server-Timing", request.header().decode())], *error)

        try:
            return self.app(environ, telling)
        finally:
            asgi.ended(token)
