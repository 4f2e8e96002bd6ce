"""Which processes are watched, and what a watching of a small program writes; what cannot be watched gets its one line."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from pinchpoint import record_passive, stacks, store, thread_watch
from pinchpoint.cli import main
from pinchpoint.domain.served import Served, ServerProcess
from pinchpoint.domain.target import TargetFacts
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput, Interrupted
from pinchpoint.overseeing import Overseer
from pinchpoint.probes.host import HostProbe
from pinchpoint.record_passive import meant, processes_of
from pinchpoint.record_passive import record_passive as watch
from pinchpoint.record_service import Conditions
from pinchpoint.stacks import StackReader
from served_runs import MACHINE

CHILD = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE); print(p.pid, flush=True); input()"


@contextlib.contextmanager
def program(source):
    """A process that runs until it is left; what it says first."""
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.kill()


def proc(tmp_path, pid, status, exe=None):
    """A folder like /proc with one process."""
    folder = tmp_path / str(pid)
    folder.mkdir()
    (folder / "status").write_text(status)
    (folder / "stat").write_text(f"{pid} (x) S 1 0")
    if exe:
        (folder / "exe").symlink_to(exe)
    return tmp_path


# --- what is to be watched -----------------------------------------------------------------------------------------
def test_a_process_is_watched_with_all_that_it_started():
    with program(CHILD) as (process, child):
        assert [each.pid for each in processes_of(process.pid).processes] == [process.pid, int(child)]


def test_a_url_is_that_of_whoever_listens():
    listens = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    with program(listens) as (process, port):
        for scheme in ("http", "oip+http", "triton+grpc"):
            served, facts = meant(f"{scheme}://127.0.0.1:{port}/", None, passive=True, sends=False)
            assert [each.pid for each in served.processes] == [process.pid]
            assert f"127.0.0.1:{port}/" in facts.uri
            assert record_passive._port([process.pid]) == int(port)


@pytest.mark.parametrize(("given", "words"), [
    ({"uri": "", "pid": 2**22 + 1}, "there is no such process"),
    ({"uri": "", "pid": os.getpid()}, "that is pinchpoint itself"),
    ({"uri": "http://127.0.0.1:1/", "pid": 1}, "a process and a target are two"),
    ({"uri": "", "pid": None}, "only a server that runs can be watched"),
    ({"uri": "model.onnx", "pid": None}, "only a server that runs can be watched"),
    ({"uri": "http://127.0.0.1:1/", "pid": None}, "listens on port 1"),
    ({"uri": "http://192.0.2.1/", "pid": None}, "another machine cannot be watched from here"),
    ({"uri": "", "pid": 1, "passive": False}, "load needs a URL"),
    ({"uri": "", "pid": 1, "sends": True}, "nothing is sent with --passive"),
])  # fmt: skip
def test_what_cannot_be_meant_is_said_in_one_line(given, words):
    with pytest.raises(BadInput, match=words) as error:
        meant(**{"passive": True, "sends": False, **given})
    assert "\n" not in str(error.value)


def test_a_thread_is_none_of_the_processes():
    starts = "import threading; t = threading.Thread(target=input); t.start(); print(t.native_id, flush=True)"
    with program(starts) as (process, thread), pytest.raises(BadInput, match=f"a thread of process {process.pid}"):
        processes_of(int(thread))


def test_our_own_threads_are_ours():
    ready = threading.Event()
    mine = threading.Thread(target=ready.wait)
    mine.start()
    try:
        with pytest.raises(BadInput, match="pinchpoint itself"):
            processes_of(mine.native_id)
    finally:
        ready.set()


@pytest.mark.parametrize(
    ("state", "words"), [("S (sleeping)", "a thread of the kernel's own"), ("Z (zombie)", "has ended")]
)
def test_what_has_no_program_is_no_server(tmp_path, state, words):
    with pytest.raises(BadInput, match=words):
        processes_of(7, proc(tmp_path, 7, f"Name:\tx\nState:\t{state}\nTgid:\t7\n"))


def test_another_users_process_is_not_looked_into(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(record_passive.os, "readlink", refuse)
    with pytest.raises(BadInput, match=r"another user's process.*as root"):
        processes_of(7, proc(tmp_path, 7, "Name:\tx\nState:\tS (sleeping)\nTgid:\t7\n"))


def test_a_tunnel_is_named(monkeypatch):
    held = Served((ServerProcess(7, 1, "kubectl"),), tunnel="kubectl")
    monkeypatch.setattr(record_passive, "served_by", lambda *_: held)
    with pytest.raises(BadInput, match="held by kubectl; the server is elsewhere"):
        meant("http://127.0.0.1:8080/", None, passive=True, sends=False)


# --- watching ------------------------------------------------------------------------------------------------------
@pytest.fixture
def short(monkeypatch):
    """Stretches of 0.2 s, without py-spy."""
    monkeypatch.setattr(record_passive, "LEAST_S", 0.4)
    monkeypatch.setattr(record_passive, "SHORTEST_S", 0.2)
    monkeypatch.setattr(record_passive, "FOUND_S", 0.2)
    monkeypatch.setattr(record_passive, "is_python", lambda _: False)


def conditions(progress=lambda _: None):
    return Conditions("1123-1729", "", "0", MACHINE, (HostProbe,), lambda _: None, progress=progress)


def watched(served, budget_s=1.0, **given):
    return watch(served, TargetFacts("process", "pid 7"), Workload(budget_s=budget_s), conditions(**given))


@pytest.mark.usefixtures("short")
def test_a_program_that_computes_is_seen_to_and_the_run_is_kept(tmp_path):
    with program("print(1, flush=True)\nwhile True: pass") as (process, _):
        run = watched(processes_of(process.pid))
    store.save(run, tmp_path / "run")
    again = store.load(tmp_path / "run")
    assert again.service == run.service
    assert len(run.service.stretches) == 4
    assert all(begin < end for begin, end in run.service.stretches)
    assert run.telemetry.column("process.cpu_s")[-1] > 0
    assert run.telemetry.column("host.busy_s") is not None
    assert len(run.requests.index) == len(run.ladder) == 0
    assert {each.process for each in run.service.threads} == {process.pid}
    assert run.environment.affinity == len(os.sched_getaffinity(0))
    assert any("no process of the server is a Python interpreter" in why for _, why in run.environment.unobservable)


@pytest.mark.usefixtures("short")
def test_a_server_that_ends_meanwhile_leaves_what_was_seen():
    with program("import time; print(1, flush=True); time.sleep(2)") as (process, _):
        served = processes_of(process.pid)
        run = watched(served, budget_s=6.0)
    assert run.ended == "the process ended while it was watched"
    assert run.service.stretches


@pytest.mark.usefixtures("short")
def test_a_server_that_is_gone_at_once_is_bad_input():
    with program("print(1, flush=True); input()") as (process, _):
        served = processes_of(process.pid)
    process.wait()
    with pytest.raises(BadInput, match="the process ended"):
        watched(served)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("after", "kept"), [(0, False), (1, True)])
def test_an_interrupt_keeps_what_was_seen(monkeypatch, after, kept):
    stretch, calls = record_passive._stretch, []

    def interrupted(*given, **named):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return stretch(*given, **named)

    monkeypatch.setattr(record_passive, "_stretch", interrupted)
    with program("print(1, flush=True); input()") as (process, _):
        served = processes_of(process.pid)
        if kept:
            assert watched(served).ended == "interrupted"
        else:
            with pytest.raises(Interrupted):
                watched(served)


@pytest.mark.parametrize("budget_s", [0.0, 4.9, 3601.0, float("inf"), float("nan")])
def test_a_glance_is_too_short_and_a_day_too_long(budget_s):
    with pytest.raises(BadInput, match="for 5 s to 1 h"):
        watched(Served((ServerProcess(os.getpid(), 1, "x"),)), budget_s=budget_s)


@pytest.mark.parametrize(("budget_s", "seconds"), [(5.0, 1), (20.0, 3), (60.0, 5), (300.0, 25), (3600.0, 60)])
def test_a_longer_watch_looks_longer_at_stacks(budget_s, seconds):
    assert record_passive._look_s(budget_s) == seconds


@pytest.mark.parametrize(("length", "looked_s"), [(1.0, 0.4), (2.0, 0.4), (10.0, 2.0)])
def test_threads_are_looked_at_in_the_first_part_of_a_stretch(monkeypatch, length, looked_s):
    now = [0.0]
    clock = SimpleNamespace(monotonic_ns=lambda: round(now[0] * 1e9), sleep=lambda s: now.__setitem__(0, now[0] + s))
    monkeypatch.setattr(record_passive, "time", clock)
    went, paused = [], []
    watch = SimpleNamespace(
        threads=SimpleNamespace(go=lambda: went.append(now[0]), pause=lambda: paused.append(now[0])),
        overseer=SimpleNamespace(read_now=lambda: None),
        served=processes_of(os.getppid()),
        stretches=[],
    )
    assert record_passive._stretch(watch, length, told=False)
    assert (went, paused[0], watch.stretches) == ([0.0], pytest.approx(looked_s), [(0, round(length * 1e9))])


@pytest.mark.usefixtures("short")
def test_a_server_is_watched_gently(monkeypatch):
    asked = {}
    for name in ("Overseer", "StackReader"):
        told = getattr(record_passive, name)
        monkeypatch.setattr(
            record_passive,
            name,
            lambda *given, told=told, **named: asked.update({told: (given, named)}) or told(*given, **named),
        )
    gently = []
    monkeypatch.setattr(thread_watch, "be_punctual", lambda **named: gently.append(named))
    with program("print(1, flush=True)\nwhile True: pass") as (process, _):
        watched(processes_of(process.pid))
    assert gently == [{"gently": True}]
    assert asked[Overseer][1] == {"every_s": record_passive.READ_EVERY_S}
    assert asked[StackReader][0][2] == record_passive.STACKS_SHARE < stacks.MOST_SHARE


def test_stacks_say_who_waits_for_work_and_who_runs_a_loop(monkeypatch):
    stacks = {
        1: ("std|threading.py|1002|Thread._bootstrap", "std|concurrent/futures/thread.py|81|_worker"),
        2: ("std|threading.py|1002|Thread._bootstrap", "own|app.py|7|handle"),
        3: ("own|app.py|9|handle", "site|onnxruntime/capi.py|220|run"),
        4: ("own|app.py|1|<module>", "std|asyncio/runners.py|118|Runner.run", "own|app.py|9|handle"),
    }  # fmt: skip
    monkeypatch.setattr(record_passive, "dumped", lambda _: stacks)
    watch = SimpleNamespace(noted_as=lambda number: number)
    noted = SimpleNamespace(pythons=[7], python_threads=set(), loops=set(), said=[], threads=watch)
    before = time.monotonic_ns()
    record_passive._dump(noted)
    ((begin, end, said),) = noted.said
    assert before <= begin <= end <= time.monotonic_ns()
    assert (said, noted.loops, noted.python_threads) == ({1: True, 2: False, 4: False}, {4}, {1, 2, 3, 4})


# --- through the command line --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("arguments", "words"), [
    ([], "say what to record: TARGET, or --pid N with --passive"),
    (["--pid", "1"], "load needs a URL"),
    (["--pid", "0", "--passive"], "--pid"),
    (["--pid", "x", "--passive"], "--pid"),
    (["--pid", "1", "http://127.0.0.1:1/", "--passive"], "a process and a target are two"),
    (["--pid", "1", "--passive", "--method", "GET"], "nothing is sent with --passive"),
    (["app.py:handle", "--passive"], "only a server that runs can be watched"),
])  # fmt: skip
def test_a_command_that_cannot_be_meant_is_a_usage_error(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["record", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())  # no folder is left behind


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.usefixtures("short")
def test_the_command_prints_the_folder_that_diagnose_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with program("print(1, flush=True); input()") as (process, _):
        assert main(["record", "--pid", str(process.pid), "--passive", "--budget", "1", "--quiet"]) == 0
    folder = capsys.readouterr().out.strip()
    assert main(["diagnose", folder]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"pid {process.pid}: ")
    assert "NOTHING IS FULL" in shown
    assert main(["report", folder, "--format", "markdown"]) == 0
    assert "### What was in use" in capsys.readouterr().out
