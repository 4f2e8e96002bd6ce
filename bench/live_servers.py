"""Real servers with a fault planted, or none: each is a program of its own on a free port of this machine, stopped by its id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from bench.plants.cgroups import cgroup, granting, joining
from bench.plants.networks import Place

STARTS_S = 30.0
HERE = Place((), "127.0.0.1")
WORK = '''
    import os, time, threading, json
    def spin(ms):
        """So much CPU time in Python, the interpreter held."""
        end = time.thread_time() + ms / 1000
        while time.thread_time() < end: pass
'''
FASTAPI = """
    from fastapi import FastAPI, Request, Response
    app = FastAPI()
"""
FLASK = """
    from flask import Flask, request
    app = Flask(__name__)
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def uvicorn(port: int, workers: int = 1) -> list[str]:
    """The command of an ASGI application `app.py:app`."""
    return [
        sys.executable,
        "-m",
        "uvicorn",
        "app:app",
        "--port",
        str(port),
        "--workers",
        str(workers),
        "--log-level",
        "warning",
    ]


def gunicorn(port: int, workers: int = 1, threads: int = 1) -> list[str]:
    """The command of a WSGI application `app.py:app`."""
    kind = ["--threads", str(threads)] if threads > 1 else []
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "app:app",
        "--bind",
        f"127.0.0.1:{port}",
        "--workers",
        str(workers),
        *kind,
    ]


def program(port: int) -> list[str]:
    """The command of a program `app.py PORT`."""
    return [sys.executable, "app.py", str(port)]


@contextlib.contextmanager
def serving(
    folder: str | Path,
    source: str,
    command: Callable[..., list[str]] = uvicorn,
    quota: float | None = None,
    place: Place = HERE,
    **how: int,
) -> Iterator[int]:
    """A server of `source` in a folder, answering; its port. `quota` are the CPUs that a control group of its own grants it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "app.py").write_text(textwrap.dedent(source))
    port = free_port()
    with contextlib.ExitStack() as around:
        log = around.enter_context((Path(folder) / "server.log").open("wb"))
        prefix = joining(around.enter_context(cgroup("cpu", granting(quota)))) if quota else ()
        yield from _served(place.host, port, [*prefix, *place.prefix, *command(port, **how)], folder, log)


def _served(host: str, port: int, command: list[str], folder: str | Path, log: IO[bytes]) -> Iterator[int]:
    server = subprocess.Popen(
        command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        start_new_session=True, env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    try:
        _wait(host, port, server, folder)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


class DidNotStart(Exception):
    """A server ended, or never listened; in words, the end of its log."""


def _wait(host: str, port: int, server: subprocess.Popen[bytes], folder: str | Path) -> None:
    """Until it listens; DidNotStart with its log where it ends instead."""
    end = time.monotonic() + STARTS_S
    while time.monotonic() < end:
        if server.poll() is not None:
            raise DidNotStart((Path(folder) / "server.log").read_text()[-2000:])
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.05)
    raise DidNotStart("it does not listen")
