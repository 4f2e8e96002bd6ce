"""What is said of a server that was only watched: what was in use, where CPU time went, what was waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pinchpoint.domain.observed import Observed, Part, Use
from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.words import RESOURCE_WORDS, STAGE_WORDS
from pinchpoint.reporters.figures import figure, share, value_and_interval
from pinchpoint.reporters.layout import Line, clean, line, padded, shortened, wrapped
from pinchpoint.units import amount

_TAG, _NAME, _BAR = 10, 38, 18
_MOST_ROWS = 8
_LEAST = 0.01  # of the time: a smaller part is left to the page
_HARDLY = 0.05  # threads that wait for a CPU, or connections for a worker, on average
UNITS = "n counts stretches of time, and of the interpreter, of CPU time and of waits what was looked at."

Words = dict[str, str]


def in_use(found: Observed) -> Iterator[Line]:
    """The screen's part about it."""
    stretches = f"{found.stretches} stretch{'' if found.stretches == 1 else 'es'}"
    text = f"of {found.seconds:.0f} s in {stretches}, under the load that there was:"
    yield line(f"{'IN USE':<{_TAG}}{text}", "bold", "IN USE")
    yield from (_row(_counted(each), each.used) for each in sorted(found.uses, key=lambda each: -each.used.value))
    yield from _block("CPU TIME", "by what Python was seen to execute", found.cpu_time)
    yield from _block("WAITS", "by the line of your code that Python was seen to wait at", found.waits)
    for tag, words in figures(found):
        for text in wrapped(words, f"{tag.upper():<{_TAG}}", _TAG):
            yield line(text, "bold", tag.upper())


def _block(tag: str, about: str, parts: Sequence[Part]) -> Iterator[Line]:
    shown = [each for each in parts if each.share.value >= _LEAST][:_MOST_ROWS]
    if shown:
        yield line(f"{tag:<{_TAG}}{about} (n={shown[0].share.n:,}):", "bold", tag)
        yield from (_row(_part(each), each.share) for each in shown)


def _row(name: str, part: Quantity) -> Line:
    bar = "#" * round(min(part.value, 1.0) * _BAR)
    return line(f"  {padded(name, _NAME)}  {bar:<{_BAR}}  {share(part)}")


def figures(found: Observed) -> Iterator[tuple[str, str]]:
    """What is no share of a resource, in sentences."""
    queues = []
    if found.starved is not None and found.starved.value >= _HARDLY:
        queues.append(f"{_number(found.starved)} threads wait for a CPU")
    if found.backlog is not None:
        waiting = f"{_number(found.backlog)} connections" if found.backlog.value >= _HARDLY else "no connection"
        queues.append(f"{waiting} wait{'s' if waiting.startswith('no') else ''} to be accepted")
    if queues:
        yield "Queues", f"On average {' and '.join(queues)}."
    if found.throttled is not None:
        yield "Quota", f"Used up in {share(found.throttled)} of its periods."
    if found.storage is not None and found.storage.value >= _LEAST:
        yield "Storage", f"A thread waits for it in {share(found.storage)} of the moments."
    if found.rss_bytes is not None:
        growth = found.growth_bytes_per_s
        grows = "" if growth is None or growth.low <= 0 else f", growing by {figure(growth, 'B')} a second"
        yield "Memory", f"{amount(found.rss_bytes.value, 'B')}{grows}."
    if found.peers:
        named = (f"{clean(each.address)} {share(each.share)}" for each in found.peers)
        yield "Others", f"Other services are awaited in so many of the moments: {', '.join(named)}."
    if found.tool_cpus is not None:
        yield "Watching", f"took {_number(found.tool_cpus)} CPUs of this host, outside of the server."


def _number(quantity: Quantity) -> str:
    value, inside = value_and_interval(quantity)
    return f"{value}{f' ({inside})' if inside else ''}"


def uses(found: Observed | None) -> list[Words]:
    """What was in use, the fullest first."""
    ordered = sorted(found.uses if found else (), key=lambda each: -each.used.value)
    return [
        {"name": _resource(each), "of": f"{each.capacity:g}", "share": share(each.used), "n": f"{each.used.n:,}"}
        for each in ordered
    ]


def parts(found: Sequence[Part]) -> list[Words]:
    """Shares of CPU time, or of waits."""
    return [{"name": _part(each), "share": share(each.share), "n": f"{each.share.n:,}"} for each in found]


def _resource(use: Use) -> str:
    """What it is called, and which one it is where there are several."""
    kind, _, which = use.resource.partition(" ")
    name = RESOURCE_WORDS.get(kind, clean(use.resource))
    if which == "with others":
        return f"{name}, with other programs"
    which = clean(which) if which.startswith("of process") or kind == "process" else ""
    return f"{name} {which}".strip()


def _counted(use: Use) -> str:
    """The same with how many there are of it."""
    return _resource(use) + (f" ({use.capacity:g})" if use.capacity != 1 else "")


def _part(part: Part) -> str:
    stage = STAGE_WORDS.get(part.stage, clean(part.stage))
    return f"{stage}: {shortened(clean(part.label), _NAME)}" if part.label else stage
