"""A server's own counts against what was sent and waited for: agreement, other clients, and counters that cannot be right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pinchpoint import api, limits, plugins
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import PARKED, RUNNING
from pinchpoint.domain.service import Counted, Queued
from pinchpoint.inquire import inquire
from served_runs import DECODING, alone, stacks

SENT = 400  # of 10 ms each
MS = 1e-3


def diagnosed(answered=SENT, counted=()):
    run = alone([(PARKED, 2), (RUNNING, 8)], cpu_s=8 * MS, requests=SENT, **stacks([(DECODING, 400)]))
    service = replace(run.service, answered=answered, counted=tuple(counted), teller="TorchServe")
    return inquire(replace(run, service=service), plugins.builtin(), limits.shipped())


def spent(name, seconds_each, count=SENT, of="request"):
    mean = Quantity(seconds_each, 0.9 * seconds_each, 1.1 * seconds_each, count)
    return Counted(name, count, seconds_each * count, mean, of)


def status(found):
    return {each.code: each.status for each in found.findings}["V103"]


@pytest.mark.parametrize(("answered", "counted", "expected"), [
    (SENT, [spent("request", 9 * MS), spent("queue", 1 * MS)], "absent"),
    (SENT + 5, [spent("request", 9 * MS)], "absent"),                      # somebody's probe now and then
    (1000, [spent("request", 9 * MS, 1000)], "present"),                   # other clients
    (None, [spent("request", 9 * MS)], "absent"),
    (SENT, [spent("queue", 9000 * MS)], "present"),                        # milliseconds that were taken for seconds
    (None, [spent("decode", 10 * MS, 4000, "token")], "present"),          # ten tokens of a request cannot take longer than it
    (None, [spent("decode", 0.8 * MS, 4000, "token")], "absent"),
])  # fmt: skip
def test_what_a_server_counts_against_what_was_sent(answered, counted, expected):
    found = diagnosed(answered, counted)
    assert status(found) == expected
    assert found.valid == (expected == "absent"), found.reasons


@pytest.mark.parametrize(("sent", "answered", "expected"), [
    (5, 6, "unknown"),  # one of few: it may be one that we gave up
    (5, 5, "unknown"),
    (5, 20, "present"),
    (40, 41, "absent"),
])  # fmt: skip
def test_one_request_more_proves_nothing(sent, answered, expected):
    run = alone([(PARKED, 2), (RUNNING, 8)], cpu_s=8 * MS, requests=sent)
    run = replace(run, service=replace(run.service, answered=answered, teller="TorchServe"))
    assert status(inquire(run, plugins.builtin(), limits.shipped())) == expected


def test_without_any_instrument_nothing_is_ruled_out():
    assert status(diagnosed(None)) == "unknown"


def test_other_clients_are_said_in_figures_and_their_time_is_no_second_contradiction():
    found = diagnosed(1000, [spent("request", 9 * MS, 1000)])
    (reason,) = found.reasons
    assert "other clients" in reason
    assert "1,000" in reason
    assert f"{SENT:,} of them ours" in reason
    screen = " ".join(api.render(found).split())
    assert "1,000 requests meanwhile" in screen


@pytest.mark.parametrize("form", ["terminal", "html", "markdown"])
def test_a_report_tells_what_the_server_counted(form):
    found = diagnosed(
        SENT, [spent("request", 9 * MS), spent("queue", 0.5 * MS), spent("decode", 0.2 * MS, 4000, "token")]
    )
    text = " ".join(api.render(found, form).split())
    for words in ("TorchServe", "all ours", "queued", "in the server 9.00 ms", "n=4,000): decode"):
        assert words in text, words


def test_queueing_under_load_is_told_beside_it():
    found = diagnosed(SENT, [spent("queue", 0.5 * MS)])
    crowded = (Queued(1, exact(0.5 * MS, SENT)), Queued(8, exact(62 * MS, 900)))
    screen = " ".join(api.render(replace(found, service=replace(found.service, queued=crowded))).split())
    assert "queued 62.0 ms with 8 in flight (n=900)" in screen


def test_nothing_is_told_of_a_server_that_tells_nothing():
    assert "Its own counters" not in api.render(diagnosed(None))


def test_stages_that_it_tells_are_said():
    found = diagnosed(None)
    told = replace(found, service=replace(found.service, stages=(spent("preprocess", 8 * MS), spent("model", 5 * MS))))
    screen = " ".join(api.render(told).split())
    assert "Server-Timing" not in api.render(found)
    assert f"Its stages, as it tells (Server-Timing): a request (n={SENT}): preprocess 8.00 ms" in screen
    assert ", model 5.00 ms" in screen


def test_what_a_server_calls_itself_cannot_write_on_the_screen():
    found = diagnosed()
    hostile = replace(
        found,
        service=replace(
            found.service,
            teller="T\x1b[31m",
            counted=(spent("q\x1b[2J", MS),),
            stages=(spent("s\x1b[2J", MS),),
        ),
    )
    assert "\x1b" not in api.render(hostile)
    assert "<script>" not in api.render(replace(hostile, service=replace(hostile.service, teller="<script>")), "html")
