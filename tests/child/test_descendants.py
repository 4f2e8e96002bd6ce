"""CPU time of the processes that the target starts, while they run and once they have ended."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pinchpoint.child import descendants

SPIN = "import time\nwhile time.process_time() < 0.2: pass\n"


@pytest.mark.parametrize("program", [
    SPIN,
    f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN!r}])",  # which has started another one
])  # fmt: skip
def test_one_that_ended_counts_in_full(program):
    before = descendants.cpu_s()
    subprocess.run([sys.executable, "-c", program], check=True)
    assert 0.2 <= descendants.cpu_s() - before < 2.0


def test_one_that_runs_counts_as_far_as_it_came():
    before, last = descendants.cpu_s(), 0.0
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as program:
        deadline = time.monotonic() + 30
        while (last := descendants.cpu_s() - before) < 0.1 and time.monotonic() < deadline:
            time.sleep(0.02)
        program.kill()
    assert last >= 0.1
    assert descendants.cpu_s() - before >= last - 0.02  # nothing is lost when it ends


def test_our_own_time_is_none_of_it():
    before, end = descendants.cpu_s(), time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
    assert descendants.cpu_s() == before
