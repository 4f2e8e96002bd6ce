"""A callable of the user's own code: `path/app.py:handle` or `package.module:handle`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pinchpoint.contracts import Plan
from pinchpoint.domain.target import TargetFacts, TargetSpec
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput

_FILE = re.compile(r"^(?P<module>.+\.py):(?P<name>[A-Za-z_][\w.]*)$")
_DOTTED = re.compile(r"^(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_][\w.]*)$")


@dataclass(frozen=True, slots=True)
class PythonCallable:
    """Any callable that takes a request and returns its answer; coroutine functions are awaited."""

    kind: str = "python"

    def recognises(self, uri: str) -> bool:
        """`something.py`, `something.py:name` or `dotted.module:name`."""
        return bool(_FILE.match(uri) or _DOTTED.match(uri)) or uri.endswith((".py", ".py:"))

    def prepare(self, spec: TargetSpec, workload: Workload, folder: Path) -> Plan:
        """Check what can be checked without running the user's code; BadInput where it cannot be used."""
        del workload, folder
        if spec.settings:
            raise BadInput(
                what="--set changes a model file's session, not your code",
                where=spec.uri,
                todo="Set it in the code itself",
            )
        module, name, home = _parts(spec.uri)
        if spec.input is not None and not Path(spec.input).exists() and ":" not in spec.input:
            raise BadInput(what="no such file or folder", where=spec.input, todo="Check --input")
        load = {
            "kind": self.kind,
            "uri": spec.uri,
            "module": module,
            "name": name,
            "folder": home,
            "input": _absolute_input(spec.input),
            "trust": spec.trust,
        }
        text = f"requests from {spec.input}" if spec.input else "requests from example_inputs"
        return Plan(spec, TargetFacts(self.kind, spec.uri, input_text=text), load)


def _parts(uri: str) -> tuple[str, str, str]:
    """Module (a path or a dotted name), attribute, and the folder that comes first on the path."""
    if match := _FILE.match(uri):
        path = Path(match["module"])
        if not path.is_file():
            raise BadInput(what="no such file", where=str(path), todo="Check the path")
        resolved = path.resolve()
        return str(resolved), match["name"], str(resolved.parent)
    if match := _DOTTED.match(uri):
        return match["module"], match["name"], str(Path.cwd())
    path = Path(uri.rstrip(":"))
    if not path.is_file():
        raise BadInput(what="no such file", where=str(path), todo="Check the path")
    raise BadInput(what="which function?", where=str(path), todo=f"Name it after a colon: {path}:handle")


def _absolute_input(given: str | None) -> str | None:
    if given is None or not Path(given).exists():
        return given
    return str(Path(given).resolve())


PYTHON_CALLABLE = PythonCallable()
