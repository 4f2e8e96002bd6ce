"""What py-spy saw becomes stacks: made up lines whose frames are known, and real programs that do one thing only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

from pinchpoint import stacks
from pinchpoint.domain.service import ACTIVE, HOLDING
from pinchpoint.stacks import (
    MOST_FRAMES,
    MOST_SHARE,
    StackReader,
    at_home,
    dumped,
    in_a_loop,
    is_python,
    parsed,
    python_threads,
)

PLAIN = 'process 7:"python app.py"'
SITE = "/venv/lib/python3.11/site-packages"


def only(line):
    """The frames of the one stack of a line."""
    ((frames, _),) = parsed(line).items()
    return frames


@pytest.mark.parametrize(("frame", "told"), [
    ("handle (/srv/app/app.py:12)", "own|srv/app/app.py|12|handle"),
    ("handle (app.py)", "own|app.py|0|handle"),  # no line is known
    ("run (/venv/lib/python3.11/site-packages/uvicorn/main.py:5)", "site|uvicorn/main.py|5|run"),
    ("run (/usr/lib/python3/dist-packages/flask/app.py:5)", "site|flask/app.py|5|run"),
    ("decode (/usr/lib/python3.11/json/decoder.py:337)", "std|json/decoder.py|337|decode"),
    ("decode (/usr/lib/python3.13t/json/decoder.py:337)", "std|json/decoder.py|337|decode"),
    ("_run_module_as_main (<frozen runpy>:198)", "std|runpy|198|_run_module_as_main"),
    ("<module> (<string>:1)", "own|<string>|1|<module>"),
    ("a|b (/srv/x|y.py:3)", "own|srv/x_y.py|3|a_b"),  # what separates the parts is in none of them
    ("handle (/srv/a;b/app.py:3)", "own|srv/a;b/app.py|3|handle"),  # a semicolon in a path begins no frame
    ("f (/srv/my app (1)/x.py:3)", "own|srv/my app (1)/x.py|3|f"),
    ("<lambda> (/srv/my app.py:3)", "own|srv/my app.py|3|<lambda>"),
    ("x" * 300 + " (app.py:1)", "own|app.py|1|" + "x" * stacks.NAME_KEPT),
])  # fmt: skip
def test_a_frame_tells_whose_it_is(frame, told):
    assert only(f"outer (app.py:1);{frame} 5") == ("own|app.py|1|outer", told)


@pytest.mark.parametrize("line", [
    "",
    "nonsense",
    "nonsense 5",
    " 5",
    "handle (app.py:1)",  # no count
    "handle (app.py:1) many",
    "handle (app.py:1) -3",
    f"{PLAIN} 5",  # no frame
    "thread (0x7F): MainThread 5",
    '\x00\xff;;; "" 5',
])  # fmt: skip
def test_what_is_no_stack_is_left_out(line):
    assert not parsed(line)


def test_processes_that_are_gone_hold_nothing():
    """GIVEN the stacks of a server, and of a program that a request started, which says two lines in its arguments."""
    here, gone = os.getpid(), 1 << 30
    child = f'process {here}:"app";process {gone}:"python -c s=0\nspin()"'
    text = f'process {here}:"app";serve (app.py:3) 2\n{child};spin (x.py:2) 97\n{child} 1\nprocess {here}:"app";more (app.py:4) 5\n'
    assert parsed(text) == {("own|app.py|3|serve",): 2, ("own|x.py|2|spin",): 97, ("own|app.py|4|more",): 5}
    assert parsed(text, of_those_that_stay=True) == {("own|app.py|3|serve",): 2, ("own|app.py|4|more",): 5}


def test_counts_of_the_same_frames_add_up():
    found = parsed("a (x.py:1);b (x.py:2) 5\na (x.py:1) 1\nrubbish\na (x.py:1);b (x.py:2) 7\n")
    assert found == {("own|x.py|1|a", "own|x.py|2|b"): 12, ("own|x.py|1|a",): 1}


def test_the_innermost_frames_are_kept():
    frames = only(";".join(f"f{number} (x.py:{number})" for number in range(100)) + " 1")
    assert len(frames) == MOST_FRAMES
    assert frames[-1] == "own|x.py|99|f99"
    assert frames[0] == f"own|x.py|{100 - MOST_FRAMES}|f{100 - MOST_FRAMES}"


PSEUDO = [
    PLAIN,
    'process 7:"python app.py --token=SECRET"',
    'process 7:"python app.py a;SECRET;b"',
    'process 7:"python -c import x;SECRET (/srv/app.py:1)"',
    'process 7:"python a;process 8:"SECRET""',
    'process 7:""',
    'process 7:"gunicorn: master [app:app]";process 8:"gunicorn: worker (SECRET) [app:app]"',
]
TELLING = [
    'process 7:"python -c print(1);SECRET"',
    'process 7:"python app.py (a);SECRET (b"',
    'process 7:"python -c say("SECRET");SECRET(2)"',
]
ACROSS_LINES = [
    'process 7:"python -c import x\nSECRET"',
    'process 7:"python app.py";process 8:"python -c s=0\nfor SECRET in (1):\n  pass"',
    'process 7:"python app.py";process 8:"python -c process 9:\nSECRET"',
]
BEHIND = ";<module> (/srv/app.py:4);spin (/srv/app.py:3) 9"


@pytest.mark.parametrize("pseudo", [*PSEUDO, *TELLING, *ACROSS_LINES])
def test_no_argument_of_a_process_is_told(pseudo):
    assert "SECRET" not in repr(parsed(pseudo + BEHIND))


@pytest.mark.parametrize("pseudo", [*PSEUDO, *TELLING, *ACROSS_LINES])
def test_frames_behind_those_of_processes_and_threads_are_all_there(pseudo):
    assert only(pseudo + BEHIND) == ("own|srv/app.py|4|<module>", "own|srv/app.py|3|spin")


def test_a_frame_alone_in_its_process_is_there():
    assert only(f"{PLAIN};<module> (/srv/app.py:4) 9") == ("own|srv/app.py|4|<module>",)


# --- real processes ------------------------------------------------------------------------------------------------
@pytest.fixture
def sleeping():
    """A process that is no interpreter."""
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def test_who_is_an_interpreter(sleeping):
    assert is_python(os.getpid())
    assert not is_python(sleeping)
    assert not is_python(2**22 + 1)  # beyond the largest process id


@pytest.mark.parametrize(
    ("roots", "tool", "reason"),
    [
        ((), "/bin/true", "no process of the server is a Python interpreter"),
        ((1,), None, "py-spy is not installed"),
        ((1,), "/bin/false", "py-spy: it said nothing"),
        ((1,), "/nowhere/py-spy", ""),
    ],
)
def test_a_look_that_cannot_be_says_why(monkeypatch, roots, tool, reason):
    monkeypatch.setattr(stacks, "program", lambda: tool)
    reader = StackReader(roots, (1, 2, 3))
    reader.begin(ACTIVE, 1)
    found, look = reader.end(ACTIVE, 2, 1)
    assert found == ()
    assert (look.kind, look.load, look.moments, look.processes) == (ACTIVE, 2, 0, 3)
    assert look.reason == reason or (not reason and look.reason)


@pytest.mark.parametrize(("kind", "threads", "processes", "share", "per_s"), [
    (ACTIVE, 2, 1, MOST_SHARE, 100),  # never more often
    (ACTIVE, 60, 1, MOST_SHARE, 48),  # 0.3 ms and 600 frames of 20 us
    (ACTIVE, 60, 10, MOST_SHARE, 10),  # never more seldom
    (ACTIVE, 10, 5, MOST_SHARE, 61),  # of five processes each; the topmost has no thread but its own
    (ACTIVE, 2, 1, 0.02, 28),
    (HOLDING, 60, 1, MOST_SHARE, 100),  # one stack is read, whatever the threads
    (HOLDING, 60, 1, 0.02, 66),
])  # fmt: skip
def test_all_stacks_are_read_as_often_as_a_share_of_a_cpu_pays_for(monkeypatch, kind, threads, processes, share, per_s):
    frames = ("own|app.py|1|handle",) * 10
    monkeypatch.setattr(
        stacks, "dumped", lambda pid: dict.fromkeys(range(1 if processes == 5 and pid == 7 else threads), frames)
    )
    monkeypatch.setattr(stacks.subprocess, "Popen", lambda command, **_: asked.append(command) or Ended())
    asked = []
    reader = StackReader([7], range(7, 7 + processes), share)
    reader.begin(kind, 3)
    reader.end(kind, 1, 3)
    (command,) = asked
    assert f"--rate={per_s}" in command


class Ended:
    """A look that found nothing."""

    returncode = 1

    def communicate(self, **_):
        return "", ""


def test_without_py_spy_no_threads_are_known(monkeypatch):
    monkeypatch.setattr(stacks, "program", lambda: None)
    assert python_threads(os.getpid()) == frozenset()


SPINNING = """
    import threading
    def spin():
        print(threading.get_native_id(), flush=True)
        while True:
            pass
    def rest():
        threading.Event().wait()
    resting = threading.Thread(target=rest, daemon=True)
    resting.start()
    print(resting.native_id)
    spin()
