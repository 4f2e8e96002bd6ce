"""Targets of `light`: requests of a known length, with nothing in them but their work. Runs inside the tool's child."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from functools import cache

WORDS = ("a", "request", "of", "the", "usual", "kind", "and", "some", "more", "words")
MS_WORDS = 8000  # lookups that take about a millisecond on a server core of today


def token(word: str, table: dict[str, int]) -> int:
    """One small call, as Python code is full of: what a tracing profiler has to see."""
    number = table.get(word)
    if number is None:
        number = table[word] = len(table)
    return number


def tokens(milliseconds: float) -> int:
    """Pure Python for about so many milliseconds: a call and a lookup for each word."""
    table: dict[str, int] = {}
    checksum = 0
    for at in range(int(milliseconds * MS_WORDS)):
        checksum = (checksum * 31 + token(WORDS[at % len(WORDS)], table)) & 0xFFFF
    return checksum


def python_200us() -> int:
    return tokens(0.2)


def python_1ms() -> int:
    return tokens(1)


def python_5ms() -> int:
    return tokens(5)


def python_50ms() -> int:
    return tokens(50)


def sleep_1ms() -> None:
    time.sleep(0.001)


def sleep_5ms() -> None:
    time.sleep(0.005)


async def asyncio_5ms() -> None:
    await asyncio.sleep(0.005)


def socket_5ms() -> None:
    """Another thread's answer over a connection, after 5 ms."""
    connection = the_connection()
    connection.sendall(b"?")
    connection.recv(1)


@cache
def the_connection() -> socket.socket:
    """A connection to a thread of ours that answers late; made when it is first used."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_answer, args=(listener,), daemon=True).start()
    return socket.create_connection(listener.getsockname())


def _answer(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    while connection.recv(1):
        time.sleep(0.005)
        connection.sendall(b"!")


def nothing() -> None:
    """As many requests a second as there can be."""
