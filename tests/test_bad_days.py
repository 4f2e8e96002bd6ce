"""Bad days of a callable, end to end: each ends in one clear line, the right exit code, and nothing lost.

What holds on any day is checked by `bad_day.Day`: no traceback, no process, shared memory or temporary file left, and no
run folder that is not a run.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid

import numpy as np
import pytest

import hostile_server as h
from bad_day import WORK, counted, slow


# --- the target's name ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("absent.onnx", "no such file"),
        ("absent.py:handle", "no such file"),
        ("app.py", "Name it after a colon: app.py:handle"),
        ("127.0.0.1:8000/predict", "Write http://127.0.0.1:8000/predict"),
        pytest.param("app.py:", "Name it after a colon", marks=slow),
        pytest.param("app.py:1x", "cannot be the name of a function", marks=slow),
        pytest.param("app.py:a b", "cannot be the name of a function", marks=slow),
        pytest.param("nothing", "not a target that pinchpoint knows", marks=slow),
        pytest.param("", "a folder that is not a run", marks=slow),
        pytest.param(".", "a folder that is not a run", marks=slow),
        pytest.param("..", "..: a folder that is not a run", marks=slow),
        pytest.param("/dev/zero", "not a file", marks=slow),
        pytest.param("x" * 300, "not a target", marks=slow),
        pytest.param("x" * 300 + ".py:handle", "File name too long", marks=slow),
        pytest.param("http://127.0.0.1:1/", "nothing listens there", marks=slow),
    ],
)
def test_a_name_that_names_nothing(day, target, words):
    day.write(WORK)
    day.diagnose(target).said(2, words)
    assert sorted(os.listdir(day.folder)) == ["app.py"]


@pytest.mark.parametrize(("behaviour", "words"), [
    (h.missing, "Give the path, --method and --input that it expects"),
    (h.unavailable, "The error is the server's own: see its log"),
])  # fmt: skip
def test_a_server_that_refuses_the_first_request(day, behaviour, words):
    with h.Server(behaviour) as server:
        day.diagnose(f"http://127.0.0.1:{server.port}/").said(2, words)
    assert not os.listdir(day.folder)


@slow
def test_links_that_lead_nowhere(day):
    (day.folder / "loop.py").symlink_to("loop.py")
    (day.folder / "dangling.py").symlink_to("nowhere.py")
    day.diagnose("loop.py:handle").said(2, "no such file")
    day.diagnose("dangling.py:handle").said(2, "no such file")


@slow
@pytest.mark.parametrize(
    "name",
    [
        "json.py",
        "random.py",
        "threading.py",
        "types.py",
        "onnxruntime.py",
        "pinchpoint.py",
        "stages.py",
        "wave.py",
        "mit leer.py",
        "näme.py",
        "new\nline.py",
        "-dash.py",
        "2nd-try.py",
        "app.test.py",
        'it\'s "quoted".py',
    ],
)
def test_any_file_name_is_fine(day, name):
    marked = "" if name == "pinchpoint.py" else "from pinchpoint import stage\n"
    day.write(f"import collections, decimal, json\n{marked}{WORK}", name)
    done = day.diagnose(f"{name}:handle")
    assert done.code in (0, 3), done
    assert day.runs()[0].requests.ok.all()
    assert day.runs()[0].target.uri == f"{name}:handle"


@slow
def test_a_name_that_is_not_utf8(day):
    name = os.fsdecode(b"n\xff.py")
    day.write(WORK, name)
    done = day.diagnose(f"{name}:handle", "--json", "d.json")
    assert done.code in (0, 3), done
    assert json.loads((day.folder / "d.json").read_text())["schema"] == "pinchpoint/diagnosis/1"


@slow
@pytest.mark.parametrize(
    "target", ["deep/app.py:handle", "./deep/../deep/app.py:handle", "link.py:handle", "app:handle"]
)
def test_relative_paths_links_and_modules(day, target):
    (day.folder / "deep").mkdir()
    day.write("", "deep/beside.py")
    day.write(f"import beside\n{WORK}", "deep/app.py")
    (day.folder / "link.py").symlink_to("deep/app.py")
    day.write(WORK)
    assert day.record(target).code == 0
    assert day.runs()[0].requests.ok.all()


# --- callables that cannot be loaded -------------------------------------------------------------------------------
@slow
@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("def other(): pass", 2, "there is no 'handle'. It has: other"),
        ("handle = 3", 2, "is a int and cannot be called"),
        ("def handle(): yield 1", 2, "is a generator"),
        ("import absent_module", 2, "no module named 'absent_module'"),
        ("1 / 0", 2, "ZeroDivisionError: division by zero at app.py:1"),
        ("def f(:", 2, "SyntaxError"),
        ("import sys; sys.exit('enough')", 3, "it called sys.exit('enough') at app.py:1"),
        ("import os; print('last words', flush=True); os._exit(7)", 3, "exited with status 7: last words"),
        ("import os; os.kill(os.getpid(), 11)", 3, "signal 11, SIGSEGV"),
        ("import time; time.sleep(600)", 3, "it did not answer for 1 s"),
        (
            "class S:\n  @property\n  def p(self): raise ValueError('no')\nhandle = S().p",
            2,
            "ValueError: no at app.py:3",
        ),
        ("def handle(x): pass", 2, "takes 1 argument and no requests were given"),
        ("def handle(x): pass\ndef example_inputs(): return []", 2, "the list of requests is empty"),
        ("def handle(x): pass\ndef example_inputs(): return None", 2, "example_inputs raised TypeError"),
        ("def handle(x): pass\ndef example_inputs(): raise OSError('no data')", 2, "OSError: no data at app.py:2"),
        ("def handle(): raise ValueError('never')", 2, "the first request raised ValueError: never at app.py:1"),
        ("def f(n): return f(n + 1)\ndef handle(): f(0)", 2, "RecursionError"),
        ("def handle(): breakpoint()", 2, "BdbQuit"),
        ("def handle(): input()", 2, "EOFError: EOF when reading a line at app.py:1"),
        ("async def f(): pass\ndef handle(): return f()", 2, "it returned a coroutine before anything was computed"),
        ("def f(): yield\ndef handle(): return f()", 2, "it returned a generator before anything was computed"),
        ("import time\ndef handle(): time.sleep(600)", 3, "it did not answer for 1 s"),
        ("import sys\ndef handle(): sys.exit(4)", 3, "it called sys.exit(4) at app.py:2"),
        (
            "class E(Exception):\n  def __str__(self): 1 / 0\ndef handle(): raise E",
            2,
            "the first request raised E at app.py:3",
        ),
    ],
)
def test_a_callable_that_never_answers(day, source, code, words):
    day.write(source)
    day.diagnose("app.py:handle", "--timeout", "1").said(code, "app.py", words)
    assert "pinchpoint-runs" not in os.listdir(day.folder)


def test_a_module_that_is_not_there(day):
    day.diagnose("absent_package.module:handle").said(2, "no module named 'absent_package'", "--python")


# --- requests of a callable ----------------------------------------------------------------------------------------
@slow
@pytest.mark.parametrize(
    ("requests", "wanted"),
    [
        ("return [1, 2]", "x in (1, 2)"),
        ("return (1, 2)", "x in (1, 2)"),
        ("yield 1; yield 2", "x in (1, 2)"),
        ("while True: yield 1", "x == 1"),
        ("return {'a': 1}", "x == {'a': 1}"),
        ("return b'bytes'", "x == b'bytes'"),
        ("return bytearray(b'bytes')", "x == b'bytes'"),
        ("return 'text'", "x == 'text'"),
        ("return [(1, 2)]", "x == (1, 2)"),
    ],
)
def test_example_inputs_of_any_kind(day, requests, wanted):
    day.write(f"def handle(x): assert {wanted}, x\ndef example_inputs():\n    {requests}\n")
    assert day.record().code == 0
    assert day.runs()[0].requests.ok.all()


@slow
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("import asyncio\nasync def handle(x): await asyncio.sleep(0); assert x == 2", "app.py:handle"),
        ("class A:\n  def __call__(self, x): assert x == 2\nhandle = A()", "app.py:handle"),
        ("class A:\n  async def __call__(self, x): assert x == 2\nhandle = A()", "app.py:handle"),
        ("import functools\ndef f(a, x): assert (a, x) == (1, 2)\nhandle = functools.partial(f, 1)", "app.py:handle"),
        ("class S:\n  def predict(self, x): assert x == 2\nservice = S()", "app.py:service.predict"),
        ("class S:\n  @staticmethod\n  def predict(x): assert x == 2", "app.py:S.predict"),
        ("from math import sqrt as handle", "app.py:handle"),
        ("handle = lambda x: x", "app.py:handle"),
    ],
)
def test_callables_of_any_kind(day, source, target):
    day.write(f"{source}\nexample_inputs = [2]\n")
    assert day.record(target).code == 0
    assert day.runs()[0].requests.ok.all()


@slow
def test_a_callable_object_without_arguments_is_awaited(day):
    day.write("import asyncio\nclass A:\n  async def __call__(self): await asyncio.sleep(0.01)\nhandle = A()")
    assert day.record().code == 0
    assert np.median(day.runs()[0].requests.latency_s) >= 0.01


@slow
@pytest.mark.parametrize("given", [":make", "app:make", "app.py:make", "other.py:make", "other:make"])
def test_requests_from_a_function(day, given):
    day.write("loads = []\nloads.append(1)\ndef handle(x): assert x == len(loads) == 1\ndef make(): return [1]\n")
    day.write("def make(): return [1]\n", "other.py")
    assert day.record("app.py:handle", "--input", given).code == 0
    assert day.runs()[0].requests.ok.all()


@slow
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("broken.json", b"{", "cannot be read: JSONDecodeError"),
        ("deep.json", b"[" * 100_000, "cannot be read: RecursionError"),
        ("objects.npy", b"\x80abc", "--trust"),
        ("objects.pkl", b"cos\nmkdir\n(S'owned'\ntR.", "can run code when it is read. Use --trust"),
        ("absent:make", None, "no module named 'absent'"),
        ("absent.py:make", None, "no such file"),
        ("app:absent", None, "there is no 'absent'"),
        ("absent", None, "no such file or folder"),
    ],
)
def test_requests_that_cannot_be_read(day, name, content, words):
    day.write("def handle(x): pass\n")
    if content is not None:
        (day.folder / name).write_bytes(content)
    day.diagnose("app.py:handle", "--input", name).said(2, words)
    assert "owned" not in os.listdir(day.folder)


@slow
def test_a_pickle_is_read_with_trust(day):
    import pickle

    day.write("def handle(x): assert x == {'a': 1}\n")
    (day.folder / "request.pkl").write_bytes(pickle.dumps({"a": 1}))
    assert day.record("app.py:handle", "--input", "request.pkl", "--trust").code == 0


# --- callables that break while they are measured -------------------------------------------------------------------
@slow
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("os._exit(3)", "exited with status 3 after 999 requests"),
        ("os.kill(os.getpid(), 11)", "signal 11, SIGSEGV after 999 requests"),
        ("os.abort()", "SIGABRT after 999 requests"),
        ("sys.exit('enough')", "it called sys.exit('enough') at app.py:6 after 999 requests"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt at app.py:6 after"),
        ("time.sleep(600)", "it did not answer for 1 s and was stopped after 999 requests"),
        ("os.kill(os.getpid(), 19)", "it did not answer for 1 s and was stopped after 999 requests"),
        ("os.kill(os.getpid(), 14)", "ended by signal 14, SIGALRM after 999 requests"),
        ("os.write(1, bytes(9999)); os._exit(3)", "exited with status 3 after 999 requests"),
        ("os.closerange(3, 500)", "it closed file descriptors that are not its own"),
        ("os.closerange(0, 500); time.sleep(600)", "it closed file descriptors that are not its own"),
        ("os.execv('/bin/sleep', ['sleep', '600'])", "after 999 requests"),
    ],
)
def test_what_was_measured_until_it_broke_is_shown_and_saved(day, what, words):
    day.write(counted(what))
    done = day.diagnose("app.py:handle", "--timeout", "1", "--json", "d.json")
    done.said(3, "app.py:handle: ", words, "shown and kept")
    assert "LATENCY" in done.out
    diagnosis = json.loads((day.folder / "d.json").read_text())
    assert diagnosis["valid"] is False
    assert diagnosis["measured"]["requests"] == 999
    (run,) = day.runs()
    assert len(run.requests.index) == 999
    again = day.run("diagnose", next((day.folder / "pinchpoint-runs").iterdir()))
    assert again.code == 3, again


@slow
@pytest.mark.parametrize("at", [2, 3, 5, 10, 40])
def test_a_few_requests_are_enough_to_be_shown(day, at):
    day.write(counted("os._exit(3)", at))
    day.diagnose().said(3, f"after {at - 1} request")


@slow
def test_one_failure_in_many_is_counted_and_the_run_goes_on(day):
    day.write(counted("raise ValueError('once')"))
    assert day.record().code == 0
    (run,) = day.runs()
    assert np.count_nonzero(~run.requests.ok) == 1
    assert run.errors == (("ValueError", 1),)


@slow
def test_too_many_failures_are_no_measurement(day):
    day.write("n = [0]\ndef handle():\n    n[0] += 1\n    if n[0] > 1: raise ValueError('no more')\n")
    day.diagnose().said(3, "too many requests failed", "ValueError: no more at app.py:4")


@slow
def test_a_failure_that_is_no_text(day):
    day.write(counted("raise type('E\\n\\x1b[31m', (Exception,), {})('\\udcff\\x1b[31m')"))
    done = day.diagnose("app.py:handle", "--json", "d.json")
    assert done.code in (0, 3), done
    assert "\x1b" not in done.out + done.err + (day.folder / "d.json").read_text()


# --- callables with habits -----------------------------------------------------------------------------------------
HABITS = {
    "prints": "def handle(): print('x' * 1000)",
    "prints no text": "import os\ndef handle(): os.write(1, bytes(range(256)))",
    "closes stdout": "import os\nos.closerange(0, 3)\n" + WORK,
    "replaces stdout": "import sys\nclass O:\n  def __getattr__(self, n): 1 / 0\nsys.stdout = sys.stderr = O()\n" + WORK,
    "has no stdout": "import sys\nsys.stdout = sys.stderr = None\n" + WORK,
    "changes folder": "import os\ndef handle(): os.chdir('/')",
    "handles signals": "import signal\nfor s in range(1, 65):\n  try: signal.signal(s, lambda *_: None)\n  except (OSError, ValueError): pass\n" + WORK,
    "ignores signals": "import signal\nfor s in (1, 2, 13, 15, 17): signal.signal(s, signal.SIG_IGN)\n" + WORK,
    "is a leader": "import os\ndef handle():\n  try: os.setsid()\n  except OSError: pass",
    "patches clocks": "import time\ntime.perf_counter = time.perf_counter_ns = time.thread_time_ns = lambda: 5\n"
    "time.process_time_ns = time.monotonic = time.thread_time = None\n" + WORK,
    "patches json": "import json\njson.dumps = json.loads = json.JSONEncoder = lambda *_, **__: 1 / 0\n" + WORK,
    "patches threading": "import threading\nthreading.get_ident = threading.get_native_id = threading.Lock = None\n" + WORK,
    "patches os": "import os, random, resource, struct\nos.pread = resource.getrusage = struct.Struct = random.Random = None\n" + WORK,
    "returns much": "def handle(): return bytearray(1 << 26)",
    "recurses": "def f(n): return n and f(n - 1)\ndef handle(): f(900)",
    "starts threads": "import threading, time\nfor _ in range(20): threading.Thread(target=time.sleep, args=(600,)).start()\n" + WORK,
    "starts processes": "import subprocess\nsubprocess.Popen(['sleep', '600'])\n" + WORK,
    "starts daemons": "import subprocess\nsubprocess.Popen('sleep 600 & sleep 600', shell=True, start_new_session=True)\n" + WORK,
    "forks": "import os\nn = [0]\ndef handle():\n  n[0] += 1\n  if n[0] % 50 == 0:\n    if pid := os.fork(): os.waitpid(pid, 0)\n    sum(range(10_000))",
    "forks and stays": "import os, time\nn = [0]\ndef handle():\n  n[0] += 1\n  if n[0] == 50 and not os.fork(): time.sleep(600)\n  sum(range(10_000))",
    "uses a pool": "import multiprocessing\npool = multiprocessing.get_context('fork').Pool(2)\ndef handle(): return pool.apply(abs, (-1,))",
    "marks without end": "from pinchpoint import stage\ndef handle():\n  for _ in range(100_000):\n    with stage('a'): pass",
    "makes up marks": "from pinchpoint import stage\nn = [0]\ndef handle():\n  for _ in range(100):\n    n[0] += 1\n    with stage('row %d' % n[0]): pass",
}  # fmt: skip


@slow
@pytest.mark.parametrize("habit", HABITS)
def test_a_callable_with_habits_is_measured_all_the_same(day, habit):
    day.write(HABITS[habit])
    done = day.diagnose("app.py:handle", "--json", "-")
    assert done.code in (0, 3), done
    assert json.loads(done.out)["measured"]["failed"] == 0
    (run,) = day.runs()
    assert run.ended == "complete"
    assert run.requests.ok.all()
    assert len(np.unique(run.requests.index)) == len(run.requests.index) >= 3
    assert len(run.span_names) <= 5000


@slow
def test_exit_functions_of_the_target_are_called(day):
    day.write(
        "import atexit, pathlib, tempfile\nfolder = tempfile.TemporaryDirectory(prefix='pinchpoint-', dir='.')\n"
        "atexit.register(pathlib.Path('said-goodbye').touch)\n" + WORK
    )
    assert day.record().code == 0
    assert sorted({*os.listdir(day.folder)} - {"__pycache__"}) == ["app.py", "pinchpoint-runs", "said-goodbye"]


@slow
def test_a_session_that_was_opened_by_a_relative_path(day, models):
    shutil.copy(models / "good.onnx", day.folder)
    day.write(
        "import os, numpy, onnxruntime\nsession = onnxruntime.InferenceSession('good.onnx')\nos.chdir('/')\n"
        "def handle(): session.run(None, {'x': numpy.zeros((1, 64), numpy.float32)})\n"
    )
    assert day.record().code == 0
    (run,) = day.runs()
    assert [each.model_path for each in run.target.sessions] == [str(day.folder / "good.onnx")]
    assert run.operators


# --- secrets -------------------------------------------------------------------------------------------------------
@slow
@pytest.mark.parametrize(
    "what", ["print(secret, flush=True); os._exit(3)", "raise ValueError(secret)", "sys.exit(secret)", "pass"]
)
def test_environment_variables_stay_out_of_the_run(day, what):
    secret = f"hush{uuid.uuid4().hex}"
    day.write("import os\nsecret = os.environ['SOME_API_KEY']\n" + counted(what, 100))
    done = day.diagnose("app.py:handle", "--json", "d.json", env={"SOME_API_KEY": secret, "OTHER": "plain-" + day.mark})
    assert secret not in done.out + done.err
    written = [path for path in day.folder.rglob("*") if path.is_file() and path.name != "app.py"]
    assert len(written) > 5
    for path in written:
        assert secret.encode() not in path.read_bytes()
        assert day.mark.encode() not in path.read_bytes()
