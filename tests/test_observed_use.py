"""Servers that were only watched, of which it is given what each thread does: how busy what they use was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import served_runs as s
from pinchpoint.domain.run import DISK, FUTEX, NETWORK, OTHER, PARKED, RUNNING, TIMER
from pinchpoint.domain.served import Served, ServerProcess
from pinchpoint.domain.service import INTERPRETER, SELECTOR, Peer, ServerThread
from pinchpoint.observed_use import OTHERS, observed

THREE = 3  # stretches
CHILDREN = Served(tuple(ServerProcess(pid, parent, "gunicorn") for pid, parent in ((10, 1), (20, 10), (30, 10))))
MASTER, FIRST, SECOND = (ServerThread(pid, pid, "gunicorn", "accepting", python=True) for pid in (10, 20, 30))


def used(found):
    """Shares by resource."""
    return {each.resource: each.used.value for each in found.uses}


def some(*sites):
    """A hundred moments: {site: how many of them}."""
    return np.repeat([site for site, _ in sites], [count for _, count in sites])


@pytest.mark.parametrize(("computes", "share"), [(0, None), (1, None), (40, 0.4), (99, 0.99), (100, 1.0)])
def test_an_event_loop_is_busy_while_it_is_not_in_its_selector(computes, share):
    loop = {s.LOOP: some((RUNNING, computes), (PARKED, 100 - computes))}
    assert (
        used(observed(s.watched(*[loop] * THREE))).get("loop") == share
    )  # one that does next to nothing serves nobody


def test_a_loop_that_waits_for_the_interpreter_is_not_busy_by_itself():
    waits = some((FUTEX, 60), (RUNNING, 40))
    run = s.watched(*[{s.LOOP: (waits, np.where(waits == FUTEX, INTERPRETER, 0))}] * THREE)
    assert used(observed(run))["loop"] == 0.4


def test_several_loops_are_each_told():
    loops = (s.THREADS[0], replace(s.THREADS[0], thread=11, process=11))
    run = s.watched(
        *[{s.LOOP: some((RUNNING, 90), (PARKED, 10)), 11: some((RUNNING, 20), (PARKED, 80))}] * 3, threads=loops
    )
    assert used(observed(run)) == pytest.approx({"cpu": 0.025, "loop of process 10": 0.9, "loop of process 11": 0.2})


def test_processes_that_serve_alike_and_unevenly_are_told_as_such():
    """GIVEN two siblings of one name with a loop each THEN one that idles while the other is full is no loop's fault."""
    served = Served(tuple(ServerProcess(pid, parent, "uvicorn") for pid, parent in ((1, 0), (10, 1), (11, 1))))
    loops = (s.THREADS[0], replace(s.THREADS[0], thread=11, process=11))
    for idle, names in (
        (99, {"process 10", "process 11"}),
        (60, {"process 10", "process 11"}),
        (50, {"loop of process 10", "loop of process 11"}),
    ):
        columns = {s.LOOP: some((RUNNING, 95), (PARKED, 5)), 11: some((RUNNING, 100 - idle), (PARKED, idle))}
        assert used(observed(s.watched(*[columns] * THREE, threads=loops, served=served))).keys() - {"cpu"} == names
    other = replace(served, processes=(*served.processes[:2], ServerProcess(11, 1, "metrics")))
    columns = {s.LOOP: some((RUNNING, 95), (PARKED, 5)), 11: PARKED}
    assert used(observed(s.watched(*[columns] * THREE, threads=loops, served=other))).keys() - {"cpu"} == {"loop"}


def test_cpus_are_shared_out_over_those_that_are_granted():
    quota = {"environment": replace(s.a_run(None).environment, quota_cpus=0.5)}
    assert used(observed(s.watched({}, {}, cpu_s=[1.0, 1.4])))["cpu"] == pytest.approx(2.4 / (4.0 * 2))
    assert used(observed(s.watched({}, {}, cpu_s=[1.0, 0.9], run=quota)))["cpu"] == pytest.approx(1.9 / (4.0 * 0.5))