"""


@pytest.fixture(scope="module")
def spinning(tmp_path_factory):
    """A program that spins in `spin` with another thread that rests: its process id, and its threads."""
    if stacks.program() is None:
        pytest.skip("there is no py-spy here")
    path = tmp_path_factory.mktemp("spinning") / "spinning.py"
    path.write_text(textwrap.dedent(SPINNING))
    process = subprocess.Popen([sys.executable, str(path), "--token", "a;SECRET(b)"], stdout=subprocess.PIPE, text=True)
    try:
        threads = {int(process.stdout.readline()) for _ in range(2)}
        if subprocess.run([stacks.program(), "dump", "--pid", str(process.pid)], capture_output=True).returncode:
            pytest.skip("py-spy may not look at other processes here")
        yield process.pid, threads
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", [ACTIVE, HOLDING])
def test_a_program_that_spins_is_seen_spinning(spinning, kind):
    reader = StackReader([spinning[0]], [spinning[0]])
    reader.begin(kind, 1)
    found, look = reader.end(kind, 4, 1)
    assert (look.kind, look.load, look.moments, look.processes, look.reason) == (kind, 4, 100, 1, "")
    assert all((each.kind, each.load) == (kind, 4) for each in found)
    all_of = sum(each.count for each in found)
    inside = sum(each.count for each in found if "spinning.py|" in each.frames[-1])
    assert 10 < all_of <= 110
    assert inside > 0.9 * all_of
    assert found[0].frames[-1].endswith("|spin")
    assert "SECRET" not in repr(found)


CROWDED = """
    import threading
    all_there = threading.Barrier(61)
    def deep(left):
        deep(left - 1) if left else (all_there.wait(), threading.Event().wait())
    for _ in range(60):
        threading.Thread(target=deep, args=(20,), daemon=True).start()
    all_there.wait()
    print("ready", flush=True)
    while True:
        sum(range(10_000))
