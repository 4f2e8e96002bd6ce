"""How often the interpreter's lock is held, against programs where it is known, under every Python that is at hand."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pinchpoint.child import gil
from pinchpoint.interpreter_lock import LockReader

SOURCE = Path(__file__).parent.parent / "src"
PROGRAM = """
import sys, threading, time, hashlib
sys.path.insert(0, {source!r})
from pinchpoint.child import gil
lock = gil.address() or 0
print(lock, lock and gil.waiters(lock) or 0, flush=True)
data = bytes(3_000_000)
until = time.monotonic() + 5
while time.monotonic() < until:
    {work}
"""
WORK = {
    "python": ("sum(range(20_000))", 0.9, 1.0),
    "native": ("hashlib.sha256(data).digest()", 0.0, 0.2),
    "asleep": ("time.sleep(0.01)", 0.0, 0.2),
    "half": ("sum(range(20_000)); e = time.perf_counter(); s = time.sleep(0.0004)", 0.05, 0.9),
}
PYTHONS = sorted({sys.executable, *filter(None, (shutil.which(f"python3.{minor}") for minor in range(9, 16)))})


def held_share(python, work, readings=300, *, awaited=True):
    program = PROGRAM.format(source=str(SOURCE), work=work)
    child = subprocess.Popen([python, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        said = child.stdout.readline()
        if not said.strip():
            pytest.skip(f"{python} does not start")
        address, waiters = (int(each) for each in said.split())
        if not address:
            pytest.skip(f"{python} has no such lock, or hides it")
        reader = LockReader(child.pid, address, waiters if awaited else None, seed=1)
        reader.begin()
        while reader._readings < readings and child.poll() is None:
            os.sched_yield()
        found = reader.end()
        reader.close()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert found[0] >= readings
    return found[1] / found[0]


@pytest.mark.parametrize("name", WORK)
def test_held_by_python_and_by_nothing_else(name):
    work, low, high = WORK[name]
    assert low <= held_share(sys.executable, work) <= high


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_at_hand_shows_it(python):
    assert held_share(python, WORK["python"][0]) > held_share(python, WORK["asleep"][0]) + 0.5


CROWD = """
    def ask():
        while time.monotonic() < until:
            end = time.thread_time() + 0.001
            while time.thread_time() < end: pass
            time.sleep(0.004)
    threads = [threading.Thread(target=ask) for _ in range(16)]
    for each in threads: each.start()
    for each in threads: each.join()
"""


@pytest.mark.slow
def test_a_lock_that_threads_wait_for_serves_nobody_between_two_of_them():
    """GIVEN sixteen threads that need it a fifth of the time THEN it is never free for them, though it is not always held."""
    held, taken = (held_share(sys.executable, CROWD.strip(), 1000, awaited=awaited) for awaited in (False, True))
    assert taken > 0.97
    assert held <= taken


@pytest.mark.skipif(not gil.has_gil(), reason="this interpreter has no such lock")
def test_who_waits_is_found_and_leaves_the_interpreter_as_it_was():
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the condition variable is not glibc's")
    before, lock = sys.getswitchinterval(), gil.address()
    assert gil.CONDITION_AFTER <= gil.waiters(lock) - lock < gil.CONDITION_AFTER + gil.CONDITION_BYTES
    assert sys.getswitchinterval() == before


@pytest.mark.skipif(not gil.has_gil(), reason="this interpreter has no such lock")
def test_looking_for_it_leaves_the_interpreter_as_it_was():
    before = sys.getswitchinterval()
    assert gil.address() is not None
    assert sys.getswitchinterval() == before


def test_a_process_that_cannot_be_read_gives_no_readings():
    for address in (None, 16):
        reader = LockReader(os.getpid(), address, None, seed=1)
        reader.begin()
        assert reader.end()[1] == 0
        reader.close()
    gone = LockReader(2**22 + 1, 4096, None, seed=1)
    gone.begin()
    assert gone.end() == (0, 0)
