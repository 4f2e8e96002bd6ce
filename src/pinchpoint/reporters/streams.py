"""What is said of answers that come as streams: tokens or events, when the first one comes and how the others follow."""

from __future__ import annotations

from pinchpoint.domain.quantity import Quantity
from pinchpoint.domain.service import ServiceFacts
from pinchpoint.reporters.figures import seconds, value_and_interval


def streamed(service: ServiceFacts | None) -> str:
    """In a sentence or two; nothing where answers are no streams."""
    if service is None or service.stream is None:
        return ""
    stream = service.stream
    first = (
        f"First {stream.unit} after {_time(stream.first_s)}"
        if stream.first_s
        else f"First {stream.unit}: too few requests"
    )
    further = f", then {_time(stream.between_s)} each" if stream.between_s else ""
    rate = ""
    if service.units_per_s is not None:
        value, inside = value_and_interval(service.units_per_s)
        rate = f", {value} {stream.unit}s/s{f' ({inside})' if inside else ''} at most"
    return f"{first}{further}; {stream.units:.3g} {stream.unit}s a request{rate}."


def _time(found: Quantity) -> str:
    value, inside, unit = seconds(found)
    return f"{value} {unit}{f' ({inside})' if inside else ''}"
