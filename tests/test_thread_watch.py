"""Threads of a live program looked at from outside: each does what it is told, and was seen where it sat before."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import numpy as np
import pytest

from pinchpoint.connections import Awaited
from pinchpoint.domain.run import FUTEX, NETWORK, OTHER, PARKED, RUNNING, TIMER
from pinchpoint.domain.service import ACCEPTING, SELECTOR, SLEEPING, WAITING_FOR_WORK
from pinchpoint.thread_watch import OTHERS, ThreadWatch, within

FEWEST = 10  # moments in a phase that tell anything


@pytest.mark.parametrize(("windows", "inside"), [
    ([], []),
    ([(0, 100)], [0, 5, 10, 15, 20]),
    ([(5, 10)], [5]),  # the end is outside
    ([(5, 11)], [5, 10]),
    ([(15, 16), (0, 1)], [0, 15]),  # in any order
    ([(0, 5), (5, 10)], [0, 5]),  # one after the other
    ([(6, 9), (21, 30)], []),
    ([(10, 10)], []),
])  # fmt: skip
def test_which_moments_lie_in_windows(windows, inside):
    t = np.arange(0, 25, 5)
    assert t[within(t, windows)].tolist() == inside


def test_no_moments_lie_in_no_windows():
    assert within(np.empty(0, np.int64), [(1, 2)]).tolist() == []


PROGRAM = """
    import json, os, queue, selectors, socket, sys, threading, time
    work, lock, told = queue.SimpleQueue(), threading.Lock(), selectors.EpollSelector()
    lock.acquire()
    batches = queue.SimpleQueue()
    listener = socket.create_server(("127.0.0.1", 0))
    foreign = socket.create_server(("127.0.0.1", 0))
    turns, event, turned = selectors.EpollSelector(), os.eventfd(0), threading.Event()
    finished = threading.Event()
    turns.register(event, selectors.EVENT_READ)
    def worker():
        while True:
            what = work.get()
            print(what, flush=True)
            end = time.monotonic() + 0.4
            if what == "sleep":
                time.sleep(0.4)
            elif what == "spin":
                while time.monotonic() < end: pass
            elif what == "lock":
                lock.acquire()
            elif what == "patience":
                lock.acquire(timeout=60)
            elif what == "turn":
                while not turned.is_set():
                    turns.select()
            elif what == "peer":
                socket.create_connection(foreign.getsockname()).recv(1)
            print("done", flush=True)
            finished.set()
    def batching():
        while True:
            print(batches.get(), flush=True)
            for _ in range(5):
                lock.acquire(timeout=0.1)  # nobody comes
            print("done", flush=True)
    def taking_turns():
        while True:
            turns.select()
            os.eventfd_read(event)
    def beating():
        while True:
            time.sleep(0.02)
    def polling():
        poll = selectors.PollSelector()
        poll.register(listener, selectors.EVENT_READ)
        while True:
            poll.select(0.3)
    def accepting():
        listener.accept()
    mine, theirs = socket.socketpair()
    def receiving():
        mine.recv(1)
    threads = {each.__name__: threading.Thread(target=each, daemon=True) for each in (worker, batching, taking_turns, beating, polling, accepting, receiving)}
    for each in threads.values():
        each.start()
    told.register(sys.stdin, selectors.EVENT_READ)
    numbers = {name: each.native_id for name, each in threads.items()} | {"main": threading.get_native_id()}
    print(json.dumps({"port": listener.getsockname()[1], "threads": numbers}), flush=True)
    taken = []
    while True:
        told.select()
        line = sys.stdin.readline().strip()
        if line == "release":
            lock.release()
        elif line == "turned":
            turned.set()
            finished.clear()
            while not finished.is_set():
                os.eventfd_write(event, 1)
                time.sleep(0.01)
        elif line == "answer":
            foreign.accept()[0].send(b"x")
        elif line == "window":
            batches.put(line)
        elif line:
            os.eventfd_write(event, 1)  # now and then somebody has a turn
            work.put(line)
        else:
            break
