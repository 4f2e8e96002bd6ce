"""Every number that the tool judges by, read from limits.toml; a user overrides one by its name."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from pinchpoint.domain.finding import Limit
from pinchpoint.errors import BadInput


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits by name, as attributes: `limits.starved_share.value`."""

    by_name: Mapping[str, Limit]

    def __getattr__(self, name: str) -> Limit:
        try:
            return self.by_name[name]
        except KeyError:
            raise AttributeError(f"limits.toml has no {name}") from None

    def __iter__(self) -> Iterator[Limit]:
        return iter(self.by_name.values())


@cache
def shipped() -> Limits:
    """The limits that pinchpoint ships; each entry has value, unit, why and source."""
    table = tomllib.loads(files("pinchpoint").joinpath("limits.toml").read_text("utf-8"))
    return Limits(
        {
            name: Limit(name, float(entry["value"]), entry["unit"], entry["why"], entry["source"])
            for name, entry in table.items()
        }
    )


def overridden(limits: Limits, values: Mapping[str, float]) -> Limits:
    """`limits` with the user's own values; BadInput on a name that does not exist."""
    unknown = sorted(set(values) - set(limits.by_name))
    if unknown:
        raise BadInput(
            what=f"no limit is named {unknown[0]}",
            where="[tool.pinchpoint.limits]",
            todo="See `pinchpoint explain limits`",
        )
    changed = {name: replace(limits.by_name[name], value=value, source="the user") for name, value in values.items()}
    return Limits({**limits.by_name, **changed})