"""


def test_a_program_with_many_idle_threads_is_looked_at_less_often(tmp_path):
    path = tmp_path / "crowded.py"
    path.write_text(textwrap.dedent(CROWDED))
    with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()
            if not dumped(process.pid):
                pytest.skip("py-spy may not look at other processes here")
            reader = StackReader([process.pid], [process.pid])
            reader.begin(ACTIVE, 1)
            found, look = reader.end(ACTIVE, 1, 1)
        finally:
            process.kill()
    assert stacks.LEAST_PER_S <= look.moments < stacks.RATE_PER_S / 2
    assert not look.reason
    assert 0 < sum(each.count for each in found) <= 2 * look.moments  # the one that computes, and few who seem to


def test_the_threads_of_an_interpreter(spinning, sleeping):
    pid, threads = spinning
    assert python_threads(pid) == threads
    assert python_threads(sleeping) == frozenset()


WORKER = ("std|threading.py|1002|Thread._bootstrap", "std|concurrent/futures/thread.py|81|_worker")


@pytest.mark.parametrize(("frames", "waits_for_work"), [
    (WORKER, True),
    ((*WORKER, "own|app.py|7|handle"), False),
    ((*WORKER, "own|app.py|7|handle", "std|threading.py|320|Condition.wait"), False),  # what its own code waits for
    ((*WORKER, "site|onnxruntime/capi.py|220|run"), False),
    ((), False),
])  # fmt: skip
def test_a_thread_waits_for_work_where_nothing_is_of_the_users(frames, waits_for_work):
    assert at_home(frames) == waits_for_work


@pytest.mark.parametrize(("frames", "loop"), [
    (("own|app.py|1|<module>", "std|asyncio/runners.py|118|Runner.run", "own|app.py|9|handle"), True),
    (("std|asyncio/base_events.py|608|BaseEventLoop.run_forever",), True),
    (("std|asyncio/runners.py|190|run", "site|uvicorn/server.py|70|serve"), True),
    ((*WORKER, "std|asyncio/threads.py|25|to_thread"), False),
    (WORKER, False),
    ((), False),
])  # fmt: skip
def test_a_thread_runs_a_loop_where_its_stack_says_so(frames, loop):
    assert in_a_loop(frames) == loop


def test_all_stacks_at_one_moment(spinning, sleeping):
    if not stacks.program():
        pytest.skip("py-spy is not installed")
    found = dumped(spinning)
    assert found.keys() == python_threads(spinning)
    assert all(frames[0].count("|") == 3 for frames in found.values())
    assert dumped(sleeping) == {}  # no interpreter


def test_of_a_deep_stack_both_ends_are_told(monkeypatch):
    """GIVEN a loop far below a handler's many frames THEN it is still known as one."""
    outer = [{"filename": "/usr/lib/python3.11/asyncio/runners.py", "line": 118, "name": "Runner.run"}]
    inner = [{"filename": f"/srv/{n}.py", "line": n, "name": "handle"} for n in range(300)]
    told = json.dumps([{"os_thread_id": 7, "frames": [*inner, *outer]}, {"os_thread_id": None, "frames": []}])
    monkeypatch.setattr(stacks, "program", lambda: "py-spy")
    monkeypatch.setattr(stacks.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=told))
    ((thread, frames),) = dumped(1).items()
    assert (thread, len(frames), frames[-1]) == (7, 2 * MOST_FRAMES, "own|srv/0.py|0|handle")
    assert in_a_loop(frames)


@pytest.mark.parametrize(
    "told", ["", "[]", "{}", "null", '[{"os_thread_id": 7}]', '[{"os_thread_id": 7, "frames": [{}]}]', "[7]"]
)
def test_what_py_spy_does_not_tell_is_nothing(monkeypatch, told):
    monkeypatch.setattr(stacks, "program", lambda: "py-spy")
    monkeypatch.setattr(stacks.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=told))
    assert dumped(1) == {}
