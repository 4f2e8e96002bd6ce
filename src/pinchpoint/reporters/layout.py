"""Text on a screen: lines of at most 80 columns, clean of control characters, and where they are emphasised."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

WIDTH = 80
GAP = "..."
_DEEPEST = 15  # indentation of a list under its lead

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x9b[0-?]*[ -/]*[@-~]")
_STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "alarm": "\x1b[1;31m", "bar": "\x1b[36m"}
_PLAIN = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Line:
    """A line and the parts of it that stand out where colour is wanted: (begin, end, style), in order."""

    text: str
    marks: tuple[tuple[int, int, str], ...] = ()


def line(text: str, style: str = "", part: str = "") -> Line:
    """`text` as a line of which `part`, or all, has `style`."""
    begin = text.find(part)
    return Line(text, ((begin, begin + len(part or text), style),) if style and begin >= 0 else ())


def plain_text(lines: Iterable[Line]) -> str:
    """The lines without any emphasis."""
    return "\n".join(each.text for each in lines)


def coloured_text(lines: Iterable[Line]) -> str:
    """The lines with their emphasis as terminal escapes."""
    return "\n".join(map(_coloured, lines))


def clean(text: object) -> str:
    """`text` on one line without escape sequences and characters that steer a terminal or hide (control, format)."""
    bare = _ESCAPES.sub("", str(text))
    return " ".join("".join(c if c.isprintable() else " " if c.isspace() else "" for c in bare).split())


def columns(text: str) -> int:
    """How many terminal columns `text` takes: wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` columns; what is too much is taken from the middle, as names differ at their ends."""
    if columns(text) <= width:
        return text
    room = max(0, width - len(GAP))
    tail = _take(text[::-1], room // 2)[::-1]
    return (_take(text, room - columns(tail)) + GAP + tail)[: max(width, 0)]


def padded(text: str, width: int) -> str:
    """`text` shortened or filled with spaces to exactly `width` columns."""
    short = shortened(text, width)
    return short + " " * (width - columns(short))


GLUE = "\0"  # in place of a blank that no line is broken at; no text has it that `clean` has seen


def wrapped(text: str, lead: str = "", indent: int = 2, width: int = WIDTH) -> list[str]:
    """`text` after `lead`, broken between words into lines of `width` columns, though not before a per cent sign; further lines
    are indented. Words that fill a line on their own are shortened in the middle.
    """
    words = [shortened(word, width - max(indent, columns(lead))) for word in text.replace(" %", f"{GLUE}%").split()]
    if all(word.isascii() for word in words):
        filled = textwrap.wrap(
            " ".join(words), width, initial_indent=lead, subsequent_indent=" " * indent,
            break_long_words=False, break_on_hyphens=False,
        ) or [lead.rstrip()]  # fmt: skip
        return [each.replace(GLUE, " ") for each in filled]
    lines, current = [], lead
    for word in words:
        joined = current + ("" if current in (lead, " " * indent) else " ") + word.replace(GLUE, " ")
        if columns(joined) > width:
            lines.append(current.rstrip())
            joined = " " * indent + word.replace(GLUE, " ")
        current = joined
    return [*lines, current.rstrip()]


def listed(items: Iterable[str], lead: str, most_lines: int = 3) -> list[str]:
    """`items` after `lead`, separated by commas, in at most `most_lines` lines; how many were left out is said."""
    every = list(items)
    if not every:
        return []
    indent = min(columns(lead), _DEEPEST)
    for kept in range(len(every), 0, -1):
        more = f", and {len(every) - kept} more (see --json)." if kept < len(every) else "."
        lines = wrapped(", ".join(every[:kept]) + more, lead, indent)
        if len(lines) <= most_lines:
            return lines
    return wrapped(every[0], lead, indent)[:most_lines]


def _take(text: str, width: int) -> str:
    """The longest beginning of `text` that fits into `width` columns."""
    used = 0
    for position, character in enumerate(text):
        used += columns(character)
        if used > width:
            return text[:position]
    return text


def _coloured(each: Line) -> str:
    """One line with terminal escapes at its marks."""
    out, last = [], 0
    for begin, end, style in each.marks:
        out += [each.text[last:begin], _STYLES[style], each.text[begin:end], _PLAIN]
        last = end
    return "".join([*out, each.text[last:]])
