"""What a request takes longer where the CPUs slept before: `python bench/waking.py`.

The same servers are asked without a pause, and with one of 20 ms before each request; the latency of the median request in both.
"""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable
from textwrap import dedent

from bench.live_servers import FASTAPI, FLASK, gunicorn, program, serving, uvicorn
from bench.tool import scratch

PAUSE_S, ASKED_S = 0.02, 2.0
WORK = """
    import sys
    def steps(count):
        total = 0
        for number in range(count):
            total += number * number
        return total
"""
BARE = """
    import socket
    listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    ANSWER = b"HTTP/1.1 200 OK" + bytes([13, 10]) + b"Content-Length: 1" + bytes([13, 10, 13, 10]) + b"1"
    while True:
        connection, _ = listening.accept()
        while connection.recv(65536):
            connection.sendall(ANSWER)
"""
ROUTE = """
    @app.get("/")
    def predict():
        return {{"y": steps({})}}
"""
SERVERS: tuple[tuple[str, str, Callable[..., list[str]], bool], ...] = (  # name, source, command, keeps connections
    ("bare sockets", BARE, program, True),
    *((f"flask, {count:,} steps", FLASK + ROUTE.format(count), gunicorn, False) for count in (0, 20_000, 200_000)),
    *((f"fastapi, {count:,} steps", FASTAPI + ROUTE.format(count), uvicorn, True) for count in (0, 20_000, 200_000)),
)


def main() -> None:
    for name, source, command, keeps in SERVERS:
        with scratch() as folder, serving(folder / "server", dedent(WORK) + dedent(source), command) as port:
            _median_s(port, 0.0, keeps)
            awake, slept = (_median_s(port, pause_s, keeps) for pause_s in (0.0, PAUSE_S))
        print(
            f"{name:22} {awake * 1e3:6.2f} ms, after a pause {slept * 1e3:6.2f}: {(slept - awake) * 1e3:+.2f}, x{slept / awake:.2f}"
        )


def _median_s(port: int, pause_s: float, keeps: bool) -> float:
    seconds, end = [], time.monotonic() + ASKED_S
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while time.monotonic() < end:
        time.sleep(pause_s)
        began = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - began)
        if not keeps:
            connection.close()
    connection.close()
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
