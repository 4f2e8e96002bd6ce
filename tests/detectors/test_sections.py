"""Every detector follows the form: sections, names that exist, and no number of its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from healthy import HEALTHY, signals_with

from pinchpoint import detectors, limits, signals
from pinchpoint.detectors import BUILTIN
from pinchpoint.domain.words import CAUSE_HEADLINE

FOLDER = Path(detectors.__file__).parent
FILES = sorted(path for path in FOLDER.glob("*.py") if path.name != "__init__.py")
SECTIONS = ["Mechanism", "Looks like it, is not", "Confirm", "Remedies"]
BOUNDS = {"C": "cpu", "I": "io", "M": "memory", "V": "measurement", "W": "wait"}
CODES = {detector.code for detector in BUILTIN}
BESIDE = {"C110", "C117", "M105"}  # findings on no cell of a request's time (CATALOGUE.md, the rulings)
each_detector = pytest.mark.parametrize("detector", BUILTIN, ids=lambda detector: detector.code)
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_builtin_is_complete_and_in_code_order():
    codes = [detector.code for detector in BUILTIN]
    assert codes == sorted(set(codes))
    assert sorted(detector.check.__name__ for detector in BUILTIN) == [path.stem for path in FILES]
    assert set(CAUSE_HEADLINE) == CODES


@each_detector
def test_the_docstring_has_a_fact_and_four_sections(detector):
    fact = detector.doc.partition("\n")[0]
    assert fact.endswith(".")
    assert re.findall(r"\*\*([^*]+)\.\*\*", detector.doc) == SECTIONS
    for body in re.split(r"\*\*[^*]+\.\*\*", detector.doc)[1:]:
        assert len(body.split()) >= 8
    assert set(re.findall(r"\b[CIMVWG]\d{3}\b", detector.doc)) <= CODES - {detector.code}


@each_detector
def test_what_it_declares_exists(detector):
    assert detector.bound == BOUNDS[detector.code[0]]
    assert detector.kind == ("limit" if detector.code in ("C101", "M101", "M102") else "defect")
    assert set(detector.needs) <= set(HEALTHY)
    assert set(detector.lookalikes) <= CODES - {detector.code}
    under_load = all(name.startswith(("capacity.", "tail.", "startup.")) for name in detector.needs)
    elsewhere = under_load or detector.code in BESIDE
    assert bool(detector.cells) == (detector.bound != "measurement" and not elsewhere)
    assert detector.remedies
    assert detector.question.endswith("?")


@each_detector
def test_look_alikes_compete_for_a_cell(detector):
    by_code = {other.code: other for other in BUILTIN}
    for code in detector.lookalikes:
        assert any(_overlap(mine, theirs) for mine in detector.cells for theirs in by_code[code].cells)


def _overlap(mine, theirs):
    return mine[1] == theirs[1] and (mine[0] == theirs[0] or "*" in (mine[0], theirs[0]))


@each_file
def test_no_number_of_its_own(path):
    numbers = [
        node.value for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float | complex)
    ]  # fmt: skip
    assert numbers == []


@each_detector
def test_every_needed_signal_is_used_and_no_other(detector):
    tree = ast.parse((FOLDER / f"{detector.check.__name__}.py").read_text("utf-8"))
    used = [
        node.slice.value for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "signals"
    ]  # fmt: skip
    assert used == list(detector.needs)


@each_detector
def test_every_limit_is_a_shipped_one(detector):
    shipped = limits.shipped()
    for evidence in detector.check(signals_with(), shipped):
        assert evidence.relation in ("above", "below")
        assert shipped.by_name[evidence.limit.name] is evidence.limit


def test_every_needed_signal_is_derived():
    derived = {source.name for source in signals.BUILTIN}
    assert {name for detector in BUILTIN for name in detector.needs} <= derived