def test_cpus_that_others_have_are_no_more_there_than_those_that_it_has():
    counters = {"host.busy_s": [3.0, 3.0], "host.steal_s": [0.4, 0.4], "tool.cpu_s": [0.2, 0.2]}
    assert used(observed(s.watched({}, {}, counters=counters)))["cpu with others"] == pytest.approx(3.2 / 4.0)
    quota = {"environment": replace(s.a_run(None).environment, quota_cpus=1.0)}
    assert "cpu with others" not in used(observed(s.watched({}, {}, counters=counters, run=quota)))


def test_intervals_are_of_the_stretches():
    even, odd = (observed(s.watched(*[{}] * 6, cpu_s=given)).uses[0].used for given in ([1.0] * 6, [0.5, 1.5] * 3))
    assert even.value == odd.value == pytest.approx(0.25)
    assert even.low == even.high
    assert odd.low < 0.25 < odd.high
    assert odd.n == 6
    single = observed(s.watched({}, cpu_s=[1.0])).uses[0].used
    assert (single.low, single.high, single.n) == (single.value, single.value, 1)


def test_a_lock_is_held_while_anybody_waits_for_it():
    line = {s.WORKER: (some((FUTEX, 90), (RUNNING, 10)), 7), s.SECOND: (some((RUNNING, 10), (FUTEX, 90)), 7)}
    assert used(observed(s.watched(*[line] * THREE)))["lock of the server"] == 1.0
    alone = {s.WORKER: (some((FUTEX, 30), (RUNNING, 70)), 7)}
    assert used(observed(s.watched(*[alone] * THREE)))["lock of the server"] == pytest.approx(0.3)


@pytest.mark.parametrize("site", [PARKED, OTHER, TIMER])
def test_what_is_no_lock_is_none(site):
    assert "lock of the server" not in used(observed(s.watched(*[{s.WORKER: (site, 7)}] * THREE)))


def test_the_interpreter_is_held_where_it_was_seen_held_or_awaited():
    turns = {s.WORKER: some((RUNNING, 50), (PARKED, 50)), s.SECOND: some((PARKED, 50), (RUNNING, 50))}
    assert used(observed(s.watched(*[turns] * THREE, **s.seen_executing(holding=450))))["gil"] == 0.9
    awaited = {s.LOOP: RUNNING, s.WORKER: (some((FUTEX, 80), (RUNNING, 20)), some((INTERPRETER, 80), (0, 20)))}
    assert used(observed(s.watched(*[awaited] * THREE, **s.seen_executing(holding=50))))["gil"] == 0.8
    assert "gil" not in used(observed(s.watched(*[turns] * THREE)))  # where nobody looked


def test_one_thread_alone_waits_for_no_interpreter():
    """GIVEN processes that compute in one thread each THEN their locks are held all the time, and nobody wants them besides."""
    alone = (s.THREADS[1], replace(s.THREADS[2], process=20))
    run = s.watched(*[{s.WORKER: RUNNING, s.SECOND: RUNNING}] * THREE, threads=alone, **s.seen_executing(holding=490))
    assert "gil" not in used(observed(run))


@pytest.mark.parametrize(("threads", "served", "workers"), [
    ((MASTER, FIRST, SECOND), CHILDREN, 2),  # the one that started them serves nobody
    ((FIRST,), Served((ServerProcess(20, 1, "python"),)), 1),
    ((FIRST, replace(FIRST, thread=21)), Served((ServerProcess(20, 1, "python"),)), None),  # a pool may grow
    ((replace(FIRST, parked=SELECTOR),), Served((ServerProcess(20, 1, "python"),)), None),
    ((replace(FIRST, python=None),), Served((ServerProcess(20, 1, "python"),)), None),
])  # fmt: skip
def test_workers_are_told_where_each_is_a_process_of_its_own(threads, served, workers):
    busy = {each.thread: TIMER for each in threads} | {MASTER.thread: PARKED}
    found = observed(s.watched(*[busy] * THREE, threads=threads, served=served))
    pool = next((each for each in found.uses if each.resource == "pool of the server"), None)
    assert (pool and pool.capacity) == workers
    assert pool is None or pool.used.value == 1.0


