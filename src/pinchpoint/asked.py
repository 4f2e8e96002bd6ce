"""What the library is handed -> what is to be recorded; BadInput in one line for what cannot be meant."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pinchpoint.domain.workload import PROCESSES, THREADS, Workload
from pinchpoint.errors import BadInput
from pinchpoint.process import BELONGS_TO

HOST_AND_PORT = re.compile(r"(localhost|[\w-]+(\.[\w-]+)*|\[[0-9a-fA-F:]+\]):\d{1,5}(/|$)")


def named(target: str | Path | Callable[..., object]) -> str:
    """A target as it is written on the command line; BadInput for a function that no other process could find."""
    if not callable(target):
        return str(target)
    if os.environ.get(BELONGS_TO):
        todo = 'Put the call under `if __name__ == "__main__":`'
        raise BadInput(what="it was asked for again while its own module was imported", where=repr(target), todo=todo)
    name = getattr(target, "__qualname__", "")
    module = sys.modules.get(getattr(target, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if not name.isidentifier() or getattr(module, name, None) is not target or file is None:
        todo = "Define it at the top of a module, or name it: 'app.py:handle'"
        raise BadInput(what="no other process can import this function", where=name or repr(target), todo=todo)
    return f"{file}:{name}"


def workload_of(budget_s: float, seed: int, timeout_s: float, batch: int, length: int | None, workers: str) -> Workload:
    """The workload of these options."""
    if batch < 1 or (length is not None and length < 1):
        raise BadInput(
            what="a batch and a length are at least 1", where="--batch, --length", todo="Give a whole number"
        )
    if workers not in (THREADS, PROCESSES):
        raise BadInput(what=f"there are no workers {workers!r}", where="workers", todo=f"{THREADS} or {PROCESSES}")
    chosen = Workload(budget_s=budget_s, seed=seed, timeout_s=timeout_s, batch=batch, workers=workers)
    return chosen if length is None else replace(chosen, length=length)


def unrecognised(uri: str) -> BadInput:
    """What is wrong with a target that is of no known kind."""
    known = "Name a model.onnx, an app.py:function, a URL, or a run folder"
    if os.path.isdir(uri or "."):
        return BadInput(what="a folder that is not a run", where=uri or ".", todo=known)
    if os.path.exists(uri):
        return BadInput(what="not a file", where=uri, todo=known)
    if HOST_AND_PORT.match(uri):
        return BadInput(
            what="a server's URL begins with http:// or another scheme", where=uri, todo=f"Write http://{uri}"
        )
    what = "no such file" if "/" in uri or "." in uri else "not a target that pinchpoint knows"
    return BadInput(what=what, where=uri, todo=known)
