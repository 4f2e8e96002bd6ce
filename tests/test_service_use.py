"""What was held while several requests were in flight at a server: visits whose threads are known at each moment."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from pinchpoint.demands import demands
from pinchpoint.domain.run import FUTEX, NETWORK, OBSERVED, PARKED, RUNNING, TIMER, Requests, Samples
from pinchpoint.domain.served import Served, ServerProcess
from pinchpoint.domain.service import ACCEPTING, HOLDING, INTERPRETER, SELECTOR, ServerThread, Stack, StackLook
from pinchpoint.service_use import LOCK, LOOP, POOL, PROCESS, ladder_of, workers
from served_runs import DECODING, FOURTH, PID, SECOND, THIRD, THREADS, WORKER, a_run, climbed, no_table
from served_runs import LOOP as THE_LOOP

LOOKED = 100
SELECTING = replace(THREADS[0], thread=20)


def part(share, site, place=0, rest=PARKED):
    """Sites and places of a thread that is at a site for a share of the moments and parked in the others."""
    inside = np.arange(LOOKED) < share * LOOKED
    return np.where(inside, site, rest), np.where(inside, place, 9)


def held(run, kind):
    """What of a kind was held: for each visit its capacity, and how many held it and waited for it on average."""
    return [
        tuple((each.capacity, each.held_s / visit.seconds, each.waited_s / visit.seconds)
              for each in visit.held if each.kind == kind)
        for visit in ladder_of(run)
    ]  # fmt: skip


# --- event loops ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("columns", "busy"), [
    (part(0.97, RUNNING), 0.97),  # full
    (part(0.30, RUNNING), 0.30),
    (part(0.50, TIMER, 3), 0.50),  # blocked in a timer, it serves nobody else
    (part(0.50, NETWORK, 3), 0.50),
    (part(0.50, FUTEX, 3), 0.50),  # a lock
    (part(0.97, FUTEX, -3), 0.0),  # the interpreter, for which it waits with a time limit
    (part(0.60, RUNNING, 0, rest=FUTEX), 1.0),  # places above 0
])  # fmt: skip
def test_how_full_an_event_loop_is(columns, busy):
    run = climbed((0, {}), (1, {THE_LOOP: columns}))
    ((), found) = held(run, LOOP)
    assert found == (pytest.approx((1, busy, 0.0)),)
    assert [each.name for each in ladder_of(run)[1].held if each.kind == LOOP] == [""]


def test_a_loop_that_partly_waits_for_the_interpreter():
    sites = np.where(np.arange(LOOKED) < 40, RUNNING, FUTEX)
    run = climbed((8, {THE_LOOP: (sites, np.where(sites == FUTEX, -3, 0))}))
    assert held(run, LOOP) == [(pytest.approx((1, 0.4, 0.0)),)]


def test_a_visit_that_was_hardly_looked_at_counts_for_nothing():
    """GIVEN two visits in which the loop is full, and hardly a look in one of them THEN it is full all the same."""
    run = climbed((0, {}), (8, {THE_LOOP: part(1.0, RUNNING)}), (8, {THE_LOOP: part(1.0, RUNNING)}))
    kept = run.samples.t_ns < run.ladder[-1].begin_ns
    thinned = Samples(*(getattr(run.samples, each.name)[kept] for each in fields(Samples)))
    assert used(run) == used(replace(run, samples=thinned)) == pytest.approx(1.0)


def used(run):
    """How much of the time the event loop was busy with 8 in flight."""
    (found,) = (each for each in demands(run) if (each.resource, each.load) == (LOOP, 8))
    return found.utilization.value


def test_loops_that_serve_nobody_are_none():
    """GIVEN two loops of which one does next to nothing THEN the other is all there is, and is full."""
    columns = {THE_LOOP: part(0.9, RUNNING), SELECTING.thread: part(0.01, RUNNING)}
    assert held(climbed((8, columns), threads=(*THREADS, SELECTING)), LOOP) == [(pytest.approx((1, 0.9, 0)),)]
    columns[SELECTING.thread] = part(0.5, RUNNING)
    run = climbed((8, columns), threads=(*THREADS, SELECTING))
    assert held(run, LOOP) == [
        (pytest.approx((1, 0.9, 0)), pytest.approx((1, 0.5, 0)))
    ]  # one may serve what the other takes in
    names = [f"of process {PID}, thread {thread}" for thread in (THE_LOOP, SELECTING.thread)]
    assert [each.name for each in ladder_of(run)[0].held] == names
    ladder = climbed((0, {}), (8, columns), threads=(*THREADS, SELECTING))
    assert {each.resource for each in demands(ladder) if each.resource.startswith(LOOP)} == {
        f"{LOOP} {name}" for name in names
    }
    assert held(climbed((8, {}), (16, {})), LOOP) == [(), ()]


# --- workers -------------------------------------------------------------------------------------------------------
def crew(count, site=RUNNING, place=0, share=1.0):
    """So many workers that are all at a site."""
    return {thread: part(share, site, place) for thread in (WORKER, SECOND, THIRD, FOURTH)[:count]}


@pytest.mark.parametrize(("loads", "busy", "capacity"), [
    ((1, 2, 8), 2, 2),  # two workers, eight requests
    ((1, 2), 2, None),  # as many workers as requests: there may be more of them
    ((1, 2, 3), 2, 2),
    ((1, 5), 4, 4),
    ((1, 4), 4, None),
    ((1, 8), 0, None),  # nobody works: the loop does it itself
])  # fmt: skip
def test_workers_are_few_where_more_is_in_flight_than_ever_is_served(loads, busy, capacity):
    run = climbed((0, {}), *((load, crew(min(load, busy))) for load in loads))
    found = held(run, POOL)
    assert found[0] == ()
    if capacity is None:
        assert not any(found)
    else:
        expected = [(capacity, min(load, busy), load - min(load, busy)) for load in loads]
        assert [each for (each,) in found[1:]] == [pytest.approx(each) for each in expected]


def test_one_moment_with_another_thread_makes_no_part_of_a_worker():
    run = climbed((4, crew(1, share=0.85) | {SECOND: part(1 / LOOKED, RUNNING)}))
    assert held(run, POOL) == [(pytest.approx((1, 0.86, 3.14)),)]


HANDS_OVER = part(0.2, RUNNING)


@pytest.mark.parametrize(("second", "third", "capacity"), [
    (HANDS_OVER, HANDS_OVER, 1),  # to the one that is always busy: they serve nobody
    (part(0.55, RUNNING), HANDS_OVER, 3),  # serves too
])  # fmt: skip
def test_who_hands_requests_over_to_a_worker_is_none(second, third, capacity):
    columns = {WORKER: part(1, RUNNING), SECOND: second, THIRD: third}
    (found,), (more,) = held(climbed((4, columns), (16, columns)), POOL)
    assert found[0] == more[0] == capacity


def test_who_computes_without_requests_is_no_worker():
    columns = {WORKER: part(1, RUNNING)}
    assert held(climbed((0, columns), (8, columns)), POOL) == [(), ()]
    assert len(held(climbed((0, {}), (8, columns)), POOL)[1]) == 1


@pytest.mark.parametrize(("few", "many", "capacity"), [
    ((5, 90), (5, 90), 1),  # one place: now one of them, now the other
    ((5, 85), (10, 88), 1),
    ((5, 90), (50, 50), 2),  # the more are in flight the more are busy
    ((5, 70), (5, 90), 2),
    ((5, 40), (5, 40), 2),  # not full
])  # fmt: skip
def test_as_many_as_are_served_at_a_time_however_many_wait(few, many, capacity):
    """GIVEN in how many of a hundred moments both threads are busy and one is, with 4 and with 16 in flight."""
    run = climbed((4, in_turns(*few)), (16, in_turns(*many)))
    assert [found[0][0] for found in held(run, POOL)] == [capacity] * 2


def test_one_request_alone_waits_for_nobody():
    """GIVEN workers that are idle for half of the time with one in flight THEN as many as are busy with more are served at a time."""
    run = climbed((1, in_turns(0, 50)), (4, in_turns(5, 90)), (16, in_turns(5, 90)))
    assert [found[0][0] for found in held(run, POOL)] == [1] * 3


def in_turns(both, one):
    """Two workers that are busy together in the first moments, and one of them in the next."""
    at = np.arange(LOOKED)
    return {
        thread: np.where((at < both) | ((at < both + one) & (at % 2 == number)), RUNNING, PARKED)
        for number, thread in enumerate((WORKER, SECOND))
    }


def test_cpu_time_that_helpers_spin_is_not_used():
    """GIVEN a helper that runs while the worker sleeps, in half of the moments THEN half of the CPU time is none of the requests'."""
    helper = ServerThread(21, PID, "python", "work", python=False)
    columns = {
        WORKER: np.where(np.arange(LOOKED) < 50, RUNNING, TIMER),
        helper.thread: np.where(np.arange(LOOKED) < 50, PARKED, RUNNING),
    }
    run = climbed((0, {}), (8, columns), threads=(*THREADS, helper))
    (_, visit), (_, told) = run.ladder, ladder_of(run)
    assert told.cpu_s == pytest.approx(0.5 * visit.cpu_s)
    alone = climbed((0, {}), (8, columns), threads=(*THREADS, replace(helper, process=PID + 1)))
    assert ladder_of(alone)[1].cpu_s == visit.cpu_s


