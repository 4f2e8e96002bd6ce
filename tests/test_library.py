"""The library's page: its example runs as it stands, and what it says of the objects is true."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pinchpoint
from pinchpoint import api, asked, store
from pinchpoint.errors import BadInput
from synthetic import Script, marked, run_of

PAGE = (Path(__file__).parents[1] / "docs" / "library.md").read_text("utf-8")
EXAMPLE = re.search(r"<!-- example -->\n```python\n(.*?)```\n<!-- /example -->", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_example_runs(tmp_path):
    assert EXAMPLE
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLE[1]], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    if "does not count" in done.stderr or "not steady" in done.stderr:
        pytest.skip("the machine is too busy to tell")
    assert done.returncode == 0, done.stderr
    for words in ("LATENCY", " ms (", "p99", "latency ", "serialize"):
        assert words in done.stdout
    assert list((tmp_path / "runs").iterdir())


def test_the_fields_that_the_page_names_exist():
    for kind in (api.Outcome, pinchpoint.Diagnosis):
        for field in dataclasses.fields(kind):
            if field.name not in ("run", "schema", "pictures", "experiments"):
                assert f"`{field.name}`" in PAGE, field.name


def test_the_options_that_the_page_names_are_those_of_both_verbs():
    import inspect

    for name in inspect.signature(pinchpoint.diagnose).parameters:
        assert f"`{name}`" in PAGE, name


def test_limits_are_given_by_name(tmp_path):
    store.save(run_of(Script([marked("preprocess", 900, cpu=900), marked("model", 100, cpu=100)])), tmp_path / "run")
    run = str(tmp_path / "run")
    assert pinchpoint.diagnose(run).diagnosis.verdicts["latency"].cause == "C102"
    assert pinchpoint.diagnose(run, limits={"leading_share": 0.95}).diagnosis.verdicts["latency"].cause != "C102"
    with pytest.raises(BadInput, match="trivial_shore"):
        pinchpoint.diagnose(run, limits={"trivial_shore": 0.1})


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    store.save(run_of(Script([marked("preprocess", 100, cpu=100)], requests=50)), tmp_path / "run")
    page = api.write_page(tmp_path / "run")
    before = page.read_text()

    def broken(*_):
        raise RuntimeError("no drawing today")

    monkeypatch.setattr(api, "render", broken)
    with pytest.raises(pinchpoint.PinchpointError, match="no drawing today"):
        api.write_page(tmp_path / "run")
    assert page.read_text() == before
    assert sorted(each.name for each in (tmp_path / "run").iterdir() if "report" in each.name) == ["report.html"]


def test_a_function_is_named_for_the_process_that_imports_it():
    import colorsys

    assert asked.named(colorsys.rgb_to_hsv) == f"{colorsys.__file__}:rgb_to_hsv"
    assert asked.named(Path("app.py:handle")) == "app.py:handle"


@pytest.mark.parametrize("target", [lambda: 1, {}.get, "x".upper])
def test_a_function_that_nobody_else_can_import_is_refused(target):
    with pytest.raises(BadInput, match="no other process can import"):
        pinchpoint.diagnose(target)


def test_a_script_that_measures_itself_is_not_started_again(monkeypatch):
    monkeypatch.setenv("PINCHPOINT_CHILD", "pinchpoint-1")
    with pytest.raises(BadInput, match="__main__"):
        pinchpoint.diagnose(test_limits_are_given_by_name)
