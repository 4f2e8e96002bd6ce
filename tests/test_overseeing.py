"""What a server's processes use, against what they do by design."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from pinchpoint.overseeing import CPU, DELAY, ENDED, EVERY_S, OF_THREAD, OURS, PROCESSES, RSS, THREADS, UNSEEN, Overseer
from pinchpoint.plugins import builtin

BUSY = """
    import os, sys, threading, time
    def work(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
    def spend():
        print(flush=True)
        sys.stdin.readline()
        short = threading.Thread(target=work, args=(0.1,))
        short.start()
        work(0.4)
        short.join()
        if os.fork() == 0:
            work(0.3)
            time.sleep(600)
        print("done", flush=True)
        time.sleep(600)
    spend()
"""


def test_cpu_time_is_counted_whoever_spends_it():
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(BUSY)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        process.stdout.readline()
        overseer = Overseer([process.pid], builtin().probes)
        overseer.start()
        time.sleep(0.5)
        process.stdin.write("go\n")
        process.stdin.flush()
        process.stdout.readline()
        end = time.monotonic() + 20
        while len(overseer.processes()) < 2 and time.monotonic() < end:  # the child computes, and is noticed
            time.sleep(0.1)
        time.sleep(1)
        found = overseer.stop()
    finally:
        subprocess.run(["kill", "-9", "--", f"-{process.pid}"], check=False)
        process.communicate()
    spent = found.column(CPU)
    assert spent[-1] - spent[0] == pytest.approx(0.8, abs=0.15)
    assert np.all(np.diff(spent) >= 0)
    assert found.column(PROCESSES)[-1] == 2
    assert found.column(THREADS)[-1] == 2
    assert found.column(RSS)[-1] > 1e6
    threads = {name: values for name, values in found.columns if name.startswith(OF_THREAD)}
    assert max(values[-1] for values in threads.values()) == pytest.approx(0.4, abs=0.1)
    assert found.column(OURS)[-1] < 0.1 * (found.t_ns[-1] - found.t_ns[0]) / 1e9


SHORT = """
    import sys, threading, time
    def work():
        end = time.thread_time() + 0.005
        while time.thread_time() < end:
            pass
    print(flush=True)
    sys.stdin.readline()
    for _ in range(100):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    print(flush=True)
    time.sleep(600)
"""


def overseen(source):
    """What is read of a program from before it is told to go until after it is done; and CPU seconds that it grew by since then,
    its own and those of its children that ended, as psutil says.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        process.stdout.readline()
        overseer, before = Overseer([process.pid]), psutil.Process(process.pid).cpu_times()
        overseer.start()
        time.sleep(0.5)
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(0.5)
        found, after = overseer.stop(), psutil.Process(process.pid).cpu_times()
    finally:
        process.kill()
        process.communicate()
    user, system, of_children, system_of_children = (
        now - then for now, then in zip(after[:4], before[:4], strict=True)
    )
    return found, user + system, of_children + system_of_children


def test_threads_that_nobody_saw_are_counted_by_their_process():
    found, _, _ = overseen(SHORT)
    spent = found.column(CPU)
    assert spent[-1] - spent[0] == pytest.approx(0.5, abs=0.06)
    assert np.all(np.diff(spent) >= 0)
    assert found.column(UNSEEN)[-1] - found.column(UNSEEN)[0] > 0.3


STARTING = """
    import subprocess, sys
    work = "import sys, time\\nend = time.thread_time() + 0.05\\nwhile time.thread_time() < end: pass\\n"
    print(flush=True)
    sys.stdin.readline()
    for _ in range(12):
        subprocess.run([sys.executable, "-S", "-c", work], check=True)
    for lives_s in LONGER:
        subprocess.run([sys.executable, "-S", "-c", work + f"time.sleep({lives_s})"], check=True)
    print(flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize(
    "longer", [[], [3.0]]
)  # between two looks at who is there, and long enough to be watched by itself
def test_programs_that_are_started_and_end_are_counted_once(longer):
    """GIVEN some that compute for 50 ms each THEN what all spent is what the kernel counts, whether they were watched or not."""
    found, own, of_children = overseen(STARTING.replace("LONGER", repr(longer)))
    spent, ended, unseen = (found.column(name) for name in (CPU, ENDED, UNSEEN))
    assert found.column(PROCESSES).max() >= 1 + len(longer)
    assert of_children > 0.05 * (12 + len(longer))
    assert spent[-1] - spent[0] == pytest.approx(own + of_children, abs=0.05)
    assert np.all(np.diff(spent) >= 0)
    assert ended[0] == 0
    watched = of_children / (12 + len(longer)) * len(longer)
    assert ended[-1] == pytest.approx(of_children - watched, abs=0.1)  # one of the short ones may have been met
    assert unseen[-1] >= ended[-1] - 0.02


def test_a_server_that_is_gone_tells_nothing():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    overseer = Overseer([process.pid], builtin().probes)
    overseer.start()
    assert len(overseer.stop().t_ns) == 0


def test_waiting_that_the_kernel_makes_up_is_not_counted(tmp_path):
    """GIVEN 5 ms of waiting, then 6 s of it between two readings (a sleep that was counted), then 5 ms, then 2 s less (of another
    thread with that number), then 5 ms THEN 15 ms were waited.
    """
    place = tmp_path / "42"
    (place / "task/42").mkdir(parents=True)
    (place / "stat").write_text("42 (server) S 1 " + "0 " * 48)
    (place / "statm").write_text("1000 500 1")
    (place / "cmdline").write_text("server")
    (place / "task/42/comm").write_text("server")
    overseer = Overseer([42], proc=tmp_path)
    waited = 3_000_000_000  # before it was watched
    for more_ms in (0, 5, 6_000, 5, -2_000, 5):
        waited += more_ms * 1_000_000
        (place / "task/42/schedstat").write_text(f"1000000000 {waited} 7")
        overseer.read_now()
    found = overseer.stop().column(DELAY)
    assert (found - found[0]).tolist() == pytest.approx([0, 0.005, 0.005, 0.010, 0.010, 0.015])


@pytest.mark.parametrize(("given", "every_s"), [({}, EVERY_S), ({"every_s": 7.0}, 7.0)])
def test_it_reads_as_often_as_it_is_told(given, every_s):
    waited = []
    with subprocess.Popen(["sleep", "600"]) as process:
        overseer = Overseer([process.pid], **given)
        overseer._over = SimpleNamespace(wait=lambda seconds: waited.append(seconds) or len(waited) == 3)
        overseer._oversee()
        process.kill()
    assert waited == [0.0, every_s, every_s]
    assert len(overseer.so_far().t_ns) == 3
