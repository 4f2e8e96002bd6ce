"""Requests three quarters of a latency apart: what a window does with them, and what a timer of each, a queue or a poll does."""

from __future__ import annotations

import numpy as np
import pytest

from pinchpoint import spaced
from pinchpoint.load import records
from pinchpoint.load.crew import ROW

NS = 1_000_000_000
TYPICAL_S = 0.02


def rows(ends):
    """Requests that come after three quarters of a latency each, and end as `ends` of their times says; seconds."""
    due = np.arange(40) * TYPICAL_S * 0.75
    found = np.zeros(len(due), ROW)
    found["due_ns"], found["done_ns"], found["outcome"] = due * NS, ends(due) * NS, records.OK
    return found


def window(due):
    """A batcher waits so long for others, from the first that comes."""
    ends, closes = [], -1.0
    for each in due:
        closes = closes if each < closes - 1e-9 else each + TYPICAL_S
        ends.append(closes)
    return np.array(ends)


def settled(due):
    """A batcher waits until nobody has come for so long, and three times as long at most."""
    return np.array([due[min(at // 6 * 6 + 5, len(due) - 1)] + TYPICAL_S for at in range(len(due))])


def served_in_turn(due, workers=1):
    """Some workers, each of which takes a latency for one."""
    free, ends = [0.0] * workers, []
    for each in due:
        ends.append(max(each, free[0]) + TYPICAL_S)
        free = sorted([*free[1:], ends[-1]])
    return np.array(ends)


def polled(due):
    """Who looks every latency finds one or two of them, the first of which has waited for three quarters of it at most."""
    return (np.floor((due + TYPICAL_S / 4) / TYPICAL_S) + 1) * TYPICAL_S - TYPICAL_S / 4


@pytest.mark.parametrize(("ends", "low", "high"), [
    (window, 0.9, 1.0),
    (settled, 0.9, 1.0),
    (lambda due: due + TYPICAL_S, 0.0, 0.0),                                            # a timer of each one's own
    (lambda due: due + TYPICAL_S * np.random.default_rng(1).normal(1, 0.05, len(due)), 0.0, 0.1),
    (served_in_turn, 0.0, 0.0),
    (lambda due: served_in_turn(due, 2), 0.0, 0.0),
    (polled, 0.0, 0.45),
])  # fmt: skip
def test_who_ends_together(ends, low, high):
    found = spaced.told(rows(ends), TYPICAL_S)
    assert (found.requests, found.seconds) == (40, TYPICAL_S * 0.75)
    assert low <= found.together / found.requests <= high


def test_requests_that_failed_tell_nothing():
    found = rows(window)
    found["outcome"][5:] = records.STATUS
    assert spaced.told(found, TYPICAL_S) is None


@pytest.mark.parametrize(
    ("typical_s", "seconds"), [(0.001, None), (0.004, 0.048), (0.05, 0.6), (0.15, 1.2), (0.3, None)]
)
def test_how_long_it_takes(typical_s, seconds):
    planned = spaced.plan(typical_s)
    assert (planned and planned[1]) == (seconds and pytest.approx(seconds))
    if planned:
        assert planned[0].rate_per_s == pytest.approx(1 / (0.75 * typical_s))