def test_workers_that_are_busy_half_of_the_time():
    assert held(climbed((8, crew(2, share=0.5))), POOL) == [(pytest.approx((2, 1.0, 7.0)),)]


def test_whatever_they_wait_for_workers_are_taken():
    columns = {WORKER: part(1, NETWORK, 3), SECOND: part(1, FUTEX, -3)}
    assert held(climbed((8, columns)), POOL) == [(pytest.approx((2, 2.0, 6.0)),)]


@pytest.mark.parametrize(("share", "load", "rate", "used"), [
    (0.85, 4, 52, 1.0),  # it gets each request handed over, and serves one at a time: 52/s of 20 ms
    (0.85, 4, 45, 0.85),  # fewer are served than one at a time: something else holds them back
    (0.85, 1, 52, 0.85),  # nobody waits for it
    (0.60, 4, 52, 0.60),  # idle for long
    (1.00, 4, 52, 1.00),
])  # fmt: skip
def test_a_worker_that_is_handed_its_next_request_is_taken_meanwhile(share, load, rate, used):
    run = climbed((0, {}), *((each, crew(1, share=share)) for each in (load, load, 8)))
    done = replace(run, ladder=tuple(replace(each, done=rate if each.load else 0) for each in run.ladder))
    start = np.arange(50) * 20_000_000
    one = Requests(np.arange(50), start, start + 20_000_000, np.full(50, OBSERVED))
    pool = next(each for each in demands(replace(done, requests=one)) if POOL in each.resource and each.load == load)
    assert pool.utilization.value == pytest.approx(used, abs=0.01)


