"""What is said of a server's own counters: how many requests, and how long each took there by its own account."""

from __future__ import annotations

from collections.abc import Sequence

from pinchpoint.domain.service import Counted, ServiceFacts
from pinchpoint.domain.words import COUNTED_WORDS
from pinchpoint.reporters.figures import seconds
from pinchpoint.reporters.layout import clean


def counted(service: ServiceFacts | None) -> str:
    """In a sentence or two; nothing where it tells nothing."""
    if service is None or not (service.counted or service.answered):
        return ""
    requests = "" if service.answered is None else f" {service.answered:,} requests, {_ours(service)};"
    parts = [_each(unit, [one for one in service.counted if one.of == unit]) for unit in ("request", "token")]
    whole = f"Its own counters ({clean(service.teller)}):{requests} {'; '.join(filter(None, parts))}"
    return f"{whole.strip().rstrip(';')}."


def _ours(service: ServiceFacts) -> str:
    assert service.answered is not None
    return "all ours" if service.answered <= service.ours else f"{service.ours:,} of them ours"


def _each(unit: str, parts: Sequence[Counted]) -> str:
    """What one request, or one token, took."""
    said = ", ".join(f"{COUNTED_WORDS.get(each.name, clean(each.name))} {_time(each)}" for each in parts)
    return f"a {unit} (n={max(each.count for each in parts):,}): {said}" if said else ""


def _time(found: Counted) -> str:
    value, inside, unit = seconds(found.each)
    return f"{value} {unit}{f' ({inside})' if inside else ''}"
