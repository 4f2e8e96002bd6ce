"""Text on a screen."""

from __future__ import annotations

import pytest

from pinchpoint.reporters.layout import (
    Line,
    clean,
    coloured_text,
    columns,
    line,
    listed,
    padded,
    plain_text,
    shortened,
    wrapped,
)

NASTY = [
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]8;;http://evil\x1b\\link",
    "a\rb\nc\td", "\x9b31m", "\x00\x07\x08\x7f",
    "\u202eright to left", "zero\u200bwidth", "\udc80\udcff", "\u2028line", "\x1bc", "\x90dcs\x9c",
]  # fmt: skip


@pytest.mark.parametrize("text", NASTY)
def test_nothing_that_steers_a_terminal_gets_through(text):
    assert clean(text).isprintable()
    assert "\x1b" not in clean(text)


def test_cleaning_leaves_words_alone():
    assert clean("\x1b[1mbold\x1b[0m: naïve 猫.png") == "bold: naïve 猫.png"


@pytest.mark.parametrize(
    ("text", "width"),
    [("model.onnx", 10), ("a" * 300, 21), ("猫" * 50, 15), ("e\u0301" * 40, 9), ("abc", 2), ("abc", 0)],
)
def test_names_are_shortened_in_the_middle(text, width):
    short = shortened(text, width)
    assert columns(short) <= width
    assert columns(text) <= width or width < 3 or "..." in short


def test_both_ends_of_a_name_survive():
    short = shortened("/very/long/path/to/a/" + "x" * 90 + "/model.onnx", 30)
    assert short.startswith("/very/")
    assert short.endswith("/model.onnx")


def test_padding_counts_columns_not_characters():
    assert columns(padded("猫", 6)) == 6


@pytest.mark.parametrize("text", ["word " * 60, "x" * 300, "猫の " * 60, "short", "", "a " + "y" * 200 + " b"])
def test_wrapped_lines_fit(text):
    lines = wrapped(text, "LATENCY   ", 10)
    assert lines
    assert all(columns(each) <= 80 for each in lines)
    assert lines[0].startswith("LATENCY")


def test_lists_say_how_much_they_leave_out():
    lines = listed([f"thing number {i}" for i in range(40)], "Ruled out: ", 2)
    assert len(lines) == 2
    text = " ".join(" ".join(lines).split())
    assert f"and {40 - text.count('thing number')} more" in text
    assert listed([], "Ruled out: ") == []


def test_emphasis_is_beside_the_text():
    lines = [line("LATENCY 3 ms", "bold", "LATENCY"), Line("plain")]
    assert plain_text(lines) == "LATENCY 3 ms\nplain"
    assert coloured_text(lines) == "\x1b[1mLATENCY\x1b[0m 3 ms\nplain"


@pytest.mark.parametrize("text", ["a share of 46 % of it", "ein Anteil für 46 % davon"])
def test_no_line_begins_with_a_per_cent_sign(text):
    for width in range(8, 30):
        lines = wrapped(text, "", 0, width)
        assert not any(line.startswith("%") for line in lines)
        assert " ".join(lines) == text