"""


def rest(seconds):
    """A window of so many seconds."""
    began = time.monotonic_ns()
    time.sleep(seconds)
    return began, time.monotonic_ns()


def watched(process, watch):
    """A window of each thing that the program's worker does, looked at, and of rest before and after."""

    def does(what, seconds=0.25, undone=""):
        process.stdin.write(f"{what}\n")
        assert process.stdout.readline().strip() == what
        time.sleep(0.05)
        window = rest(seconds)
        if undone:
            process.stdin.write(f"{undone}\n")
        assert process.stdout.readline().strip() == "done"
        return window

    watch.start()
    windows = {"paused first": rest(0.1)}
    watch.go()
    does("window")
    windows["idle"] = rest(1.1)  # threads that never ran are looked at once a while
    does("sleep")  # those that have run are looked at from now on
    windows |= {"sleep": does("sleep"), "spin": does("spin"), "lock": does("lock", 0.25, "release")}
    windows |= {"patience": does("patience", 0.25, "release"), "peer": does("peer", 0.25, "answer")}
    windows |= {"turn": does("turn", 0.25, "turned"), "window": does("window", 0.4)}
    time.sleep(0.05)
    windows["idle later"] = rest(0.4)
    watch.pause()
    time.sleep(0.05)
    windows["paused"] = rest(0.2)
    return windows


@pytest.fixture(scope="module")
def seen():
    """What was seen of the program: samples, threads by what they do, windows."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )  # fmt: skip
    try:
        facts = json.loads(process.stdout.readline())
        time.sleep(0.1)
        watch = ThreadWatch(lambda: [process.pid], facts["port"], "", seed=0)
        try:
            windows = watched(process, watch)
        finally:
            watch.stop()
    finally:
        process.kill()
        process.communicate()
    if watch.blind:
        pytest.skip(watch.blind)
    busy = [windows[name] for name in ("sleep", "spin", "lock", "patience", "peer", "turn", "window")]
    samples, threads, peers = watch.seen([windows["idle"], windows["idle later"]], busy)
    return SimpleNamespace(samples=samples, threads={each.thread: each for each in threads}, peers=peers, windows=windows,
                           numbers=facts["threads"], pid=process.pid, watch=watch)  # fmt: skip


@pytest.fixture(scope="module")
def at_work(seen):
    """The same as of a server that was never left alone: looks at the stacks of its worker at rest, and of what waits in a lock."""
    worker = seen.numbers["worker"]
    told = [(*seen.windows["idle later"], {worker: True}), (*seen.windows["lock"], {worker: False})]
    samples, threads, peers = seen.watch.seen_at_work(told)
    return SimpleNamespace(samples=samples, threads={each.thread: each for each in threads}, peers=peers, windows=seen.windows,
                           numbers=seen.numbers)  # fmt: skip


def rows(seen, thread, window):
    """Sites and places of a thread in a window."""
    samples = seen.samples
    mine = (samples.thread == seen.numbers.get(thread, OTHERS)) & within(samples.t_ns, [seen.windows[window]])
    return samples.site[mine], samples.place[mine]


def share(seen, thread, window, site):
    """The share of a thread's moments in a window that it was at a site."""
    sites, _ = rows(seen, thread, window)
    assert len(sites) >= FEWEST
    return float(np.mean(sites == site))


@pytest.mark.parametrize(("window", "thread", "site"), [
    ("sleep", "worker", TIMER),
    ("spin", "worker", RUNNING),
    ("lock", "worker", FUTEX),
    ("patience", "worker", FUTEX),
    ("peer", "worker", NETWORK),
    ("idle later", "worker", PARKED),
    ("window", "batching", TIMER),  # a lock that nobody releases: its time is waited for
    ("turn", "worker", PARKED),  # where another thread is at rest
    ("sleep", "main", PARKED),
    ("lock", "main", PARKED),
    ("idle later", "main", PARKED),
    ("sleep", "beating", PARKED),  # it sleeps whether anybody asks or not
    ("idle later", "beating", PARKED),
    ("sleep", "polling", PARKED),
])  # fmt: skip
def test_where_a_thread_was(seen, window, thread, site):
    assert share(seen, thread, window, site) > 0.8


def test_a_lock_without_a_time_limit_has_a_place_of_its_own(seen):
    sites, places = rows(seen, "worker", "lock")
    blocked = places[sites == FUTEX]
    assert len(set(blocked.tolist())) == 1
    assert blocked[0] > 0
    assert blocked[0] not in rows(seen, "worker", "idle later")[1]
    sites, places = rows(seen, "worker", "patience")
    assert np.mean(places[sites == FUTEX] < 0) > 0.9