def test_workers_that_are_seen_to_be_full_remain_so_where_the_rate_is_known_badly():
    run = climbed((0, {}), *((4, crew(1, share=0.97)) for _ in range(3)), (8, crew(1, share=0.97)))
    rates = iter((40, 52, 64))
    ladder = tuple(replace(each, done=next(rates) if each.load == 4 else 52 * (each.load > 0)) for each in run.ladder)
    start = np.arange(50) * 20_000_000
    one = Requests(np.arange(50), start, start + 20_000_000, np.full(50, OBSERVED))
    pool = next(
        each for each in demands(replace(run, ladder=ladder, requests=one)) if POOL in each.resource and each.load == 4
    )
    assert pool.utilization.low > 0.95


@pytest.mark.parametrize(("changes", "count"), [
    ({}, 4),
    ({"python": None}, 0),  # who is Python's is not known
    ({"python": False}, 0),  # helpers of a runtime
    ({"parked": SELECTOR}, 0),
    ({"parked": ACCEPTING}, 4),
    ({"parked": ""}, 4),  # started under load
])  # fmt: skip
def test_who_is_a_worker(changes, count):
    threads = (THREADS[0], *(replace(each, **changes) for each in THREADS[1:]))
    run = climbed((8, crew(2)), threads=threads)
    assert len(workers(run.service)) == count
    assert len(held(run, POOL)[0]) == (1 if count else 0)


def test_the_workers_of_a_server_without_python_are_the_threads_that_compute():
    """GIVEN a thread that computes in nearly all moments, one seldom, and several that only wait THEN there is one worker."""
    native = tuple(replace(each, python=False) for each in THREADS)
    columns = {
        WORKER: part(0.97, RUNNING),
        SECOND: part(0.1, RUNNING),
        **{each: part(0.8, FUTEX, 5) for each in (THIRD, FOURTH)},
    }
    assert held(climbed((1, columns), (8, columns), threads=native), POOL)[1] == (pytest.approx((1, 0.97, 7.03)),)
    assert held(climbed((8, columns)), POOL)[0][0][0] == 4  # of Python's all that are not parked serve


