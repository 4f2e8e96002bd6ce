"""Thread states seen from outside, on real programs whose state is known by construction."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from pinchpoint.domain.run import DISK, FUTEX, IPC, NETWORK, RUNNING, SITES, SYNC, TIMER
from pinchpoint.sampling import HIGHEST_PRIORITY, Sampler, be_punctual

PROGRAMS = {
    RUNNING: "while True: pass",
    TIMER: "import time\nwhile True: time.sleep(0.05)",
    FUTEX: "import threading\nlock = threading.Lock(); lock.acquire(); lock.acquire()",
    NETWORK: "import socket\na = socket.socket(); a.bind(('127.0.0.1', 0)); a.listen()\n"
    "b = socket.create_connection(a.getsockname()); c, _ = a.accept(); b.recv(1)",
    IPC: "import os\nr, w = os.pipe(); os.read(r, 1)",
}
EVENT_LOOPS = {
    TIMER: "import asyncio\nasync def main():\n    while True: await asyncio.sleep(0.05)\nasyncio.run(main())",
    NETWORK: "import asyncio, socket\nasync def main():\n    a = socket.socket(); a.bind(('127.0.0.1', 0)); a.listen()\n"
    "    r, w = await asyncio.open_connection(*a.getsockname())\n    await r.read(1)\nasyncio.run(main())",
}


def sampled(source, seconds=0.6):
    """What the main thread of a program was seen doing once it had settled."""
    process = subprocess.Popen([sys.executable, "-c", source])
    try:
        time.sleep(0.4)
        sampler = Sampler(process.pid, process.pid, seed=0)
        sampler.start()
        time.sleep(seconds)
        samples = sampler.stop()
    finally:
        process.kill()
        process.wait()
    if sampler.blind:
        pytest.skip(sampler.blind)
    return samples


@pytest.mark.parametrize("site", PROGRAMS, ids=lambda site: SITES[site])
def test_where_a_thread_is(site):
    samples = sampled(PROGRAMS[site])
    assert np.mean(samples.site == site) > 0.9


@pytest.mark.parametrize("site", EVENT_LOOPS, ids=lambda site: SITES[site])
def test_what_an_event_loop_waits_for(site):
    samples = sampled(EVENT_LOOPS[site])
    assert np.mean(samples.site == site) > 0.9


def test_writes_that_wait_for_storage(tmp_path):
    """GIVEN a program that syncs a file all the time THEN what it is blocked on is a sync, where it blocks at all."""
    source = f"import os\nf = os.open({str(tmp_path / 'log')!r}, os.O_CREAT | os.O_WRONLY)\nwhile True:\n    os.write(f, b'x' * 4096); os.fsync(f)"
    samples = sampled(source)
    blocked = samples.site[samples.site != RUNNING]
    if len(blocked) < 20:
        pytest.skip("this file system does not block on a sync")
    assert np.mean((blocked == SYNC) | (blocked == DISK)) > 0.9


def test_other_threads_are_counted():
    samples = sampled(
        "import threading\ndef spin():\n    while True: sum(range(1000))\nthreading.Thread(target=spin).start()\nthreading.Event().wait()"
    )
    looked = samples.running[samples.running >= 0]
    assert len(looked) > 20
    assert np.mean(looked) > 0.5


def test_a_process_that_ends_ends_the_sampling():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"])
    sampler = Sampler(process.pid, process.pid, seed=0)
    sampler.start()
    process.wait()
    assert len(sampler.stop().t_ns) > 10


def test_moments_are_jittered():
    samples = sampled(PROGRAMS[TIMER], seconds=1.0)
    gaps = np.diff(samples.t_ns)
    assert np.std(gaps) > 0.1 * np.mean(gaps)


def scheduled_as(gently):
    """The policy and the priority of a thread that is punctual."""
    told = []

    def watch():
        be_punctual(gently=gently)
        told.append((os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))

    watching = threading.Thread(target=watch)
    watching.start()
    watching.join()
    return told[0]


def test_a_gentle_watcher_is_an_ordinary_thread_that_comes_first():
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert scheduled_as(gently=True) in {(os.SCHED_OTHER, HIGHEST_PRIORITY), (os.SCHED_OTHER, usual)}
    assert scheduled_as(gently=False) in {(os.SCHED_RR, usual), (os.SCHED_OTHER, usual)}
    assert (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)) == (os.SCHED_OTHER, usual)
    if scheduled_as(gently=False)[0] == os.SCHED_RR:  # who may that may come first, too
        assert scheduled_as(gently=True)[1] == HIGHEST_PRIORITY