@pytest.mark.parametrize(("thread", "parked"), [
    ("worker", WAITING_FOR_WORK), ("batching", WAITING_FOR_WORK), ("main", SELECTOR), ("beating", SLEEPING), ("polling", ACCEPTING), ("accepting", ACCEPTING),
    ("receiving", ACCEPTING), ("taking_turns", SELECTOR),
])  # fmt: skip
def test_where_a_thread_sits_while_nothing_is_asked(seen, thread, parked):
    found = seen.threads[seen.numbers[thread]]
    assert (found.parked, found.process, found.python) == (parked, seen.pid, None)


def test_all_threads_are_known(seen):
    assert set(seen.threads) == set(seen.numbers.values())
    assert all(each.name for each in seen.threads.values())


def test_a_paused_watch_sees_nothing(seen):
    assert not np.any(within(seen.samples.t_ns, [seen.windows["paused first"], seen.windows["paused"]]))
    assert np.all(np.diff(seen.samples.t_ns) >= 0)
    assert set(seen.samples.running.tolist()) == {-1}


@pytest.mark.parametrize("moment", ["nobody", "gone"])
def test_where_nobody_is_nothing_is_seen(moment):
    process = subprocess.Popen(["true"])
    process.wait()
    watch = ThreadWatch(lambda: [] if moment == "nobody" else [process.pid], 1, "", seed=0)
    watch.start()
    watch.go()
    window = rest(0.2)
    watch.stop()
    samples, threads, peers = watch.seen([window], [])
    assert (threads, peers) == ((), ())
    assert set(samples.thread.tolist()) <= {OTHERS}


def test_a_watch_that_never_looked_is_stopped():
    watch = ThreadWatch(list, 1, "", seed=0)
    watch.start()
    with contextlib.closing(SimpleNamespace(close=watch.stop)):
        samples, threads, peers = watch.seen([], [])
    assert (len(samples.t_ns), threads, peers) == (0, (), ())


@pytest.mark.parametrize(("alone", "limit", "site"), [
    (2 * FEWEST, 20, TIMER),  # also while another thread runs, which may only spin
    (2 * FEWEST, 1000, PARKED),  # waits as long as without a request
    (0, 20, PARKED),  # another thread always runs: nobody saw that the timer was waited for
])  # fmt: skip
def test_a_selector_waits_for_a_timer_whoever_runs(alone, limit, site):
    """GIVEN a selector whose time limit is short within requests, in so many moments of which no other thread runs."""
    watch = ThreadWatch(list, 1, "", seed=0)
    place = watch._place((7, 1), SELECTOR)
    for now in range(8 * FEWEST):
        asked = now >= 4 * FEWEST
        watch._note(now, 7, NETWORK, place, limit if asked else 1000)
        watch._note(now, 8, RUNNING if asked and now >= 4 * FEWEST + alone else PARKED, 0)
    watch._known = {7: SimpleNamespace(process=1, name="python")}
    samples, _, _ = watch.seen([(0, 4 * FEWEST)], [(4 * FEWEST, 8 * FEWEST)])
    assert set(samples.site[(samples.thread == 7) & (samples.t_ns >= 4 * FEWEST)].tolist()) == {site}


# --- never left alone ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("window", "thread", "site"), [
    ("sleep", "worker", TIMER),
    ("spin", "worker", RUNNING),
    ("lock", "worker", FUTEX),  # its stack says that it is the program's own
    ("idle later", "worker", PARKED),  # its stack says that it waits for work
    ("idle later", "batching", OTHER),  # of this lock nobody said anything
    ("lock", "main", PARKED),  # an epoll, by its kind
    ("idle later", "taking_turns", PARKED),
    ("sleep", "polling", PARKED),  # so is a poll
    ("sleep", "beating", TIMER),
])  # fmt: skip
def test_where_a_thread_was_without_a_moment_of_rest(at_work, window, thread, site):
    assert share(at_work, thread, window, site) > 0.8


def test_a_lock_of_which_a_stack_says_so_keeps_its_place(seen, at_work):
    sites, places = rows(at_work, "worker", "lock")
    assert np.all(places[sites == FUTEX] > 0)
    samples, _, _ = seen.watch.seen_at_work([])
    assert not np.any((samples.site == FUTEX) & (samples.place > 0))  # without a word of any stack it is no lock


