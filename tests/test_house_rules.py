"""The rules of the house, executed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pinchpoint
from pinchpoint import plugins

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
BANNED = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc", "core"}
LONGEST_FILE, LONGEST_FUNCTION = 500, 50


def relative(path):
    """A readable test id."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_file_is_short_and_named_by_its_domain(path):
    assert path.read_text("utf-8").count("\n") <= LONGEST_FILE
    assert path.stem not in BANNED


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_function_is_short_and_nothing_is_a_stub(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name
        if isinstance(node, ast.Raise) and node.exc is not None:
            assert "NotImplementedError" not in ast.unparse(node.exc)


def test_the_public_names():
    assert pinchpoint.__all__ == ["Diagnosis", "LoadOptions", "PinchpointError", "diagnose", "load", "record", "stage"]
    for name in pinchpoint.__all__:
        assert callable(getattr(pinchpoint, name))


def test_a_verb_is_a_function_whatever_was_imported_before():
    import pinchpoint.diagnose
    import pinchpoint.record

    assert callable(pinchpoint.diagnose)
    assert callable(pinchpoint.record)


def test_what_runs_in_the_target_is_standard_library_only():
    """The child and the marker run under the user's interpreter, which has none of our packages."""
    import sys

    allowed = sys.stdlib_module_names | {"pinchpoint", "__future__"}
    for path in [
        *(ROOT / "src/pinchpoint/child").glob("*.py"),
        ROOT / "src/pinchpoint/stages.py",
        ROOT / "src/pinchpoint/asgi.py",
        ROOT / "src/pinchpoint/wsgi.py",
        ROOT / "src/pinchpoint/__init__.py",
    ]:
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert all(name.split(".")[0] in allowed for name in names), (path.name, names)


def test_everything_that_a_detector_names_exists():
    found = plugins.builtin()
    signals = {source.name for source in found.signals}
    remedies = {remedy.name for remedy in found.remedies}
    codes = {detector.code for detector in found.detectors}
    advice_only = {
        "bound-caches",
        "smaller-model",
        "measure-longer",
        "fix-errors",
        "quiet-machine",
        "steady-clock",
        "stronger-client",
    }
    for detector in found.detectors:
        assert set(detector.needs) <= signals, detector.code
        assert set(detector.lookalikes) <= codes, detector.code
        assert set(detector.remedies) <= remedies | advice_only, detector.code


def test_names_are_unique():
    found = plugins.builtin()
    for things in (
        [s.name for s in found.signals],
        [d.code for d in found.detectors],
        [r.name for r in found.remedies],
        [r.name for r in (*found.reporters, *found.trace_reporters)],
    ):
        assert len(things) == len(set(things))


def test_every_command_is_documented():
    readme = (ROOT / "README.md").read_text("utf-8")
    for verb in (ROOT / "src/pinchpoint/cli").glob("*.py"):
        if verb.stem in ("diagnose", "record", "machine", "explain", "schema", "report"):
            assert f"pinchpoint {verb.stem}" in readme, verb.stem
