"""What is said of what a server tells: how many requests, how long each took there by its own account, and its stages."""

from __future__ import annotations

from collections.abc import Sequence

from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.service import Counted, ServiceFacts
from pinchpoint.domain.words import COUNTED_WORDS
from pinchpoint.reporters.figures import seconds
from pinchpoint.reporters.layout import clean

STAGES_SAID = 8


def counted(service: ServiceFacts | None) -> str:
    """In a sentence or two; nothing where it tells nothing."""
    return " ".join(filter(None, [_stages(service), _counters(service)])) if service is not None else ""


def _stages(service: ServiceFacts) -> str:
    """How long each stage took, as the heads of answers tell."""
    if not service.stages:
        return ""
    said = ", ".join(f"{clean(each.name)} {_time(each.each)}" for each in service.stages[:STAGES_SAID])
    return f"Its stages, as it tells ({clean(service.stages_by)}): a request (n={service.stages[0].count:,}): {said}."


def _counters(service: ServiceFacts) -> str:
    if not (service.counted or service.answered):
        return ""
    requests = "" if service.answered is None else f" {service.answered:,} requests, {_ours(service)};"
    whole = [each for each in service.counted if not each.step]
    parts = [_each(f"a {unit}", [one for one in whole if one.of == unit]) for unit in ("request", "token")]
    steps = dict.fromkeys(each.step for each in service.counted if each.step)
    parts += [_each(f"in {clean(step)}", [one for one in service.counted if one.step == step]) for step in steps]
    crowded = [each for each in service.queued[-1:] if each.load > 1]
    parts += [f"queued {_time(each.each)} with {each.load} in flight (n={each.each.n:,})" for each in crowded]
    said = f"Its own counters ({clean(service.teller)}):{requests} {'; '.join(filter(None, parts))}"
    return f"{said.strip().rstrip(';')}."


def _ours(service: ServiceFacts) -> str:
    assert service.answered is not None
    return "all ours" if service.answered <= service.ours else f"{service.ours:,} of them ours"


def _each(what: str, parts: Sequence[Counted]) -> str:
    """What one request took, or one token, or a request in one step of an ensemble."""
    said = ", ".join(f"{COUNTED_WORDS.get(each.name, clean(each.name))} {_time(each.each)}" for each in parts)
    return f"{what} (n={max(each.count for each in parts):,}): {said}" if said else ""


def _time(found: Quantity) -> str:
    value, inside, unit = seconds(found)
    return f"{value} {unit}{f' ({inside})' if inside else ''}"
