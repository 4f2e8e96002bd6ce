"""The child's bad days, each survived: real child processes on small programs."""

from __future__ import annotations

import os
import signal
import sys
import textwrap

import pytest

from pinchpoint.errors import BadInput
from pinchpoint.process import Child, Ended


@pytest.fixture
def start(tmp_path):
    """Start a child on a program's `handle`; closed at the end whatever happens."""
    children = []

    def started(source, name="handle", **more):
        (tmp_path / "app.py").write_text(textwrap.dedent(source))
        child = Child(None)
        children.append(child)
        spec = {
            "kind": "python",
            "uri": "app.py",
            "module": str(tmp_path / "app.py"),
            "name": name,
            "folder": str(tmp_path),
        }
        return child, child.ask({"do": "load", "spec": spec | more, "records": str(child.records), "seed": 0}, 20)

    yield started
    for child in children:
        child.close()
        assert not child.records.exists()


def pace(child, seconds=0.3, count=10**6, timeout=20, **more):
    """One arm."""
    command = {"do": "pace", "seconds": seconds, "count": count, "observe": 0.5, "flag": 0, **more}
    return child.ask(command, timeout, progress=True)


def test_a_healthy_target(start):
    child, loaded = start("def handle(): return 1")
    reply = pace(child, count=500)
    assert (reply["served"], reply["failed_requests"]) == (500, 0)
    assert child.rows("requests", 4).shape == (500, 4)
    assert loaded["thread"] == child.pid


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\nn = [0]\ndef handle():\n    n[0] += 1\n    if n[0] > 50: os._exit(3)", "exited with status 3"),
        (
            "import os\nn = [0]\ndef handle():\n    n[0] += 1\n    if n[0] > 50: os.kill(os.getpid(), 11)",
            "signal 11, SIGSEGV",
        ),
        ("import os\nn = [0]\ndef handle():\n    n[0] += 1\n    if n[0] > 50: os.kill(os.getpid(), 9)", "signal 9"),
    ],
)
def test_a_target_that_dies_leaves_what_it_recorded(start, source, said):
    child, _ = start(source)
    with pytest.raises(Ended, match=said):
        pace(child)
    assert len(child.rows("requests", 4)) == 50


def test_a_target_that_hangs_is_stopped(start):
    child, _ = start("import time\nn = [0]\ndef handle():\n    n[0] += 1\n    if n[0] > 20: time.sleep(600)")
    with pytest.raises(Ended, match="did not answer for 1 s"):
        pace(child, timeout=1)
    assert len(child.rows("requests", 4)) == 20


def test_a_target_that_exits_politely_is_heard(start):
    child, _ = start("import sys\nn = [0]\ndef handle():\n    n[0] += 1\n    if n[0] > 20: sys.exit('enough')")
    assert "sys.exit('enough') at app.py:5" in pace(child)["ended"]


def test_what_a_target_prints_stays_out_of_the_conversation(start):
    child, _ = start(
        "import sys\ndef handle():\n    print('{\"bye\": 1}' * 100)\n    print('x' * 1000, file=sys.stderr)"
    )
    assert pace(child, count=3000, seconds=5)["served"] == 3000
    assert 0 < len(child.output) <= 1 << 20


def test_threads_and_processes_of_a_target_go_with_it(start, tmp_path):
    child, _ = start(
        """
        import subprocess, threading, time
        subprocess.Popen(['sleep', '600'])
        threading.Thread(target=time.sleep, args=(600,)).start()
        def handle(): pass
        """
    )
    pace(child, count=10)
    child.close()
    left = [pid for pid in os.listdir("/proc") if pid.isdigit() and _session(pid) == child.pid]
    assert not left


def _session(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(") ")[2].split()
        return int(fields[3]) if fields[0] != "Z" else None
    except OSError:
        return None


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        ("def other(): pass", "handle", "there is no 'handle'.*It has: other"),
        ("handle = 3", "handle", "is a int and cannot be called"),
        ("def handle(): yield 1", "handle", "is a generator"),
        ("import absent_module", "handle", "no module named 'absent_module'"),
        ("1 / 0", "handle", "ZeroDivisionError: division by zero at app.py:1"),
        ("def f(:", "handle", "SyntaxError"),
        ("def handle(x): pass", "handle", "takes 1 argument and no requests"),
        ("def handle(x): pass\ndef example_inputs(): return []", "handle", "list of requests is empty"),
        ("def handle(x): pass\ndef example_inputs(): raise OSError('no data')", "handle", "OSError: no data"),
    ],
)
def test_a_target_that_cannot_be_loaded_is_said_in_a_line(start, source, name, said):
    with pytest.raises(BadInput, match=said) as caught:
        start(source, name)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_read_without_trust(start, tmp_path):
    (tmp_path / "request.pkl").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(BadInput, match="can run code when it is read"):
        start("def handle(x): pass", input=str(tmp_path / "request.pkl"))


def test_an_interpreter_that_is_none():
    with pytest.raises(BadInput, match="cannot start this interpreter"):
        Child("/nonexistent/python")


def test_a_child_that_is_killed_while_idle_is_noticed(start):
    child, _ = start("def handle(): pass")
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(Ended, match="signal 9"):
        pace(child)


def test_the_child_sees_this_package_and_nothing_beside_it(start):
    child, _ = start(
        "import pinchpoint, sys\ndef handle():\n    assert not any('pinchpoint/child' in p for p in sys.path)"
    )
    assert pace(child, count=5)["failed_requests"] == 0
    assert sys.version_info >= (3, 11)
