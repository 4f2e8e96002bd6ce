"""Prometheus text -> its samples (exposition format 0.0.4, and of OpenMetrics what is alike).

The text comes from a server and is not believed: a line that is no sample is passed over, whatever it holds, and so is a value
that is not finite. Text, lines and samples are bounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MOST_BYTES, MOST_SAMPLES = 1 << 20, 20_000
LONGEST_LINE = 4096
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
# Inside the braces each character begins either a quoted text or something else: nothing is tried twice.
LABELS = r'\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\}'
SAMPLE = re.compile(rf"({NAME})(?:[ \t]*({LABELS})[ \t]*|[ \t]+)([-+0-9.eE]+)(?:[ \t]|$)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"')
TYPE = re.compile(rf"#[ \t]+TYPE[ \t]+({NAME})[ \t]+([a-z]+)")
ENDINGS = ("_sum", "_count", "_bucket", "_total", "_created")
ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a series. `kind` is what the text declares it to be (counter, gauge, histogram, ...), or empty."""

    name: str
    labels: Mapping[str, str]
    value: float
    kind: str = ""


def samples(text: bytes) -> Iterator[Sample]:
    """The samples of a text, in its order, none of one that is too long; raises nothing."""
    kinds: dict[str, str] = {}
    count = 0
    for line in text.decode("utf-8", "replace").split("\n") if len(text) <= MOST_BYTES else ():
        if len(line) > LONGEST_LINE:
            continue
        if declared := TYPE.match(line):
            kinds[declared[1]] = declared[2]
        elif (found := _sample(line.strip(), kinds)) is not None:
            yield found
            count += 1
            if count == MOST_SAMPLES:
                return


def _sample(line: str, kinds: Mapping[str, str]) -> Sample | None:
    found = SAMPLE.match(line)
    if found is None:
        return None
    try:
        value = float(found[3])
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    labels = {name: ESCAPED.sub(_unescaped, told) for name, told in LABEL.findall(found[2] or "")}
    return Sample(found[1], labels, value, _kind(found[1], kinds))


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


def _kind(name: str, kinds: Mapping[str, str]) -> str:
    """Of the series itself, or of what it is a part of."""
    whole = next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)
    return kinds.get(name) or kinds.get(whole, "")
