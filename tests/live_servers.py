"""Real servers with a fault planted, or none: each is a program of its own on a free port of this machine, stopped by its id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest

import end_to_end

STARTS_S = 30.0
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


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def uvicorn(folder, port, workers=1):
    """The command of an ASGI application `app.py:app`."""
    del folder
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


def gunicorn(folder, port, workers=1, threads=1):
    """The command of a WSGI application `app.py:app`."""
    del folder
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


def program(folder, port):
    """The command of a program `app.py PORT`."""
    del folder
    return [sys.executable, "app.py", str(port)]


@contextlib.contextmanager
def serving(folder, source, command=uvicorn, wrap=lambda command: command, **how):
    """A server of `source` in a folder, answering; its port."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "app.py").write_text(textwrap.dedent(source))
    port = free_port()
    with (Path(folder) / "server.log").open("wb") as log:
        server = subprocess.Popen(
            wrap(command(folder, port, **how)), cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    try:
        _wait(port, server, folder)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait(port, server, folder):
    """Until it listens; its log where it ends instead."""
    end = time.monotonic() + STARTS_S
    while time.monotonic() < end:
        if server.poll() is not None:
            pytest.fail((Path(folder) / "server.log").read_text()[-2000:])
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail("the server did not start")


def ask(port, path="/", body=None):
    """One answer, by another client than ours."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=10) as answer:
        return answer.read()


def diagnosed(folder, url, *options, budget=24):
    """The diagnosis of a server; the machine's own noise is a reason to skip."""
    return end_to_end.diagnose(folder, url, *options, budget=budget)
