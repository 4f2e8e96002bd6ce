"""A step of the wall clock changes nothing: the engine reads no clock that can be set."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pinchpoint

SOURCES = sorted((Path(pinchpoint.__file__).parent / "load").glob("*.py"))
NEVER_SET = {"monotonic", "monotonic_ns", "process_time_ns", "sleep", "perf_counter", "clock_gettime"}
CAN_BE_SET = {"CLOCK_REALTIME", "CLOCK_TAI"}  # what clock_gettime would read then


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_clocks_that_cannot_be_set_are_read(path):
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            assert {each.name for each in node.names} <= NEVER_SET
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            assert node.attr in NEVER_SET
        assert not isinstance(node, ast.Attribute) or node.attr not in CAN_BE_SET
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [each.name for each in node.names] + [getattr(node, "module", None) or ""]
            assert "datetime" not in names
