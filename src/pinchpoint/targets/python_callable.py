"""A callable of the user's own code: `path/app.py:handle` or `package.module:handle`; or what makes a torch module."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pinchpoint.contracts import Plan
from pinchpoint.domain.target import TargetFacts, TargetSpec
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput

_FILE = re.compile(r"(?P<module>.+\.py):(?P<name>[^/]*)", re.DOTALL)
_DOTTED = re.compile(r"(?P<module>[^\W\d][\w.]*):(?P<name>[^\W\d][\w.]*)")


@dataclass(frozen=True, slots=True)
class PythonCallable:
    """Any callable that takes a request and returns its answer; coroutine functions are awaited. One that returns a
    torch module, or is one, is that model (child/torch_loading.py finds out).
    """

    kind: str = "python"

    def recognises(self, uri: str) -> bool:
        """`something.py`, `something.py:name` or `dotted.module:name`."""
        return bool(_FILE.fullmatch(uri) or _DOTTED.fullmatch(uri)) or uri.endswith(".py")

    def prepare(self, spec: TargetSpec, workload: Workload, folder: Path) -> Plan:
        """Check what can be checked without running the user's code; BadInput where it cannot be used."""
        del folder
        if workload.batch > 1 or workload.length != Workload().length:
            raise BadInput(
                what="--batch and --length change a model's input, not your code: it takes the requests that it is given",
                where=spec.uri,
                todo="Give larger requests with --input or example_inputs",
            )
        module, name, home = _parts(spec.uri)
        load = {
            "kind": self.kind,
            "uri": spec.uri,
            "module": module,
            "name": name,
            "folder": home,
            "input": None if spec.input is None else absolute_input(spec.input),
            "trust": spec.trust,
            "settings": dict(spec.settings),
        }
        text = f"requests from {spec.input}" if spec.input else "requests from example_inputs"
        return Plan(spec, TargetFacts(self.kind, spec.uri, input_text=text, settings=spec.settings), load)


def _parts(uri: str) -> tuple[str, str, str]:
    """Module (a path or a dotted name), attribute, and the folder that comes first on the path."""
    if (match := _DOTTED.fullmatch(uri)) and not match["module"].endswith(".py"):
        return match["module"], match["name"], _here()
    match = _FILE.fullmatch(uri)
    path, name = (Path(match["module"]), match["name"]) if match else (Path(uri), "")
    _check_file(path)
    if not name:
        raise BadInput(what="no function is named", where=str(path), todo=f"Name it after a colon: {path}:handle")
    if not all(part.isidentifier() for part in name.split(".")):
        raise BadInput(what=f"{name!r} cannot be the name of a function", where=str(path), todo="Check the name")
    resolved = Path(_here(), path).resolve()  # as Python does with a script that is a link
    return str(resolved), name, str(resolved.parent)


def _check_file(path: Path) -> None:
    """BadInput unless there is such a file."""
    try:
        if path.is_file():
            return
        what = "not a file" if path.exists() else "no such file"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    raise BadInput(what=what, where=str(path), todo="Check the path")


def _here() -> str:
    """The current folder; BadInput where it has been deleted."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        raise BadInput(what="the current folder does not exist", where=".", todo="Go to another one") from None


def absolute_input(given: str) -> str:
    """What --input names, wherever the target goes: a file, a folder, or a function after a file's or module's name."""
    if os.path.exists(given):
        return str(Path(given).resolve())
    module, colon, name = given.rpartition(":")
    if not colon:
        raise BadInput(what="no such file or folder", where=given, todo="Check --input")
    if not module.endswith(".py"):
        return given
    _check_file(Path(module))
    return f"{Path(_here(), module).resolve()}:{name}"


PYTHON_CALLABLE = PythonCallable()
