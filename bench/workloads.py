"""Targets of `light`: requests of a known length, with nothing in them but their work. Runs inside the tool's child."""

from __future__ import annotations

import time

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


def nothing() -> None:
    """As many requests a second as there can be."""
