"""What requests take on the way, of servers and networks that are known by construction: the ledger, its causes and forecasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinchpoint import limits
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import OBSERVED, PARKED, RUNNING, Asked, Samples, Telemetry
from pinchpoint.domain.service import Stream, Wire
from pinchpoint.inquire import inquire
from pinchpoint.ledger import latency_ledger
from pinchpoint.load.crew import ROW
from pinchpoint.plugins import builtin
from pinchpoint.predict import AWAKE_SHARE, COLDER_S
from pinchpoint.service_requests import SPANS, phases_of
from served_runs import a_service, alone, no_table

MS = 1e-3
HERE = Wire(
    far=False, round_trip=exact(4e-6, 8), answer_s=exact(0.1 * MS, 8), paused_s=exact(0.0, 8), pause_s=exact(0.0, 8)
)
FAR = Wire(far=True, round_trip=Quantity(20 * MS, 19.9 * MS, 20.1 * MS, 8), answer_s=exact(0.0, 8), paused_s=exact(0.0, 8),
           pause_s=exact(0.0, 8), fullness=exact(0.99, 8))  # fmt: skip
LARGE = {"answer_bytes": 300_000}


def asked(steps, *, connecting_ms=0.0, receiving_ms=0.0, events=0, cpu_ms=0.0, **service):
    """A run whose requests begin with making a connection and end with an answer that comes for so long."""
    run = alone(steps, cpu_s=cpu_ms * MS, round_trip=exact(0.1 * MS, 5), **service)
    requests = run.requests
    rows = np.zeros(len(requests.index), ROW)
    rows["due_ns"], rows["done_ns"], rows["events"] = requests.start_ns, requests.end_ns, events
    rows["sent_ns"] = requests.start_ns + int(connecting_ms * 1e6)
    rows["first_ns"] = requests.end_ns - int(receiving_ms * 1e6)
    return replace(run, spans=phases_of([(rows, OBSERVED)]), span_names=SPANS)


def unseen(milliseconds, **how):
    """The same of a server that cannot be looked into, each request of which takes so long."""
    run = asked([(PARKED, milliseconds)], **how)
    return replace(run, samples=Samples(*no_table(5)), telemetry=Telemetry.nothing())


def cells(run):
    """Milliseconds of the cells that are more than a hundredth of the latency."""
    ledger = latency_ledger(run)
    return {
        (row.site or row.state, row.label): row.seconds.value / MS
        for row in ledger.rows
        if abs(row.seconds.value) > ledger.latency.value / 100
    }


def near(**milliseconds):
    return {key: pytest.approx(value, rel=0.06, abs=0.2) for key, value in milliseconds.items()}


def by_site(run):
    found: dict[str, float] = {}
    for (site, _), value in cells(run).items():
        found[site] = found.get(site, 0.0) + value
    return found


# --- a server that cannot be looked into --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("run", "expected"), [
    (unseen(22, wire=FAR), near(distance=20, inside=1.9)),
    (unseen(43, wire=FAR, connecting_ms=21), near(connect=21, distance=20, inside=1.9)),
    (unseen(200, wire=FAR), near(distance=20, inside=180)),
    (unseen(15, wire=FAR), near(distance=20, unexplained=-5.1)),  # a round trip that requests did not take is not hidden
    (unseen(12, wire=replace(FAR, round_trip=None)), near(inside=11.9)),
])  # fmt: skip
def test_distance_and_what_is_inside(run, expected):
    assert by_site(run) == expected


@pytest.mark.parametrize(("wire", "answer_bytes", "sites"), [
    ({"answer_s": exact(0.1, 8)}, 300_000, near(distance=20, transfer=99.9, inside=1.9)),
    # a pause while the connection begins, and then no more
    ({"answer_s": exact(0.1, 8), "paused_s": exact(0.02, 8), "pause_s": exact(0.02, 8)}, 300_000,
     near(distance=20, transfer=99.9, inside=1.9)),
    # windows that each wait for the one before to be acknowledged
    ({"answer_s": exact(0.1, 8), "paused_s": exact(0.09, 8), "pause_s": exact(0.02, 8)}, 300_000, near(distance=119.9, inside=1.9)),
    # computed piece by piece: with pauses, or in small pieces
    ({"answer_s": exact(0.1, 8), "paused_s": exact(0.09, 8), "pause_s": exact(0.05, 8)}, 300_000,
     near(distance=20, inside=1.9, unexplained=100)),
    ({"answer_s": exact(0.1, 8), "fullness": exact(0.3, 8)}, 300_000, near(distance=20, inside=1.9, unexplained=100)),
    ({"answer_s": exact(0.1, 8), "fullness": None}, 300_000, near(distance=20, inside=1.9, unexplained=100)),
    # a few bytes fit into the first window: they wait for nothing but an acknowledgement, if that is what helps
    ({"answer_s": exact(0.02, 8)}, 300, near(distance=20, stall=99.9, inside=1.9)),
    ({"answer_s": exact(0.1, 8)}, 300, near(distance=20, inside=1.9, unexplained=100)),
])  # fmt: skip
def test_how_an_answer_comes(wire, answer_bytes, sites):
    """GIVEN an answer that takes 100 ms from its first byte to its last, 20 ms away."""
    run = unseen(122, receiving_ms=100, wire=replace(FAR, **wire), answer_bytes=answer_bytes)
    assert by_site(run) == sites


@pytest.mark.parametrize(("request_bytes", "rate", "sites"), [
    (300_000, 3e6, near(distance=20, transfer=100, inside=21.9)),
    (100_000, 3e6, near(distance=20, inside=121.9)),  # taken in windows that still grow
    (10_000, 1e5, near(distance=20, inside=121.9)),  # one window
    (300_000, None, near(distance=20, inside=121.9)),
])  # fmt: skip
def test_how_a_request_goes(request_bytes, rate, sites):
    wire = replace(FAR, rate_bytes_per_s=exact(rate, 8) if rate else None)
    assert by_site(unseen(142, wire=wire, request_bytes=request_bytes)) == sites


def test_of_several_inputs_messages_are_not_known_by_the_first():
    wire = replace(FAR, rate_bytes_per_s=exact(3e6, 8), answer_s=exact(0.1, 8))
    run = unseen(222, receiving_ms=100, wire=wire, request_bytes=300_000, **LARGE)
    several = Asked(*(np.zeros(4, np.int64) for _ in Asked.__slots__))
    assert by_site(replace(run, asked=several)) == near(distance=20, inside=101.9, unexplained=100)


def test_a_stream_is_made_while_it_comes():
    stream = Stream("token", 9.0, exact(0.02, 50), exact(0.01, 50))
    run = unseen(122, receiving_ms=100, events=9, wire=replace(FAR, answer_s=exact(0.1, 8)), stream=stream, **LARGE)
    assert by_site(run) == near(distance=20, inside=101.9)


# --- a server here ------------------------------------------------------------------------------------------------------------
def test_time_on_the_way_is_no_wait_of_a_server_that_was_looked_into():
    """GIVEN 3 ms of connecting and 42 ms of a stall in which nobody runs, and 5 ms of CPU THEN nothing is left, and nothing is
    counted twice.
    """
    run = asked([(PARKED, 3), (RUNNING, 5), (PARKED, 42)], cpu_ms=5, connecting_ms=3, receiving_ms=42, wire=HERE)
    assert by_site(run) == near(connect=3, stall=41.9, cpu=5)


def test_a_large_answer_here_is_no_bandwidth():
    """GIVEN an answer that comes for 6 ms while the server computes it THEN that is its CPU time."""
    wire = replace(HERE, answer_s=exact(6 * MS, 8), fullness=exact(0.99, 8))
    run = asked([(PARKED, 0.1), (RUNNING, 9.9)], cpu_ms=9.9, receiving_ms=6, wire=wire, **LARGE)
    assert by_site(run) == near(cpu=9.9, wire=0.1)


def test_runs_from_before_have_no_such_cells():
    run = asked([(PARKED, 0.1), (RUNNING, 5), (PARKED, 5)], cpu_ms=5, receiving_ms=5)
    assert by_site(run) == near(cpu=5, parked=5)
    assert (
        next(each.status for each in inquire(run, builtin(), limits.shipped()).findings if each.code == "I103")
        == "unknown"
    )


def test_only_requests_that_were_chosen_count():
    """GIVEN that every second request makes a connection THEN the mean has half of it."""
    run = unseen(22, wire=replace(FAR, round_trip=exact(10 * MS, 8)), connecting_ms=10)
    half = run.spans.index % 2 == 0
    spans = replace(run.spans, **{name: getattr(run.spans, name)[half] for name in run.spans.__slots__})
    assert by_site(replace(run, spans=spans)) == near(connect=5, distance=10, inside=6.9)


# --- verdicts and forecasts ---------------------------------------------------------------------------------------------------
AWAKE = max(2 - 1e3 * COLDER_S, 2 * AWAKE_SHARE)  # of 2 ms that are left, by a bound, if the server slept in what goes
NARROW = replace(FAR, round_trip=exact(0.1 * MS, 8), answer_s=exact(0.1, 8), packed=Quantity(0.4, 0.38, 0.5, 1))


@pytest.mark.parametrize(("run", "cause", "remedy", "gain"), [
    (unseen(22, wire=FAR), "I103", "move-closer", 22 / AWAKE),
    (unseen(24, wire=replace(FAR, round_trip=exact(2 * MS, 8)), connecting_ms=20), "I103", "keep-connections", 24 / 4),
    (unseen(102, receiving_ms=100, wire=NARROW, **LARGE), "I104", "smaller-messages", 102 / (2 + 40)),
    (asked([(PARKED, 44), (RUNNING, 2)], cpu_ms=2, receiving_ms=44, wire=HERE), "I103", "one-write", 46 / 2.1),
    (unseen(200, wire=FAR), None, None, None),
    (asked([(PARKED, 1), (RUNNING, 20)], cpu_ms=20, connecting_ms=0.4, wire=HERE), None, None, None),
])  # fmt: skip
def test_verdicts(run, cause, remedy, gain):
    found = inquire(run, builtin(), limits.shipped())
    answer = found.verdicts["latency"]
    assert answer.cause == cause
    if cause is not None:
        assert (answer.bound, answer.where) == ("io", "network")
        foreseen = [each for each in found.predictions if each.change.remedy == remedy]
        assert foreseen[0].gain.value == pytest.approx(gain, rel=0.1) or foreseen[-1].gain.value == pytest.approx(
            gain, rel=0.1
        )


def test_a_far_server_that_is_slow_itself_is_said_to_be():
    answer = inquire(unseen(200, wire=FAR), builtin(), limits.shipped()).verdicts["latency"]
    assert answer.bound == "unknown"
    assert "THE SERVER takes most of the time" in answer.sentence


def test_what_cannot_be_seen_in_a_far_server_is_not_ruled_out():
    found = {each.code: each.status for each in inquire(unseen(200, wire=FAR), builtin(), limits.shipped()).findings}
    assert {found[code] for code in ("C102", "C103", "C104", "C108", "C109", "I105", "W104", "W110")} == {"unknown"}


def test_what_is_predicted_is_of_what_is_there():
    found = inquire(unseen(22, wire=FAR), builtin(), limits.shipped())
    assert {each.change.remedy for each in found.predictions} == {"move-closer"}
    late = inquire(unseen(22, wire=FAR, connecting_ms=0.1), builtin(), limits.shipped())  # what a first request waits
    assert {each.change.remedy for each in late.predictions} == {"move-closer"}


def test_bytes_that_gzip_would_leave_are_an_estimate_and_none_at_all_a_bound():
    found = inquire(unseen(102, receiving_ms=100, wire=NARROW, **LARGE), builtin(), limits.shipped())
    kinds = {each.change.kind: each for each in found.predictions if each.change.remedy == "smaller-messages"}
    assert kinds["estimate"].after.value / MS == pytest.approx(42, rel=0.03)
    assert kinds["estimate"].after.low / MS < 41 < 51 < kinds["estimate"].after.high / MS
    assert kinds["bound"].after.value / MS == pytest.approx(AWAKE, rel=0.2)
    assert found.verdicts["latency"].gain.kind == "estimate"


def test_facts_of_the_way():
    assert inquire(unseen(22, wire=FAR), builtin(), limits.shipped()).service.wire == FAR
    assert a_service().wire is None