@pytest.mark.parametrize(("thread", "parked"), [
    ("main", SELECTOR), ("taking_turns", SELECTOR), ("worker", WAITING_FOR_WORK), ("polling", ACCEPTING),
    ("accepting", ACCEPTING), ("batching", ""), ("beating", ""),
])  # fmt: skip
def test_where_a_thread_is_parked_as_far_as_that_can_be_told(at_work, thread, parked):
    assert at_work.threads[at_work.numbers[thread]].parked == parked


def test_the_same_services_are_awaited(seen, at_work):
    assert at_work.peers == seen.peers


@pytest.mark.parametrize(("awaited", "site"), [(False, PARKED), (True, NETWORK)])
def test_a_poll_is_a_place_of_rest_unless_another_service_is_awaited_then(awaited, site):
    watch = ThreadWatch(list, 1, "", seed=0, passive=True)
    place = watch._place((7, 1), ACCEPTING)
    for now in range(FEWEST):
        watch._note(now, 7, NETWORK, place)
        watch._note(now, OTHERS, NETWORK if awaited else PARKED, 0)
    samples, _, _ = watch.seen_at_work([])
    assert set(samples.site[samples.thread == 7].tolist()) == {site}


def test_other_services_are_asked_for_while_a_thread_runs_where_that_is_wanted(monkeypatch):
    for always in (False, True):
        watch = ThreadWatch(list, 1, "", seed=0, passive=always)
        monkeypatch.setattr(
            watch,
            "_threads",
            {7: SimpleNamespace(awake=True, glance=lambda: b"running", told=None, text=b"", number=7)},
        )
        monkeypatch.setattr(watch._peers, "awaited", lambda _: Awaited(("10.0.0.1:80",)))
        watch._look()
        assert watch._rows.site == [RUNNING, NETWORK if always else PARKED]


def test_moments_that_could_not_tell_are_shared_out_evenly(monkeypatch):
    watch = ThreadWatch(list, 1, "", seed=0, passive=True)
    looks = iter([Awaited(maybe=("a:1",))] * 8 + [Awaited(("b:2",), ("a:1",)), Awaited()])
    monkeypatch.setattr(watch._peers, "awaited", lambda _: next(looks))
    monkeypatch.setattr(watch._peers, "share_awaited", lambda address: {"a:1": 0.25}[address])
    for _ in range(10):
        watch._look()
    samples, _, peers = watch.seen_at_work([])
    waits = (samples.site == NETWORK).tolist()
    assert (sum(waits[:4]), sum(waits[4:8]), waits[8:]) == (1, 1, [True, False])
    assert [(each.address, each.awaited) for each in peers] == [("a:1", 2), ("b:2", 1)]


SHORT_LIVED = """
    import select, sys, threading
    waiting = select.epoll()
    waiting.register(0, select.EPOLLIN)
    def work(ended):
        print("begun", flush=True)
        ended.wait()
    while waiting.poll() and sys.stdin.readline():
        ended = threading.Event()
        worker = threading.Thread(target=work, args=(ended,))
        worker.start()
        waiting.poll(), sys.stdin.readline()
        ended.set()
        worker.join()
        print("ended", flush=True)
"""


def test_threads_that_live_for_one_request_are_seen_and_are_one_worker():
    """GIVEN a thread that begins, waits for a lock, and ends, three times, while all others sit where they sit at rest."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SHORT_LIVED)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )  # fmt: skip
    watch, noted = ThreadWatch(lambda: [process.pid], 1, "", seed=0), set()

    def settled(wanted):
        process.stdin.write("go on\n")
        assert process.stdout.readline().strip() == wanted
        time.sleep(0.05)
        watch._look()

    try:
        time.sleep(0.3)  # until it waits for its first line
        watch._refresh()
        for _ in range(3):
            settled("begun")
            there = set(map(int, os.listdir(f"/proc/{process.pid}/task"))) - {process.pid}
            noted |= {watch.noted_as(each) for each in there}
            settled("ended")
    finally:
        watch.stop()
        process.kill()
        process.communicate()
    if watch.blind:
        pytest.skip(watch.blind)
    rows = watch._rows
    born = [
        (thread, site)
        for thread, site in zip(rows.thread, rows.site, strict=True)
        if thread not in (OTHERS, process.pid)
    ]
    assert [site for _, site in born] == [FUTEX] * 3
    assert {thread for thread, _ in born} == noted  # by which its stacks know them too
    assert (len(noted), len(watch._known)) == (1, 2)