@pytest.mark.parametrize("python", [False, True])
def test_threads_that_share_one_request_are_neither_workers_nor_wait_for_a_lock(python):
    """GIVEN threads of a runtime that compute, and wait at a barrier, with one request in flight as with eight."""
    threads = tuple(replace(each, python=python) for each in THREADS)
    team = {WORKER: part(0.97, RUNNING)} | {each: part(0.6, RUNNING, rest=FUTEX) for each in (SECOND, THIRD)}
    team = {thread: (sites, np.where(sites == FUTEX, 5, places)) for thread, (sites, places) in team.items()}
    run = climbed((0, {}), (1, team), (8, team), threads=threads)
    assert [bool(held(run, kind)[2]) for kind in (POOL, LOCK)] == [python] * 2


# --- locks ---------------------------------------------------------------------------------------------------------
def test_a_lock_is_held_whenever_somebody_waits_for_it():
    """GIVEN three that wait for the lock of one that runs in three of four moments THEN it is held so long, waited thrice."""
    columns = {WORKER: part(0.75, RUNNING), **{each: part(0.75, FUTEX, 7) for each in (SECOND, THIRD, FOURTH)}}
    assert held(climbed((4, columns)), LOCK) == [(pytest.approx((1, 0.75, 2.25)),)]


@pytest.mark.parametrize(("columns", "waited"), [
    ({WORKER: part(1, FUTEX, -7)}, None),  # the interpreter
    ({WORKER: part(1, TIMER, 7)}, None),
    ({WORKER: part(1, FUTEX, 0)}, None),  # nobody knows which
    ({WORKER: part(0, FUTEX, 7)}, None),  # parked
    ({THE_LOOP: part(1, FUTEX, 7)}, None),  # that is the loop's
    ({WORKER: part(1, FUTEX, 7)}, None),  # nobody else ever waits there: it is its queue
    ({WORKER: part(0.9, FUTEX, 8), SECOND: part(0.5, FUTEX, 7), THIRD: part(0.2, FUTEX, 7)}, 0.7),
    ({WORKER: part(0.5, FUTEX, 7), SECOND: part(0.2, FUTEX, 7)}, 0.7),
])  # fmt: skip
def test_which_waits_are_for_a_lock(columns, waited):
    ((*found,),) = held(climbed((4, columns)), LOCK)
    assert [each[2] for each in found] == ([] if waited is None else [pytest.approx(waited)])


# --- processes alike -----------------------------------------------------------------------------------------------
OTHER = PID + 1
ALIKE = (THREADS[0], replace(SELECTING, process=OTHER))  # a loop each
SIBLINGS = tuple(ServerProcess(pid, 1, "worker.py") for pid in (PID, OTHER))
SAME_DOOR = Served(SIBLINGS, cpus=2.0, doors=(PID, OTHER))


def busy(first, second):
    """Two processes whose loops are busy so much of the time."""
    return {THE_LOOP: part(first, RUNNING), SELECTING.thread: part(second, RUNNING)}


@pytest.mark.parametrize(("served", "visits", "found"), [
    (SAME_DOOR, [(4, busy(1.0, 0.2))], (1.0, 0.2)),
    (SAME_DOOR, [(4, busy(1.0, 0.0))], (1.0, 0.0)),  # it waits for connections, and gets none
    (SAME_DOOR, [(4, busy(1.0, 0.6))], None),
    (SAME_DOOR, [(1, busy(0.9, 0.0)), (2, busy(1.0, 0.0))], None),  # too few to lie evenly
    (replace(SAME_DOOR, doors=(PID,)), [(4, busy(1.0, 0.2))], (1.0, 0.2)),  # siblings that both serve
    (replace(SAME_DOOR, doors=()), [(4, busy(1.0, 0.0))], None),  # one of them never does: it may be there for another purpose
    (replace(SAME_DOOR, doors=(), apart=(PID, OTHER)), [(4, busy(1.0, 0.0))], (1.0, 0.0)),  # each has a socket, and one is asked
    (replace(SAME_DOOR, doors=(), apart=(OTHER,)), [(4, busy(1.0, 0.0))], None),  # only the idle one has: metrics, for example
    (Served((SIBLINGS[0], replace(SIBLINGS[1], name="logger.py"))), [(4, busy(1.0, 0.2))], None),
    (Served((SIBLINGS[0], replace(SIBLINGS[1], parent=PID))), [(4, busy(1.0, 0.2))], None),
])  # fmt: skip
def test_processes_among_which_requests_lie_unevenly(served, visits, found):
    run = climbed((0, {}), *visits, threads=ALIKE, served=served)
    assert held(run, PROCESS)[-1] == (() if found is None else tuple(pytest.approx((1, each, 0.0)) for each in found))


