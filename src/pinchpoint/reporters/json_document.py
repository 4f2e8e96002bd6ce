"""The diagnosis as a JSON document: the public contract, schema 1."""

from __future__ import annotations

import math
import re

import msgspec

from pinchpoint.contracts import LoadReporter, Reporter
from pinchpoint.domain.verdict import Diagnosis

_INDENT = 2
_UNSAFE = re.compile(r"[^\x00-\x7f]")


def document(noun: object) -> str:
    """Any frozen dataclass of the domain as JSON, keys in a fixed order, `schema` first where there is one.

    ValueError on a number that is not finite: a figure that was not measured is null with its reason beside it.
    """
    tree = _sound(msgspec.to_builtins(noun, order="deterministic", enc_hook=_builtin), "document")
    if isinstance(tree, dict) and "schema" in tree:
        tree = {"schema": tree["schema"], **tree}
    text = msgspec.json.format(msgspec.json.encode(tree), indent=_INDENT).decode()
    return _UNSAFE.sub(lambda found: found[0] if found[0].isprintable() else _escaped(found[0]), text)


def render(diagnosis: Diagnosis) -> str:
    """The diagnosis as JSON, without a closing newline."""
    return document(diagnosis)


JSON = Reporter("json", render)
LOAD_JSON = LoadReporter("json", document)


def _builtin(value: object) -> object:
    """NumPy's scalars, and whatever else has an `item()`, as plain numbers."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"{type(value).__name__} has no place in a document")
    return item()


def _sound(value: object, where: str) -> object:
    """`value` with text that UTF-8 can carry, after a check that all of its numbers are finite."""
    if isinstance(value, dict):
        return {str(_sound(key, where)): _sound(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(inner, f"{where}[{position}]") for position, inner in enumerate(value)]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}")
    return value


def _escaped(character: str) -> str:
    """A control or format character as JSON escapes, so that a document shown in a terminal cannot steer it."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
