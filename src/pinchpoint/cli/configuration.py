"""Defaults from `[tool.pinchpoint]` in a `pyproject.toml`: of options of `diagnose`, `record` and `load`, and of the limits.

The file is that of the current folder, or of the nearest folder above it, that has this table. Paths in it count from its
folder. Trust cannot be given in a file: what may run is said where it is run.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pinchpoint.domain.ledger import STAGES
from pinchpoint.domain.workload import PROCESSES, THREADS
from pinchpoint.errors import BadInput
from pinchpoint.units import parse_duration

FILE, TABLE = "pyproject.toml", "tool.pinchpoint"
VERBS = ("diagnose", "record")
SHARED = ("out", "quiet", "seed")  # with `load`, whose other options mean something else
LARGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file sets: options as typer takes them for defaults, limits by name, stages by the beginning of a frame's path, and
    which file; nothing without one.
    """

    options: Mapping[str, object] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    frames: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None

    def defaults(self) -> dict[str, dict[str, object]]:
        """The options as the default map of the command line."""
        shared = {name: value for name, value in self.options.items() if name in SHARED}
        return {**{verb: dict(self.options) for verb in VERBS}, "load": shared}


def read(folder: Path | None = None) -> Configuration:
    """The configuration that holds in a folder (the current one); BadInput names the file, the key and what is allowed."""
    try:
        here = (folder or Path.cwd()).resolve()
    except OSError:  # the current folder was removed
        return Configuration()
    for each in (here, *here.parents):
        table = _table(each / FILE, here)
        if table is not None:
            return _checked(table, each / FILE)
    return Configuration()


def _table(file: Path, here: Path) -> Mapping[str, object] | None:
    """The table of a file; None where there is no such file or table, or where another user has put the file.

    On a machine of many users anyone can put a file into a folder such as /tmp, above the work of others.
    """
    try:
        found = file.stat()
        if found.st_uid not in (0, os.geteuid(), here.stat().st_uid) or found.st_size > LARGEST_BYTES:
            return None
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(file, "it is not UTF-8", "Save it as UTF-8") from error
    except OSError:
        return None
    try:
        whole = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _bad(file, f"it is no valid TOML: {error}", "Mend it, or work in another folder") from error
    tool = whole.get("tool")
    table = tool.get("pinchpoint") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise _bad(file, f"{TABLE} is no table", f"Write [{TABLE}] on a line of its own")
    return table


def _checked(table: Mapping[str, object], file: Path) -> Configuration:
    """All keys and values, each of its type."""
    options: dict[str, object] = {}
    limits: Mapping[str, float] = {}
    frames: Mapping[str, str] = {}
    for key, value in table.items():
        if key == "trust":
            raise _bad(
                file, f"[{TABLE}] cannot set trust", "Give --trust on the command line, where you see what it is for"
            )
        if key == "limits":
            limits = _limits(value, file)
            continue
        if key == "frames":
            frames = _frames(value, file)
            continue
        if key not in KEYS:
            raise _unknown(file, f"[{TABLE}]", key, [*KEYS, "limits", "frames"])
        allowed, read_value = KEYS[key]
        found = read_value(value, file.parent)
        if found is None:
            raise _bad(file, f"[{TABLE}] {key} cannot be {_written(value)}", f"Write {allowed}")
        options[key] = found
    return Configuration(options, limits, frames, file)


def _frames(value: object, file: Path) -> Mapping[str, str]:
    """Stages by the beginning of a frame's path, from its package on."""
    where = f"[{TABLE}.frames]"
    if not isinstance(value, dict):
        raise _bad(
            file, f"frames cannot be {_written(value)}", f'Write {where} and a line such as "mylib/" = "preprocess"'
        )
    for path, stage in value.items():
        if stage not in STAGES:
            raise _bad(file, f"{where} {path!r} cannot be {_written(stage)}", f"Use one of {', '.join(STAGES)}")
    return {str(path): str(stage) for path, stage in value.items()}


def _limits(value: object, file: Path) -> Mapping[str, float]:
    """The limits by name."""
    from pinchpoint.limits import shipped

    where, known = f"[{TABLE}.limits]", shipped().by_name
    if not isinstance(value, dict):
        raise _bad(
            file, f"limits cannot be {_written(value)}", f"Write {where} and a line such as trivial_share = 0.05"
        )
    for name, number in value.items():
        if name not in known:
            raise _unknown(file, where, name, list(known))
        if _number(number) is None:
            raise _bad(
                file,
                f"{where} {name} cannot be {_written(number)}",
                f"Write a number of 0 or more ({known[name].unit})",
            )
    return {name: float(number) for name, number in value.items()}


# --- values: each reader gives what typer takes, or None for a value that is not allowed -----------------------------
def _number(value: object) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if fits and isinstance(value, int | float) else None


def _seconds(value: object, _: Path) -> object | None:
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    try:
        parse_duration(str(value))
    except ValueError:
        return None
    return str(value)


def _whole(least: int) -> Callable[[object, Path], object | None]:
    def found(value: object, _: Path) -> object | None:
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= least else None

    return found


def _flag(value: object, _: Path) -> object | None:
    return value if isinstance(value, bool) else None


def _folder(value: object, folder: Path) -> object | None:
    return str(folder / value) if _is_text(value) and isinstance(value, str) else None


def _path(value: object, folder: Path) -> object | None:
    """A path from the file's folder, if there is such a file; anything else (`python3.12`, `module:function`) as it is."""
    if not (_is_text(value) and isinstance(value, str)):
        return None
    return str(folder / value) if os.path.exists(folder / value) else value


def _settings(value: object, _: Path) -> object | None:
    """A table of settings as KEY=VALUE."""
    if not isinstance(value, dict) or not all(_is_text(key) and "=" not in key for key in value):
        return None
    if not all(_is_text(each) or (isinstance(each, int) and not isinstance(each, bool)) for each in value.values()):
        return None
    return [f"{key}={each}" for key, each in value.items()]


def _workers(value: object, _: Path) -> object | None:
    return value if value in (THREADS, PROCESSES) else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


Reader = Callable[[object, Path], object | None]
_DURATION = 'seconds or a duration such as 60, "500ms" or "5m"'
KEYS: Mapping[str, tuple[str, Reader]] = {
    "batch": ("a whole number of 1 or more", _whole(1)),
    "budget": (_DURATION, _seconds),
    "input": ("a file, a folder, or module:function, as text", _path),
    "length": ("a whole number of 1 or more", _whole(1)),
    "out": ("a folder, as text", _folder),
    "python": ("the path of an interpreter, as text", _path),
    "quiet": ("true or false", _flag),
    "seed": ("a whole number of 0 or more", _whole(0)),
    "set": ("a table of texts and whole numbers, such as set = {intra_op_threads = 1}", _settings),
    "timeout": (_DURATION, _seconds),
    "workers": ('"threads" or "processes"', _workers),
}


# --- errors --------------------------------------------------------------------------------------------------------
def _written(value: object) -> str:
    """A value as TOML has it, in short."""
    words = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return words if len(words) <= 40 else f"{words[:37]}..."


def _unknown(file: Path, where: str, key: str, known: list[str]) -> BadInput:
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    few = len(known) <= len(KEYS) + 2
    allowed = f"Allowed: {', '.join(sorted(known))}" if few else "See `pinchpoint explain limits`"
    todo = f"Did you mean {' or '.join(near)}? " if near else ""
    return _bad(file, f"{where} has no key {key!r}", f"{todo}{allowed}")


def _bad(file: Path, what: str, todo: str) -> BadInput:
    return BadInput(what=what, where=str(file), todo=todo)
