"""Demands and capacity from synthetic visits, whose truth is a closed form of operational analysis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinchpoint import api
from pinchpoint.contracts import Tables
from pinchpoint.demands import CPU, GIL, demands, rungs
from pinchpoint.domain.change import Change, DemandEdit
from pinchpoint.domain.demand import Rung, crowding, knee, saturated
from pinchpoint.domain.quantity import Quantity, exact
from pinchpoint.domain.run import Held, Visit
from pinchpoint.inquire import inquire
from pinchpoint.ledger import latency_ledger
from pinchpoint.limits import shipped
from pinchpoint.plugins import builtin
from pinchpoint.predict import predict_throughput
from synthetic import Script, marked, run_of


def visits(
    reached, cpu=0.0, held=0.0, gil=0.0, background=0.02, loads=(1, 2, 4, 8), times=5, soft=("lock", "app.py:3", 1.0)
):
    """Visits of half a second at each load: `reached(load)` completions a second, noise of a per cent."""
    rng, found = np.random.default_rng(3), []
    for load in (0, *loads):
        for _ in range(times):
            rate = reached(load) * rng.normal(1, 0.01) if load else 0.0
            done = round(rate * 0.5)
            used = (Held(*soft, done * held, 0.0, done),) if held and done else ()
            busy = min(gil * rate, 1.0)
            found.append(
                Visit(load, 0, 500_000_000, done, 0, done * cpu + 0.5 * background, load / max(rate, 1), (0.1, 0.1, 0.1),
                      used, 400, round(400 * busy))
            )  # fmt: skip
    return tuple(found)


def closed(demand, servers=1, rest=0.0):
    """Throughput of a balanced closed loop: N / (D + rest) until the servers are full."""
    return lambda load: min(load / (demand + rest), servers / demand)


def recorded(ladder, ended="complete"):
    run = run_of(Script([marked("preprocess", 4000, cpu=4000)]))
    return replace(run, ladder=ladder, ladder_ended=ended)


@pytest.mark.parametrize("times", [1, 4])
def test_a_visit_counts_whole_requests(times):
    """GIVEN visits that are all alike, or one alone THEN the rate is known to a request in each, and no better."""
    same = Visit(4, 0, 2_000_000_000, 20, 0, 0.0, 0.4, (0.4, 0.4, 0.4))
    (rung,) = rungs((same,) * times)
    found = rung.throughput_per_s
    half = 0.5 / np.sqrt(times)
    assert (found.value, found.low, found.high) == pytest.approx((10, 10 - half, 10 + half))


def tables_of(run):
    return Tables(run, {"latency": latency_ledger(run)}, demands(run), (), rungs(run.ladder))


def at(run, resource, load):
    return next(each for each in demands(run) if each.resource == resource and each.load == load)


def test_a_demand_is_busy_seconds_without_the_background():
    """GIVEN 4 ms of CPU a request on 2 CPUs and 0.02 of a CPU in the background THEN both are told apart at every load."""
    run = recorded(visits(closed(0.004, servers=2), cpu=0.004))
    for load in (1, 2, 4, 8):
        found = at(run, CPU, load)
        assert found.seconds_per_request.low <= 0.004 <= found.seconds_per_request.high
        assert found.background_per_s.value == pytest.approx(0.02)
        assert found.ceiling_per_s.value == pytest.approx((2 - 0.02) / 0.004, rel=0.01)
    assert at(run, CPU, 1).utilization.value == pytest.approx(0.5, abs=0.02)
    assert at(run, CPU, 8).utilization.value == pytest.approx(1.0, abs=0.02)


def test_what_holds_the_interpreter_while_nothing_is_asked_is_background():
    """GIVEN a thread of the target's own that holds it a quarter of the time THEN requests find three quarters."""
    idle = tuple(replace(v, gil_held=100) if v.load == 0 else v for v in visits(closed(0.01), gil=0.005))
    found = at(recorded(idle), GIL, 8)
    assert found.background_per_s.value == pytest.approx(0.25)
    assert found.seconds_per_request.value == pytest.approx((0.5 - 0.25) / 100, rel=0.1)
    assert found.ceiling_per_s.value == pytest.approx(0.75 / 0.0025, rel=0.1)


