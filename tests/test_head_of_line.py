"""Small requests behind large ones: closed queues that are played through, so that who waited for whom is known."""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np
import pytest

from pinchpoint import api, head_of_line, limits, plugins
from pinchpoint.domain.run import Asked, Visit
from pinchpoint.inquire import inquire
from synthetic import Script, marked, run_of

MS = 1_000_000
LOAD = 8


def played(sizes_ms, weights, lines, requests=4000, seed=1):
    """A closed loop of `LOAD` clients: request of payload p takes `sizes_ms[p]` at a server of the line that `lines(p)` names,
    first come, first served; each line has one server, or as many as `lines.servers` says.
    """
    rng = np.random.default_rng(seed)
    free = {line: [0.0] * count for line, count in lines["servers"].items()}
    clients = [(0.0, number) for number in range(LOAD)]
    rows = []
    for _ in range(requests):
        begin, client = heapq.heappop(clients)
        payload = int(rng.choice(len(sizes_ms), p=weights))
        servers = free[lines["of"](payload)]
        start = max(begin, heapq.heappop(servers))
        end = start + sizes_ms[payload] * rng.uniform(0.95, 1.05)
        heapq.heappush(servers, end)
        heapq.heappush(clients, (end, client))
        rows.append((LOAD, payload, begin * MS, end * MS))
    return rows


def alone(sizes_ms, times=5):
    return [(1, payload, 0, size * MS) for payload, size in enumerate(sizes_ms) for _ in range(times)]


def run_with(rows):
    run = run_of(Script([marked("preprocess", 4000, cpu=4000)]))
    ladder = [Visit(0, 0, 10**9, 0, 0, 0.0, 0.0, ())]
    ladder += [Visit(load, 0, 10**9, 100, 0, 0.1, 0.01, (0.1,) * 3) for load in (1, LOAD) for _ in range(3)]
    asked = Asked(*np.array(rows, dtype=np.int64).T)
    return replace(run, asked=asked, ladder=tuple(ladder), ladder_ended="complete")


ONE_LINE = {"servers": {"all": 1}, "of": lambda _: "all"}
OF_ITS_OWN = {"servers": {"small": 1, "large": 1}, "of": lambda payload: "large" if payload else "small"}
MANY_SERVERS = {"servers": {"all": LOAD}, "of": lambda _: "all"}
SIZES = (2.0, 60.0)
RARE = (0.97, 0.03)


@pytest.mark.parametrize(("sizes", "weights", "lines", "status"), [
    (SIZES, RARE, ONE_LINE, "present"),
    (SIZES, (0.999, 0.001), ONE_LINE, "unknown"),  # too seldom to be sure of a twentieth of the small ones
    (SIZES, RARE, OF_ITS_OWN, "absent"),          # the healthy twin
    (SIZES, RARE, MANY_SERVERS, "absent"),        # nobody waits
    ((2.0, 2.4), (0.5, 0.5), ONE_LINE, "absent"), # the look-alike: a line that is long because of how many there are
    ((2.0, 6.0), (0.9, 0.1), ONE_LINE, "absent"), # not so much larger
])  # fmt: skip
def test_who_waits_behind_large_ones(sizes, weights, lines, status):
    found = inquire(run_with(alone(sizes) + played(sizes, weights, lines)), plugins.builtin(), limits.shipped())
    (finding,) = [each for each in found.findings if each.code == "W107"]
    assert finding.status == status, finding
    verdict = found.verdicts["tail"]
    assert (verdict.cause == "W107") == (status == "present")
    if status == "present":
        assert (verdict.bound, verdict.where) == ("wait", "queue")
        assert "8 in flight" in verdict.sentence
        assert all(api.render(found, form) for form in ("terminal", "markdown", "html", "json"))


def test_what_a_line_of_its_own_gains_is_as_foretold():
    """GIVEN the same clients with two lines THEN the slowest of the small ones are as was foretold; the line is a bit shorter too."""
    one, two = (run_with(alone(SIZES) + played(SIZES, RARE, lines)) for lines in (ONE_LINE, OF_ITS_OWN))
    found = inquire(one, plugins.builtin(), limits.shipped())
    (foretold,) = [each for each in found.predictions if each.change.remedy == "size-aware-queue"]
    after = head_of_line.behind(two, LOAD).slowest
    assert foretold.change.kind == "estimate"
    assert foretold.before.value / after.value == pytest.approx(foretold.gain.value, rel=0.1)


def test_all_the_waiting_is_laid_to_what_was_served():
    """GIVEN one server THEN slow small requests waited for large ones nearly all of what they took longer."""
    found = head_of_line.behind(run_with(alone(SIZES) + played(SIZES, RARE, ONE_LINE)), LOAD)
    assert found.share.low > 0.9
    assert found.ratio.value > 3
    assert np.all(found.behind_s <= found.latency_s)


def test_large_ones_that_are_always_served_by_some_of_many_keep_nobody():
    """GIVEN a line of four servers in which two large ones are served at most times THEN only where no small one is they are why."""
    many = {"servers": {"all": 4}, "of": lambda _: "all"}
    found = head_of_line.behind(run_with(alone(SIZES) + played(SIZES, RARE, many)), LOAD)
    assert np.mean(found.at_most_s) > 2 * np.mean(found.behind_s)
    assert found.share.value < found.share.high


@pytest.mark.parametrize(("rows", "why"), [
    (played(SIZES, RARE, ONE_LINE), "alone"),  # what they take alone is not known
    (alone((2.0,)) + played(SIZES, RARE, ONE_LINE), "alone"),
    (alone(SIZES) + played(SIZES, RARE, ONE_LINE, requests=40), "too few"),
    (alone(SIZES), "too few"),
    (alone((2.0, 2.0)) + played((2.0, 2.0), RARE, ONE_LINE), head_of_line.ALIKE),
])  # fmt: skip
def test_why_nothing_can_be_told(rows, why):
    assert why in head_of_line.behind(run_with(rows), LOAD)


def test_one_input_has_no_large_ones():
    run = replace(run_with(alone(SIZES)), asked=Asked())
    found = inquire(run, plugins.builtin(), limits.shipped())
    assert next(each.status for each in found.findings if each.code == "W107") == "absent"
