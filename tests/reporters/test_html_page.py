"""The page: complete, small, without script, safe with whatever a target is called, and readable in a browser."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from browser import BROWSER, shown
from pinchpoint.inquire import inquire
from pinchpoint.limits import shipped
from pinchpoint.plugins import builtin
from pinchpoint.reporters.html_page import render
from synthetic import Script, marked, run_of
from test_demands import CASES
from test_tail import run_with

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&\x1b[31m\u202e"


@pytest.fixture(scope="module")
def page():
    return render(diagnosed(CASES["GIL"][0]))


def diagnosed(ladder=(), target=None):
    run = replace(run_with(marked("preprocess", 9000, cpu=9000)), ladder=ladder, ladder_ended="complete")
    if target is not None:
        names = tuple(target for _ in run.span_names)
        run = replace(run, target=replace(run.target, uri=target), span_names=names, notes=(target,), id=target)
    return inquire(run, builtin(), shipped())


def test_it_says_what_the_screen_says(page):
    for words in ("PREPROCESSING is the largest part", "What to do", "Where the time goes", "Several requests in flight",
                  "GIL", "W101", "slow requests", "Ruled out", "What could not be seen", "ceilings"):  # fmt: skip
        assert words in page, words
    assert page.count("<svg") == 5


def test_it_has_no_script_and_loads_nothing(page):
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=", page)
    assert "default-src 'none'" in page


def test_it_stays_small_however_long_the_run(page):
    assert len(page) < 3 << 20


def test_what_a_target_is_called_stays_text():
    page = render(diagnosed(CASES["GIL"][0], target=EVIL))
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page


def test_a_run_with_next_to_nothing_in_it_is_a_page_too():
    run = run_of(Script([marked("preprocess", 100, cpu=100)], requests=2))
    assert "</html>" in render(inquire(run, builtin(), shipped()))


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_shows_it(page, tmp_path, width):
    document = shown(page, tmp_path, width)
    assert "PREPROCESSING is the largest part" in document
    assert document.count("<svg") == 5
