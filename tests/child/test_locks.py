"""Locks of the target's own code are timed and behave as they did; libraries' locks are left alone."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from pinchpoint.child import held, locks


@pytest.fixture
def watched(monkeypatch):
    semaphores = ("Semaphore", "BoundedSemaphore")
    for module, names in ((threading, ("Lock", "RLock")), (asyncio, ("Lock", *semaphores))):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    for kind in (threading.Semaphore, threading.BoundedSemaphore):
        for name in ("__init__", "acquire", "release", "__enter__", "__exit__"):
            if name in vars(kind):
                monkeypatch.setattr(kind, name, vars(kind)[name])
    monkeypatch.setattr(threading.Condition, "wait", threading.Condition.wait)
    monkeypatch.setattr(held, "_tallies", [])
    before = held.totals()
    locks.watch()
    return lambda: held.since(before)


def test_holding_is_counted_by_the_place_that_made_the_lock(watched):
    lock = threading.Lock()
    for _ in range(3):
        with lock:
            pass
    (found,) = watched()
    assert found["name"].startswith("test_locks.py:")
    assert found["count"] == 3
    assert 0 < found["held_s"] < 0.1
    assert found["waited_s"] == 0


def test_waiting_is_counted_apart(watched):
    lock, inside, go = threading.Lock(), threading.Event(), threading.Event()

    def hold():
        with lock:
            inside.set()
            go.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    threading.Timer(0.02, go.set).start()
    with lock:
        holder.join()
    (found,) = watched()
    assert found["waited_s"] > 0.01
    assert found["held_s"] > 0.01
    assert found["count"] == 2


def test_a_timed_lock_behaves_as_a_lock(watched):
    lock = threading.Lock()
    assert lock.acquire()
    assert lock.locked()
    assert not lock.acquire(blocking=False)
    assert not lock.acquire(timeout=0.001)
    lock.release()
    with pytest.raises(RuntimeError):
        lock.release()
    assert isinstance(lock, threading.Lock)
    assert isinstance(queue.Queue().mutex, threading.Lock)  # a library's, which is a plain one
    assert (threading.Lock | None) is not None  # as users annotate on new Pythons


def test_a_reentrant_lock_is_held_once(watched):
    lock = threading.RLock()
    with lock, lock:
        pass
    (found,) = watched()
    assert found["count"] == 1


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_conditions_work_on_timed_locks(watched, kind):
    condition, done = threading.Condition(getattr(threading, kind)()), []

    def wait():
        with condition:
            done.append(condition.wait(timeout=5))

    waiter = threading.Thread(target=wait)
    waiter.start()
    while waiter.is_alive() and not done:
        with condition:
            condition.notify_all()
        waiter.join(0.01)
    assert done == [True]


def test_a_lock_of_asyncio(watched):
    async def use():
        lock = asyncio.Lock()

        async def hold():
            async with lock:
                await asyncio.sleep(0.01)

        await asyncio.gather(hold(), hold())

    asyncio.run(use())
    (found,) = watched()
    assert found["count"] == 2
    assert found["held_s"] >= 0.02
    assert found["waited_s"] >= 0.01


def test_a_free_lock_that_somebody_waits_for_serves_nobody(watched):
    """GIVEN a holder that lets go while another waits, and takes it again at once, THEN all of that time counts as held."""
    lock, stop = threading.Lock(), time.perf_counter() + 0.2

    def hold():
        while time.perf_counter() < stop:
            with lock:
                time.sleep(0.002)

    began = time.perf_counter()
    holders = [threading.Thread(target=hold) for _ in range(3)]
    for each in holders:
        each.start()
    for each in holders:
        each.join()
    (found,) = watched()
    assert 0.9 < found["held_s"] / (time.perf_counter() - began) <= 1.0


def test_locks_made_at_one_place_are_told_apart(watched):
    for lock in [threading.Lock() for _ in range(2)]:
        with lock:
            pass
    first, second = watched()
    assert second["name"] == first["name"] + " #2"


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_a_semaphore_is_held_as_often_as_it_lets_in(watched, kind):
    semaphore = getattr(threading, kind)(2)

    def hold():
        with semaphore:
            time.sleep(0.02)

    holders = [threading.Thread(target=hold) for _ in range(4)]
    for each in holders:
        each.start()
    for each in holders:
        each.join()
    (found,) = watched()
    assert (found["kind"], found["capacity"], found["count"]) == ("semaphore", 2, 4)
    assert found["held_s"] >= 0.08
    assert found["waited_s"] > 0.01
    assert not semaphore.acquire(blocking=False) or semaphore.release() is None


def test_a_semaphore_of_asyncio(watched):
    async def use():
        semaphore = asyncio.Semaphore(2)

        async def hold():
            async with semaphore:
                await asyncio.sleep(0.01)

        await asyncio.gather(*(hold() for _ in range(4)))

    asyncio.run(use())
    (found,) = watched()
    assert (found["kind"], found["capacity"], found["count"]) == ("semaphore", 2, 4)
    assert found["held_s"] >= 0.04


def test_a_semaphore_that_signals_is_held_by_nobody(watched):
    signal = threading.Semaphore(0)
    signal.release()
    signal.acquire()
    assert watched() == []


def test_libraries_make_plain_locks(watched):
    queue.Queue().put(1)
    threading.Event().set()
    assert watched() == []


def test_a_program_that_forks_and_logs_goes_on(tmp_path):
    program = """
        from pinchpoint.child import held, locks
        locks.watch()
        import logging, os, threading
        lock = threading.Lock()
        with lock:
            logging.getLogger().warning("in")
        if os.fork() == 0:
            with lock:
                os._exit(0)
        assert os.wait()[1] == 0
    """
    path = tmp_path / "app.py"
    path.write_text(textwrap.dedent(program))
    done = subprocess.run([sys.executable, path], capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


def test_a_wait_that_its_time_limit_ends_is_noted_in_its_own_thread(watched):
    event, full, before = threading.Event(), queue.Queue(), held.expired_s()
    assert not event.wait(0.02)
    with pytest.raises(queue.Empty):
        full.get(timeout=0.02)
    assert 0.04 <= held.expired_s() - before < 2.0
    before = held.expired_s()
    background = threading.Thread(target=threading.Event().wait, args=(0.02,))
    background.start()
    background.join()
    assert held.expired_s() == before


def test_a_wait_that_ends_before_its_time_limit_is_none(watched):
    event, full, before = threading.Event(), queue.Queue(), held.expired_s()
    event.set()
    assert event.wait(10)
    threading.Timer(0.02, full.put, ("done",)).start()
    assert full.get(timeout=10) == "done"
    with (lock := threading.Lock()):
        assert not lock.acquire(timeout=0.02)  # which somebody holds
    assert held.expired_s() == before
