"""The report as Markdown: the right order, tables that are tables, and whatever a target is called stays text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from test_html_page import diagnosed

import factories as f
from pinchpoint.reporters.markdown import escaped, render
from test_demands import CASES

RENDERER = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
EVIL = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a|b||c", "`code` ``two``", "*bold* __bold__ _it_ ~~gone~~",
    "[a link](javascript:alert(1))", "![x](http://evil/x.png)", "<http://evil>", "&lt;b&gt;&amp;", "line\nbreak\r\n\n# heading",
    "# heading", "> quote", "- item", "+ item", "* item", "1. item", "2) item", "---", "===", "***", "    code", "~~~", "```",
    "a\\|b\\", "\x1b[31mred\x07\u202egnp.exe\u200b", "<!-- comment", "</td></table>", "| --- |", "$$x$$", "[x]: http://evil",
    "[^1]", "--", "<b", "a_b_c", "::", "<?php", "猫|é",
]  # fmt: skip


def html_of(markdown):
    return RENDERER.render(markdown)


class Text(HTMLParser):
    """The text of a page and the elements in it."""

    def __init__(self, page):
        super().__init__()
        self.words, self.elements = [], []
        self.feed(page)

    def handle_data(self, data):
        self.words.append(data)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)

    @property
    def shown(self):
        return " ".join("".join(self.words).replace("\u200b", "").split())


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("around", ["{}", "- {}", "| {} | x |\n| --- | --- |\n| {} | y |", "## {}", "**{}**", "a {} b"])
def test_any_text_is_shown_as_it_is(text, around):
    seen = Text(html_of(around.replace("{}", escaped(text))))
    plain = Text(html_of(around.replace("{}", "word")))
    assert seen.elements == plain.elements
    bare = " ".join(re.sub(r"\x1b\[31m|[\x07\u202e\u200b]", "", text).split())
    assert seen.shown == plain.shown.replace("word", bare)


def test_it_says_first_what_is_first_and_all_that_is_known():
    text = render(diagnosed(CASES["GIL"][0]))
    order = ["PREPROCESSING is the largest part", "### What to do", "### Where the time goes", "### What slow requests spend",
             "### Demand on each resource", "### Throughput against requests in flight", "### Found", "### Ruled out",
             "### What could not be seen", "### Environment"]  # fmt: skip
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "W101" in text


def test_its_tables_are_tables_with_intervals_and_counts():
    page = html_of(render(f.memory_bound()))
    assert page.count("<table>") >= 4
    assert "<td>reading weights</td>\n<td>9.7 ms (9.0-10.4)</td>\n<td>73 %</td>\n<td>740</td>" in page
    assert "int8 weights (check the answers)" in page
    assert "M101 reading weights" in page
    assert "virtual machine without a PMU" in page
    assert "|" not in Text(page).shown


def test_a_run_that_does_not_count_says_why_and_claims_nothing():
    text = render(f.invalid())
    assert "NOT VALID" in text
    assert "37 of 120 requests failed: ValueError: bad shape" in text
    assert "now -> expected" not in text
    assert "### What to do" in text


def test_a_hostile_target_leaves_the_elements_as_they_are():
    evil = "`|*_<script>alert(1)</script><img src=x onerror=alert(1)>[a](javascript:b)\n# x\x1b[31m\u202e@all"
    text = render(diagnosed(CASES["GIL"][0], target=evil))
    seen, plain = Text(html_of(text)), Text(html_of(render(diagnosed(CASES["GIL"][0], target="word"))))
    assert seen.elements == plain.elements
    assert not {"script", "img", "a"} & set(seen.elements)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "@all" not in text  # nobody is called


def test_what_can_be_tried_is_a_command():
    found = f.preprocessing_heavy()
    assert "--set resize=fast" in render(replace(found, target=replace(found.target, kind="onnx")))


def test_what_is_unexplained_is_never_left_out():
    found = f.memory_bound()
    tail = [replace(f.row("cpu", 0.001, 0.01, label=f"part {i}"), question="tail") for i in range(100)]
    left = replace(f.row("unexplained", 0.002, 0.02), question="tail")
    text = render(replace(found, ledger=(*found.ledger, *tail, left)))
    table = text.split("### What slow requests spend")[1].split("###")[0]
    assert "unexplained" in table
    assert table.count("part ") < 100