def test_where_they_lie_unevenly_the_workers_of_all_are_no_pool():
    """GIVEN a worker that is full in one process and another that is idle THEN it is not one worker too few."""
    threads = (THREADS[1], replace(THREADS[2], process=OTHER))
    columns = {WORKER: part(1.0, RUNNING), SECOND: part(0.1, RUNNING)}
    run = climbed((8, columns), threads=threads, served=SAME_DOOR)
    assert [each.kind for each in ladder_of(run)[0].held] == [PROCESS, PROCESS]
    assert held(climbed((8, columns), threads=threads), POOL)[0]


# --- interpreters --------------------------------------------------------------------------------------------------
def holding(load, count, looked=500, processes=1):
    """A look at who holds the interpreter at a load."""
    return {
        "stacks": (Stack(HOLDING, load, count, DECODING),),
        "looks": (StackLook(HOLDING, load, looked, processes),),
    }


@pytest.mark.parametrize(("visits", "given", "found"), [
    ([(8, crew(2))], holding(8, 450), [(500, 450)]),
    ([(8, crew(2)), (8, crew(2))], holding(8, 450), [(250, 225), (250, 225)]),  # spread over visits, not counted twice
    ([(0, {}), (8, crew(2))], holding(8, 450), [(0, 0), (500, 450)]),
    ([(0, {}), (8, crew(2))], holding(0, 5, processes=2), [(1000, 5), (0, 0)]),  # at rest each process counts
    ([(8, crew(2))], holding(8, 450, processes=4), [(500, 450)]),  # under load, those that were seen to do anything
    ([(4, crew(2))], holding(8, 450), [(0, 0)]),  # nobody looked at that load
    ([(8, crew(2))], holding(8, 0, looked=0), [(0, 0)]),
    ([(8, crew(2))], holding(8, 700), [(500, 500)]),  # no more than there were looks
])  # fmt: skip
def test_looks_at_the_interpreter_are_spread_over_visits(visits, given, found):
    ladder = ladder_of(climbed(*visits, **given))
    assert [(each.gil_probes, each.gil_held) for each in ladder] == found


@pytest.mark.parametrize(("columns", "held"), [
    ({WORKER: part(0.97, FUTEX, INTERPRETER)}, 485),
    ({WORKER: part(0.3, FUTEX, INTERPRETER), SECOND: part(0.9, FUTEX, INTERPRETER)}, 450),  # of some moments twice
    ({WORKER: part(0.5, FUTEX, INTERPRETER)}, 400),  # more holders were seen
    ({WORKER: part(0.97, FUTEX, -3)}, 400),  # any other lock with a time limit
])  # fmt: skip
def test_an_interpreter_that_is_waited_for_is_not_free(columns, held):
    (visit,) = ladder_of(climbed((8, columns), **holding(8, 400)))
    assert (visit.gil_probes, visit.gil_held) == (500, held)


def test_each_busy_process_has_an_interpreter():
    threads = (*THREADS[:2], replace(THREADS[2], process=PID + 1), replace(THREADS[3], process=PID + 2))
    (visit,) = ladder_of(climbed((8, crew(2)), threads=threads, **holding(8, 450, processes=3)))
    assert (visit.gil_probes, visit.gil_held) == (1000, 450)


# --- all together --------------------------------------------------------------------------------------------------
def test_too_few_looks_are_no_figure():
    run = climbed((8, {WORKER: RUNNING, THE_LOOP: RUNNING}), looked=10)
    assert ladder_of(run)[0].held == ()


def test_what_was_not_looked_at_and_what_is_no_server_stays_as_it_is():
    run = climbed((0, {}), (8, crew(2)))
    blind = replace(run, samples=type(run.samples)(*no_table(5)))
    assert ladder_of(blind) == tuple(replace(visit, looked=False) for visit in run.ladder)
    assert ladder_of(replace(run, service=None)) is run.ladder
    assert ladder_of(a_run(run.samples)) == ()


def test_demands_of_what_was_held():
    """GIVEN a loop that is full at 100 requests a second THEN it is busy for 10 ms of each, and they cannot be more."""
    run = climbed((0, {}), (1, {THE_LOOP: part(0.98, RUNNING)}), (1, {THE_LOOP: part(0.98, RUNNING)}))
    (found,) = [each for each in demands(run) if each.resource.startswith(LOOP)]
    assert found.seconds_per_request.value == pytest.approx(0.0098, rel=0.01)
    assert found.ceiling_per_s.value == pytest.approx(102, rel=0.01)
    assert found.utilization.value == pytest.approx(0.98, rel=0.01)
