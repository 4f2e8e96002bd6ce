"""Numbers as people read them."""

from __future__ import annotations

import pytest

from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.reporters import figures
from pinchpoint.units import amount, digits, duration, parse_duration, percent


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3e-6, "3.00 us"), (0.0133, "13.3 ms"), (90.0, "90.0 s"), (0.0, "0 s"), (-0.0005, "-500 us"),
        (0.0009999, "1.00 ms"), (0.9999, "1.00 s"), (1e-10, "0.1 ns"), (3600.0, "3,600 s"),
    ],
)  # fmt: skip
def test_durations_take_the_unit_that_suits_them(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (13.34, "13.3"),
        (9.999, "10.0"),
        (0.0123, "0.0123"),
        (0.5, "0.5"),
        (1480, "1,480"),
        (1e-7, "0.0000001"),
    ],
)
def test_digits_never_use_an_exponent(value, text):
    assert digits(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.73, "73 %"),
        (0.004, "<1 %"),
        (-0.004, "-0.4 %"),
        (-0.00001, "0 %"),
        (0, "0 %"),
        (-0.12, "-12 %"),
        (1, "100 %"),
    ],
)
def test_percent_keeps_the_sign(share, text):
    assert percent(share) == text


def test_amounts_have_decimal_prefixes():
    assert [amount(67_108_864), amount(268_435_456, "B"), amount(999_999, "B"), amount(0, "B")] == [
        "67.1 M", "268 MB", "1.00 MB", "0 B",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"), [("60", 60), ("60s", 60), ("5m", 300), ("500ms", 0.5), ("1h", 3600), (" 2.5 s", 2.5)]
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "0", "nan", "inf", "5 minutes", "1e999", "abc"])
def test_what_is_no_duration_says_how_to_write_one(text):
    with pytest.raises(ValueError, match="such as 60"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("quantity", "shown"),
    [
        (Quantity(0.0133, 0.0131, 0.0135, 9), ("13.3", "13.1-13.5", "ms")),
        (Quantity(0.0133, 0.01329, 0.01331, 9), ("13.30", "13.29-13.31", "ms")),
        (Quantity(-0.0005, -0.001, 0.0002, 9), ("-500", "-1,000 to 200", "us")),
        (Quantity(0.00096, 0.0009, 0.0012, 9), ("0.96", "0.90-1.20", "ms")),
        (exact(3e-6), ("3.00", "", "us")),
    ],
)
def test_an_interval_has_the_unit_and_the_decimals_of_its_value(quantity, shown):
    assert figures.seconds(quantity) == shown


@pytest.mark.parametrize(
    ("quantity", "unit", "text"),
    [
        (Quantity(0.73, 0.68, 0.78, 9), "share", "73 % (68-78)"),
        (Quantity(0.012, 0.0111, 0.0129, 9), "share", "1 % (1.1-1.3)"),
        (exact(0.5), "share", "50 %"),
        (Quantity(21e9, 20.5e9, 21.5e9, 9), "B/s", "21.0 GB/s (20.5-21.5)"),
        (Quantity(2.0, 1.9, 2.1, 9), "threads a CPU", "2.00 threads a CPU (1.90-2.10)"),
        (Quantity(1.2, 1.1, 1.3, 9), "ratio", "1.20 (1.10-1.30)"),
    ],
)
def test_figures_follow_the_unit_of_the_signal(quantity, unit, text):
    assert figures.figure(quantity, unit) == text