def test_counters_are_told_by_the_second_and_by_the_period():
    counters = {
        "process.run_delay_s": [1.0, 3.0], "cgroup.nr_periods": [20.0, 20.0], "cgroup.nr_throttled": [5.0, 15.0],
        "process.rss_bytes": [1e6, 3e6], "backlog.waiting": [2.0, 2.0], "tool.cpu_s": [0.02, 0.02],
    }  # fmt: skip
    quota = {"environment": replace(s.a_run(None).environment, quota_cpus=1.0)}
    found = observed(s.watched({}, {}, counters=counters, run=quota))
    assert found.starved.value == pytest.approx(1.0)
    assert found.throttled.value == pytest.approx(0.5)
    assert found.growth_bytes_per_s.value == pytest.approx(1e6)
    assert found.rss_bytes.value == pytest.approx((0.5e6 + 2.5e6) / 2)
    assert found.backlog.value == pytest.approx(2.0)  # of readings at 0, 2 and 4 s: each stretch has its two ends
    assert found.tool_cpus.value == pytest.approx(0.01)
    assert (found.seconds, found.stretches) == (4.0, 2)


def test_what_was_not_measured_is_not_zero():
    found = observed(s.watched({}, {}))
    assert (found.starved, found.throttled, found.backlog, found.rss_bytes, found.tool_cpus) == (None,) * 5
    assert found.storage is None
    assert (found.cpu_time, found.waits, found.peers) == ((), (), ())


def test_memory_may_shrink():
    found = observed(s.watched({}, {}, counters={"process.rss_bytes": [-1e6, -1e6]}))
    assert found.growth_bytes_per_s.value == pytest.approx(-0.5e6)


def test_storage_and_other_services_are_shares_of_the_moments():
    columns = {s.WORKER: some((DISK, 25), (PARKED, 75)), OTHERS: some((NETWORK, 40), (PARKED, 60))}
    found = observed(
        s.watched(*[columns] * THREE, peers=(Peer("10.0.0.1:5432", 40, 100), Peer("10.0.0.2:80", 10, 100)))
    )
    assert found.storage.value == pytest.approx(0.25)
    assert [(each.address, round(each.share.value, 3)) for each in found.peers] == [
        ("10.0.0.1:5432", 0.4),
        ("10.0.0.2:80", 0.1),
    ]


def test_cpu_time_and_waits_are_shares_of_what_was_seen():
    looks = s.seen_executing(
        active=[(s.RESIZING, 300), (s.DECODING, 100)], blocked=[(s.SLEEPING, 200), (s.AT_HOME, 400)]
    )
    found = observed(s.watched({}, {}, **looks))
    assert [(each.stage, each.label, each.share.value) for each in found.cpu_time] == [
        ("preprocess", "app.py:20 thumbnail()", 0.75), ("deserialize", "app.py:10 handle()", 0.25),
    ]  # fmt: skip
    assert [(each.label, each.share.value) for each in found.waits] == [
        ("app.py:30 again()", 1.0)
    ]  # who is at home waits not


def test_a_loop_at_rest_waits_for_nothing_whoever_called_it():
    resting = ("own|app.py|90|main", "std|asyncio/runners.py|190|run", "std|selectors.py|468|select")
    launched = ("own|app.py|90|<module>", "site|uvicorn/server.py|70|run")
    assert observed(s.watched({}, {}, **s.seen_executing(blocked=[(resting, 400), (launched, 400)]))).waits == ()
