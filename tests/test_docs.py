"""Docs are part of the feature: generated pages are current, and what the README shows can be run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pinchpoint import plugins
from pinchpoint.domain import words
from pinchpoint.errors import BadInput
from pinchpoint.explain import GLOSSARY, explained
from pinchpoint.limits import shipped

ROOT = Path(__file__).parents[1]


def test_the_pages_of_the_causes_are_current():
    sys.path.insert(0, str(ROOT))
    from docs.causes import FOLDER, pages

    assert {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.md")} == pages(), "run make docs"


@pytest.mark.parametrize(
    "word", ["M101", "m101", "wait", "supported", "model.weights_share", "limits", "settings", "trivial_share"]
)
def test_a_word_is_explained_within_80_columns(word):
    page = explained(word, plugins.builtin(), shipped())
    assert page.strip()
    assert max(len(line) for line in page.splitlines()) <= 80


@pytest.mark.parametrize("word", ["", "causes"])
def test_without_a_word_all_causes_and_words_are_listed(word):
    listed = " ".join(explained(word, plugins.builtin(), shipped()).split())
    assert all(f"{each.code} {each.title}" in listed for each in plugins.builtin().detectors)
    assert set(GLOSSARY) <= set(listed.replace(",", "").split())


def test_every_cause_and_every_word_is_explained():
    for word in [*(d.code for d in plugins.builtin().detectors), *GLOSSARY]:
        assert explained(word, plugins.builtin(), shipped())


QUESTIONS = ("latency", "capacity", "tail", "startup")


@pytest.mark.parametrize(
    "word",
    [
        *QUESTIONS, *words.BOUND_WORDS, *words.STATE_WORDS, *words.PROOF_WORDS, *words.BASIS_WORDS, *words.BASIS_WORDS.values(),
        *words.CAPACITY_HEADLINE, *words.CEILING_WORDS, "p99", "throughput", "gain", "ledger", "ceiling", "GIL", "interval",
    ],
)  # fmt: skip
def test_every_word_of_a_report_is_explained(word):
    """The words that a screen, a page or a JSON document uses as terms."""
    assert explained(word, plugins.builtin(), shipped())


@pytest.mark.parametrize(("word", "near"), [("M10", "M10[1-7]"), ("starve", "starved"), ("xyzzy", "causes lists all")])
def test_an_unknown_word_is_answered_with_near_ones(word, near):
    with pytest.raises(BadInput, match=near):
        explained(word, plugins.builtin(), shipped())