def test_a_demand_that_cannot_be_told_from_none_has_no_ceiling():
    found = at(recorded(visits(closed(0.004), cpu=0.004)), GIL, 8)
    assert found.seconds_per_request.value == 0
    assert found.ceiling_per_s is None


def test_no_readings_no_lock_of_the_interpreter():
    free = tuple(replace(v, gil_probes=0, gil_held=0) for v in visits(closed(0.01)))
    assert not [each for each in demands(recorded(free)) if each.resource == GIL]


def test_rungs_have_throughput_and_latency_with_intervals():
    found = rungs(visits(closed(0.004, servers=2)))
    assert [rung.load for rung in found] == [1, 2, 4, 8]
    assert found[1].throughput_per_s.low < 500 < found[1].throughput_per_s.high
    assert found[0].throughput_per_s.n == 5


@pytest.mark.parametrize(("rates", "load", "lowest"), [
    ((100, 200, 300, 310), 8, 4),
    ((100, 104, 103, 99), 8, 2),  # a flat curve, its best is chance
    ((100, 104, 103, 90), 4, 2),
    ((100, 200, 150, 100), 2, 2),  # more company makes it slower
    ((100, 95, 94, 93), 8, 2),  # hardly slower
    ((100, 60, 50, 40), 1, None),
])  # fmt: skip
def test_a_flat_curve_is_judged_at_its_highest_load(rates, load, lowest):
    sure = [Quantity(rate, rate - 2, rate + 2, 5) for rate in rates]
    each = [Rung(2**n, rate, exact(0.01), None) for n, rate in enumerate(sure)]
    found = saturated(each)
    assert found is not None
    assert found.load == load
    assert saturated([]) is None
    at_the_knee = knee(each)
    assert (at_the_knee.load if at_the_knee else None) == lowest
    assert knee([]) is None


@pytest.mark.parametrize(("visited", "load"), [
    ((5, 5, 5, 2), 4),
    ((5, 5, 3, 3), 8),
    ((5, 2, 2, 2), 8),  # of one in flight nobody waits for another
])  # fmt: skip
def test_a_load_that_was_hardly_visited_is_not_judged_where_another_serves_as_many(visited, load):
    rates = (100, 200, 201, 202)
    each = [
        Rung(2**number, Quantity(rate, rate - 150, rate + 150, n), exact(0.01), None)
        for number, (rate, n) in enumerate(zip(rates, visited, strict=True))
    ]
    assert saturated(each).load == load


@pytest.mark.parametrize(("rates", "latencies_ms", "load", "longer"), [
    ((100, 102, 101), (10, 20, 40), 4, 0.75),  # a line of four
    ((100, 200, 400), (10, 10, 10), 4, 0.0),  # nobody waits for anybody
    ((100, 50, 20), (10, 40, 200), None, None),  # one at a time is best
])  # fmt: skip
def test_how_much_longer_a_request_takes_because_of_the_others(rates, latencies_ms, load, longer):
    each = zip(rates, latencies_ms, strict=True)
    rungs_ = [
        Rung(2**n, Quantity(rate, rate - 2, rate + 2, 5), exact(ms / 1e3), None) for n, (rate, ms) in enumerate(each)
    ]
    found = crowding(rungs_)
    assert (found and found.load) == load
    assert found is None or found.longer.value == pytest.approx(longer)
    assert crowding(rungs_[1:]) is None


