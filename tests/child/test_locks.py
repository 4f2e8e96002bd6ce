"""Locks of the target's own code are timed and behave as they did; libraries' locks are left alone."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
import textwrap
import threading

import pytest

from pinchpoint.child import locks


@pytest.fixture
def watched(monkeypatch):
    for module, name in ((threading, "Lock"), (threading, "RLock"), (asyncio, "Lock")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(locks, "_tallies", [])
    before = locks.totals()
    locks.watch()
    return lambda: locks.since(before)


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


def test_libraries_make_plain_locks(watched):
    queue.Queue().put(1)
    threading.Event().set()
    assert watched() == []


def test_a_program_that_forks_and_logs_goes_on(tmp_path):
    program = """
        from pinchpoint.child import locks
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
