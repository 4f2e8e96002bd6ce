"""A `pinchpoint.api` that measures nothing: it remembers what it was asked and answers what it was told to."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path

import factories as f
import pinchpoint
from pinchpoint.reporters import BUILTIN
from pinchpoint.reporters.json_document import document
from pinchpoint.reporters.machine import render_machine


@dataclass(frozen=True)
class Outcome:
    diagnosis: object
    folder: Path
    exit_code: int
    line: str | None


class FakeApi(types.ModuleType):
    """The verbs of the api; `answer` is raised if it is an exception and returned otherwise."""

    def __init__(self):
        super().__init__("pinchpoint.api")
        self.asked = []
        self.page = None  # what goes wrong with the page
        self.answer = Outcome(f.memory_bound(), Path("pinchpoint-runs/1123-1729"), 0, None)

    def _answer(self, *positional, **named):
        self.asked.append((positional, named))
        if named.get("progress"):
            named["progress"]("loading \x1b[31mthe target")
            named["progress"]("measuring")
            named["progress"]("measuring")
        print("a library prints to stdout")
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def diagnose(self, target, **named):
        return self._answer(target, **named)

    def record(self, target, **named):
        return self._answer(target, **named)

    def machine(self, python=None, *, fresh=False, progress=None):
        self._answer(python, fresh=fresh, progress=progress)
        return f.environment()

    def render(self, diagnosis, form="terminal"):
        return next(each for each in BUILTIN if each.name == form).render(diagnosis)

    def render_environment(self, environment, form="terminal"):
        return document(environment) if form == "json" else render_machine(environment)

    def explain(self, word):
        self.asked.append(((word,), {}))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return f"{word} is explained\n"

    def schema(self, of):
        return "{}\n"

    def report(self, run, format="terminal", limits=None):
        self.asked.append(((run, format), {"limits": limits}))
        return f"{run} as {format}\n"

    def write_page(self, run, diagnosis=None, limits=None):
        self.asked.append(((run, diagnosis), {"limits": limits}))
        if self.page is not None:
            raise self.page
        return Path(run) / "report.html"


def install(monkeypatch):
    """Put a fake in the place of the api."""
    fake = FakeApi()
    monkeypatch.setitem(sys.modules, "pinchpoint.api", fake)
    monkeypatch.setattr(pinchpoint, "api", fake, raising=False)
    return fake
