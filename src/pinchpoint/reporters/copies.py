"""Where copies are made, in words: the lines of the target's code with most of the time."""

from __future__ import annotations

from pathlib import PurePath

from pinchpoint.domain.copied import Copies, CopySite
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.reporters.layout import clean
from pinchpoint.units import amount, digits, duration

CAUSE = "M106"
_MOST_SITES = 3


def copied(diagnosis: Diagnosis, cause: str | None) -> str:
    """`Copied: 84 MB, 4.0 times the largest buffer: numpy.array at app.py:25 (21 MB, 4.3 ms), ...` where that is the cause."""
    found = diagnosis.copies
    if found is None or cause != CAUSE:
        return ""
    named = ", ".join(_site(site) for site in found.sites[:_MOST_SITES])
    more = len(found.sites) - _MOST_SITES
    return f"Copied: {_how_much(found)}{named}{f', and {more} more' if more > 0 else ''}."


def _how_much(found: Copies) -> str:
    """How much is copied, where that is told."""
    if found.size_bytes.value <= 0:
        return ""
    return f"{amount(found.size_bytes.value, 'B')}, {digits(found.payloads.value, 2)} times the largest buffer: "


def _site(site: CopySite) -> str:
    size = "" if site.size_bytes is None else f"{amount(site.size_bytes, 'B')}, "
    place = f"{clean(site.function)} at {clean(PurePath(site.file).name)}:{site.line}"
    return f"{place} ({size}{duration(site.seconds)})"
