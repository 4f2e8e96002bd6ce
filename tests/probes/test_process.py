"""Counts of the process and sums over its threads, also of those that came and went."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from pinchpoint.probes import BUILTIN, process
from pinchpoint.probes.process import ProcessProbe

from .trees import HOST, PRESSURE, PROCESS, V2, plant, stat_line, status_text

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def root(tmp_path):
    return plant(tmp_path, PROCESS)


@pytest.fixture
def probe(root):
    made = ProcessProbe(root)
    made.open(7)
    with contextlib.closing(made):
        yield made


def test_what_is_counted(probe):
    assert probe.read() == pytest.approx(
        {
            "cpu_s": 350 * TICK, "system_s": 50 * TICK, "rss_bytes": 25 * PAGE, "threads": 2, "minor_faults": 1000,
            "major_faults": 3, "read_bytes": 4096, "write_bytes": 8192, "rchar_bytes": 5000, "wchar_bytes": 600,
            "runnable_threads": 1, "voluntary_switches": 105, "involuntary_switches": 8,
            "run_s": 4.5, "run_delay_s": 0.25,
        }
    )  # fmt: skip


@pytest.mark.parametrize("name", ["a) R 1 (b", "((", "x y\nz"])
def test_the_name_of_a_program_is_not_parsed(root, name):
    (root / "proc/7/stat").write_text(stat_line(name=name))
    probe = ProcessProbe(root)
    probe.open(7)
    assert probe.read()["minor_faults"] == 1000


def test_a_thread_that_ended_keeps_its_counts(root, probe):
    before = probe.read()
    shutil.rmtree(root / "proc/7/task/8")
    after = probe.read()
    assert (after["run_s"], after["voluntary_switches"]) == (before["run_s"], before["voluntary_switches"])
    assert after["runnable_threads"] == 0
    plant(root, {"proc/7/task/9/status": status_text(voluntary=1), "proc/7/task/9/schedstat": "1000000000 0 1\n"})
    assert probe.read()["run_s"] == pytest.approx(before["run_s"] + 1)


def test_many_threads_do_not_use_up_the_descriptors(root, probe, monkeypatch):
    monkeypatch.setattr(process, "THREADS_HELD", 3)
    for tid in range(100, 140):
        plant(root, {f"proc/7/task/{tid}/status": status_text(), f"proc/7/task/{tid}/schedstat": "1000000000 0 1\n"})
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert probe.read()["run_s"] == pytest.approx(44.5)
    assert len(os.listdir("/proc/self/fd")) <= before + 8


@pytest.mark.parametrize(
    ("missing", "columns"),
    [
        ("schedstat", {"run_s", "run_delay_s"}),
        ("io", {"read_bytes", "write_bytes", "rchar_bytes", "wchar_bytes"}),
    ],
)
def test_what_the_kernel_does_not_tell_is_absent(root, probe, missing, columns):
    every = set(probe.read())
    (root / "proc/7" / missing).unlink()
    blind = ProcessProbe(root)
    blind.open(7)
    assert every - set(blind.read()) == columns


@pytest.mark.parametrize("line", [stat_line(state="Z", threads=1), stat_line(state="X", threads=0), ""])
def test_a_zombie_is_gone(root, probe, line):
    plant(root, {"proc/7/stat": line})
    with pytest.raises(ProcessLookupError):
        probe.read()


def test_a_main_thread_that_left_its_threads_is_not(root, probe):
    plant(root, {"proc/7/stat": stat_line(state="Z", threads=2)})
    assert probe.read()["threads"] == 2


def test_no_threads_is_gone(root, probe):
    shutil.rmtree(root / "proc/7/task")
    (root / "proc/7/task").mkdir()
    with pytest.raises(ProcessLookupError):
        probe.read()


def test_a_process_that_never_was(tmp_path):
    with pytest.raises(OSError, match="process 7 cannot be read"):
        ProcessProbe(tmp_path).open(7)


# --- the real thing ------------------------------------------------------------------------------------------------
@pytest.fixture
def child():
    """A process that computes for 0.2 s and then waits with two more threads."""
    program = """if True:
        import sys, threading, time
        until = time.process_time() + 0.2
        while time.process_time() < until: pass
        for _ in range(2): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()"""
    made = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    made.stdout.readline()
    yield made
    made.kill()
    made.communicate()


def test_a_real_process_agrees_with_itself(child):
    probe = ProcessProbe()
    probe.open(child.pid)
    until = time.monotonic() + 5
    while (values := probe.read())["runnable_threads"] and time.monotonic() < until:
        time.sleep(0.02)
    assert values["threads"] == 3
    assert values["cpu_s"] >= 0.2 - 2 * TICK
    assert values["runnable_threads"] == 0
    assert values["rss_bytes"] > 4 << 20
    if "run_s" in values:
        assert values["run_s"] == pytest.approx(values["cpu_s"], abs=3 * TICK)
    child.kill()
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):  # a zombie
        probe.read()
    child.wait()
    with pytest.raises(ProcessLookupError):
        probe.read()
    probe.close()


def test_every_probe_keeps_the_contract(tmp_path, child):
    """Names, finite numbers, one set of columns, closed descriptors, and a second close that does no harm."""
    plant(tmp_path, PROCESS, HOST, PRESSURE, V2, {"proc/7/status": status_text(), "proc/7/net/dev": ""})
    before = set(os.listdir("/proc/self/fd"))
    for make in BUILTIN:
        for root, pid in ((tmp_path, 7), (None, child.pid)):
            probe = make(root) if root else make()
            try:
                probe.open(pid)
            except OSError:
                if root:
                    raise
                continue
            one, two = probe.read(), probe.read()
            assert list(one) == list(two)
            assert all(type(value) is float and value >= 0 for value in one.values()), one
            probe.close()
            probe.close()
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0
    assert len({make.name for make in BUILTIN}) == len(BUILTIN)


def test_a_failed_open_leaves_nothing_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for make in BUILTIN:
        with pytest.raises(OSError, match=r"[a-z]"):
            make(tmp_path).open(7)
    assert len(os.listdir("/proc/self/fd")) == before


def test_reads_are_cheap_enough_for_a_few_a_second(child):
    """All probes together at 3 threads: measured 110 us here; the bound allows a busy machine."""
    probes = [make() for make in BUILTIN]
    with contextlib.ExitStack() as undo:
        opened = []
        for probe in probes:
            with contextlib.suppress(OSError):
                probe.open(child.pid)
                undo.callback(probe.close)
                opened.append(probe)
        took = []
        for _ in range(200):
            began = time.perf_counter()
            for probe in opened:
                probe.read()
            took.append(time.perf_counter() - began)
    assert sorted(took)[len(took) // 2] < 1e-3


def test_threads_that_come_and_go_while_it_reads():
    """Sums never fall while threads start and end under the probe's hands."""
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            threads = [threading.Thread(target=sum, args=(range(2000),)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    churner = threading.Thread(target=churn)
    churner.start()
    probe = ProcessProbe()
    probe.open(os.getpid())
    try:
        reads = [probe.read() for _ in range(300)]
    finally:
        stop.set()
        churner.join()
        probe.close()
    for name in ("run_s", "voluntary_switches", "involuntary_switches", "cpu_s"):
        series = [values[name] for values in reads if name in values]
        assert series == sorted(series)
