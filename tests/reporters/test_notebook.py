"""What a notebook shows of what the library returns: whole, inert, and without an effect on the notebook around it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from test_html_page import EVIL, diagnosed

import factories as f
from pinchpoint.api import Outcome
from pinchpoint.reporters.terminal import render
from pinchpoint.startup import startup
from test_demands import CASES
from test_startup import run_with as started

VOID = {"br", "img", "meta", "input", "hr", "link"}
CLOSED_BY_SVG = {"path", "line", "rect", "text"}


class Checked(HTMLParser):
    """Fails on an element that is not closed, on script, and on attributes that run or load something."""

    def __init__(self, page):
        super().__init__()
        self.open, self.words = [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag not in {
            "script",
            "img",
            "iframe",
            "object",
            "embed",
            "link",
            "meta",
            "html",
            "head",
            "body",
            "main",
            "form",
            "a",
        }
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in {"src", "href", "xlink:href", "action", "id"}, name
            assert "javascript:" not in (value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def outcome(diagnosis, line=None):
    return Outcome(diagnosis, Path("pinchpoint-runs/1123-1729"), 0, line)


def test_a_notebook_gets_the_whole_report():
    page = outcome(diagnosed(CASES["GIL"][0]))._repr_html_()
    words = " ".join(Checked(page).words)
    for each in (
        "PREPROCESSING is the largest part",
        "What to do",
        "Where the time goes",
        "Demand on each resource",
        "Ruled out",
    ):
        assert each in words
    assert page.count("<svg") == 5
    assert len(page) < 1 << 20


def test_its_headings_lie_below_those_of_the_notebook():
    diagnosis = replace(diagnosed(CASES["GIL"][0]), starts=startup(started(reading=0.33)))
    page = outcome(diagnosis)._repr_html_()
    assert "From the start to the first answer" in page
    assert set(re.findall(r"<h\d", page)) == {"<h3", "<h4", "<h5"}


def test_whatever_a_target_is_called_is_inert():
    page = outcome(diagnosed(CASES["GIL"][0], target=EVIL + "</style></div><style>*{color:red}</style>"))._repr_html_()
    Checked(page)
    assert page.count("<style>") == 1
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page


def test_the_styles_hold_inside_of_the_report_only():
    style = resources.files("pinchpoint.reporters").joinpath("report.css").read_text("utf-8")
    bare = re.sub(r"@media[^{]*\{((?:[^{}]*\{[^{}]*\})*)\s*\}", r"\1", style)
    selectors = [each.strip() for rule in re.findall(r"([^{}]+)\{", bare) for each in re.split(r",(?![^(]*\))", rule)]
    assert len(selectors) > 20
    for selector in selectors:
        assert selector.startswith((".pinchpoint-report", "div.pinchpoint-report")), selector


def test_print_shows_the_screen():
    assert str(outcome(f.memory_bound())) == render(f.memory_bound())
    assert str(outcome(f.memory_bound(), "model.onnx: too short")).endswith("\nmodel.onnx: too short")


def test_the_prompt_of_ipython_shows_the_screen():
    class Printer:
        said = ""

        def text(self, text):
            self.said += text

    printer = Printer()
    outcome(f.memory_bound())._repr_pretty_(printer, cycle=False)
    assert "MEMORY SPEED" in printer.said


def test_markdown_is_the_report_as_markdown():
    assert outcome(f.memory_bound())._repr_markdown_().startswith("## pinchpoint: model.onnx")


@pytest.mark.parametrize("form", ["_repr_html_", "_repr_markdown_"])
def test_a_recording_has_no_report_but_a_place(form):
    recorded = outcome(None)
    assert getattr(recorded, form)() is None  # a notebook then shows the text
    assert str(recorded) == "run pinchpoint-runs/1123-1729"
    assert "not kept" in str(Outcome(None, None, 2, "x"))