def shared_out(ladder, *shares, each=1):
    """The same with pools made at one line that are busy for so much of the time; a request uses `each` of them."""
    names = [f"app.py:4 #{number}".removesuffix(" #1") for number in range(1, len(shares) + 1)]
    return tuple(
        replace(visit, held=tuple(
            Held("pool", name, 1.0, share * visit.seconds, 0.0, each * visit.done // len(shares))
            for name, share in zip(names, shares, strict=True)
        )) if visit.load > 1 else visit
        for visit in ladder
    )  # fmt: skip


CASES = {
    "CPUs full": (visits(closed(0.004, servers=2), cpu=0.004), "complete", ("cpu", "C102")),
    "GIL": (visits(closed(0.004), cpu=0.004, gil=0.004), "complete", ("wait", "W101")),
    "a lock": (visits(closed(0.005, rest=0.002), cpu=0.0001, held=0.005), "complete", ("wait", "W104")),
    "a pool": (
        visits(closed(0.02, 4), cpu=0.0001, held=0.02, soft=("pool", "app.py:4", 4.0)),
        "complete",
        ("wait", "W102"),
    ),
    "places": (
        visits(closed(0.02, 4), cpu=0.0001, held=0.02, soft=("semaphore", "app.py:4", 4.0)),
        "complete",
        ("wait", "W102"),
    ),
    "pools alike": (
        shared_out(visits(closed(0.02, 2), cpu=0.0001, held=0.02, soft=("pool", "app.py:4", 1.0)), 0.95, 0.95),
        "complete",
        ("wait", "W102"),
    ),
    "one of two pools": (
        shared_out(visits(closed(0.02), cpu=0.0001, held=0.02, soft=("pool", "app.py:4", 1.0)), 0.95, 0.05),
        "complete",
        ("wait", "W106"),
    ),
    "one after the other": (
        shared_out(visits(closed(0.02), cpu=0.0001, held=0.02, soft=("pool", "app.py:4", 1.0)), 0.95, 0.05, each=2),
        "complete",
        ("wait", "W102"),
    ),
    "a disk": (visits(closed(0.01), cpu=0.0001, held=0.01, soft=("disk", "vda", 1.0)), "complete", ("io", "I101")),
    "event loop": (visits(closed(0.004), cpu=0.004, held=0.004, soft=("loop", "", 1.0)), "complete", ("wait", "W105")),
    "Python in the loop": (
        visits(closed(0.004), cpu=0.004, gil=0.004, held=0.004, soft=("loop", "", 1.0)),
        "complete",
        ("wait", "W101"),
    ),
    "GIL and CPU on one CPU": (visits(closed(0.004, servers=2), cpu=0.004, gil=0.004), "complete", ("cpu", "C102")),
    "GIL beside threads that spin": (visits(closed(0.004), cpu=0.0075, gil=0.004), "complete", ("wait", "W101")),
    "nothing watched is full": (visits(closed(0.005), cpu=0.0001), "complete", ("unknown", None)),
    "still growing": (
        visits(lambda n: n / 0.005, cpu=0.0001),
        "throughput still grew at 64 in flight",
        ("unknown", None),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_stops_throughput(name):
    ladder, ended, (bound, cause) = CASES[name]
    found = inquire(recorded(ladder, ended), builtin(), shipped())
    verdict = found.verdicts["capacity"]
    assert (verdict.bound, verdict.cause) == (bound, cause)
    assert found.verdicts["latency"].cause == "C102"
    assert verdict.sentence


def test_a_gil_that_fills_names_the_work_beside_it():
    """The ruling: latency names C102, capacity W101 with C102 in also."""
    found = inquire(recorded(CASES["GIL"][0]), builtin(), shipped())
    assert found.verdicts["capacity"].also == ("C102",)
    assert found.verdicts["latency"].proof == "supported"
    gain = found.verdicts["capacity"].gain
    assert gain.statistic == "throughput"
    assert gain.value == pytest.approx(2.0, rel=0.05)


def test_a_full_resource_whose_cause_is_not_certain_is_a_hypothesis():
    """GIVEN CPUs that are not clearly idle THEN W101 is open, and so is the verdict that names it."""
    proofs = []
    for name in ("GIL", "GIL beside threads that spin"):
        found = inquire(recorded(CASES[name][0]), builtin(), shipped())
        status = next(each.status for each in found.findings if each.code == "W101")
        proofs.append((status == "present", found.verdicts["capacity"].proof))
    assert proofs == [(True, "supported"), (False, "hypothesis")]


def test_what_nobody_watched_lets_so_many_in():
    """GIVEN 200 requests a second of 4 ms each, however many are in flight THEN 0.8 are served at a time."""
    found = inquire(recorded(CASES["nothing watched is full"][0]), builtin(), shipped())
    assert "as if 0.8 (" in found.verdicts["capacity"].sentence
    busy = inquire(recorded(visits(closed(0.005), cpu=0.008)), builtin(), shipped())  # 1.6 of 2 CPUs, which may be why
    assert busy.verdicts["capacity"].bound == "unknown"
    assert "as if" not in busy.verdicts["capacity"].sentence
    growing = inquire(recorded(CASES["nothing watched is full"][0], "the time was up"), builtin(), shipped())
    assert "as if" not in growing.verdicts["capacity"].sentence


def test_what_is_full_in_the_middle_of_its_interval_may_be_full():
    """GIVEN visits at 76 and at 100 % of two CPUs THEN nothing is called full, nor is it said that nothing is."""
    ladder = visits(closed(0.005), cpu=0.0088)
    uneven = [replace(each, cpu_s=each.cpu_s * (0.86, 1.14)[at % 2]) for at, each in enumerate(ladder)]
    found = inquire(recorded(uneven), builtin(), shipped())
    verdict = found.verdicts["capacity"]
    assert verdict.bound == "unknown"
    assert verdict.sentence == "Not known: CPUs at 87 % may be full, or not (from 69 %); a longer run decides."


def test_failing_under_load_leaves_the_latency_alone():
    found = inquire(recorded((), "3 of 50 requests failed with 2 in flight: ValueError"), builtin(), shipped())
    assert found.verdicts["capacity"].bound == "unknown"
    assert "3 of 50" in found.verdicts["capacity"].sentence
    assert found.verdicts["latency"].cause == "C102"
    assert api.render(found)


def test_a_second_lock_gains_until_the_next_resource_is_full():
    """GIVEN 5 ms under a lock and 1.5 ms of CPU on 2 CPUs THEN two locks give 400/s, and three no more than the CPUs."""
    run = recorded(visits(closed(0.005), cpu=0.0015, held=0.005, background=0.0))
    tables = tables_of(run)
    for capacity, expected in ((2.0, 400), (10.0, 2 / 0.0015)):
        change = Change("r", "W104", "w", "estimate", (), demands=(DemandEdit("lock ", exact(1.0), exact(capacity)),))
        assert predict_throughput(tables, change).after.value == pytest.approx(expected, rel=0.02)
    assert predict_throughput(replace(tables, rungs=()), change) is None


def test_what_is_moved_off_the_loop_is_bounded_by_the_rest():
    """GIVEN 4 ms in the loop, none of it Python, and 2 CPUs THEN threads may reach 500/s."""
    run = recorded(visits(closed(0.004), cpu=0.004, held=0.004, soft=("loop", "", 1.0), background=0.0))
    found = inquire(run, builtin(), shipped())
    gains = {p.change.remedy: p for p in found.predictions}
    assert gains["off-the-loop"].change.kind == "bound"
    assert gains["off-the-loop"].after.value == pytest.approx(500, rel=0.02)
    assert gains["more-processes"].after.value == pytest.approx(500, rel=0.02)


def test_requests_spread_over_pools_alike():
    """GIVEN pools busy 95 and 5 % of the time THEN spread evenly they serve 95 / 50 times as many, until the next is full."""
    found = inquire(recorded(CASES["one of two pools"][0]), builtin(), shipped())
    (spread,) = [p for p in found.predictions if p.change.remedy == "spread-requests"]
    assert spread.gain.value == pytest.approx(1.9, rel=0.05)
    assert "more-workers" not in {p.change.remedy for p in found.predictions}
    assert found.verdicts["capacity"].where == "queue"


def test_twice_the_workers():
    run = recorded(visits(closed(0.02, 4), cpu=0.0001, held=0.02, soft=("pool", "app.py:4", 4.0)))
    (workers,) = [p for p in inquire(run, builtin(), shipped()).predictions if p.change.remedy == "more-workers"]
    assert workers.gain.value == pytest.approx(2.0, rel=0.05)
    assert "8 instead of 4" in workers.change.words


def test_rates_that_may_be_nothing_forecast_nothing():
    """GIVEN two visits that disagree so much that the interval reaches zero THEN nothing is divided by it."""
    pair = (closed(0.004)(1) * 0.2, closed(0.004)(1))
    few = visits(closed(0.004), cpu=0.004, gil=0.004, loads=(1,), times=2)
    wild = tuple(
        replace(v, done=round(rate * 0.5)) if v.load else v for v, rate in zip(few, (0, 0, *pair), strict=True)
    )
    found = inquire(recorded(wild), builtin(), shipped())
    assert found.rungs[0].throughput_per_s.low == 0
    assert not [p for p in found.predictions if p.change.statistic == "throughput"]
    assert api.render(found)
