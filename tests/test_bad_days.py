"""Bad days, end to end: each ends in one clear line on stderr, the right exit code, nothing lost, and no leftovers.

Everything runs through the command line in a process of its own. `Day.run` itself checks what holds on any day: no
traceback, no process left, no shared memory, no temporary file, and no run folder that is not a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from pinchpoint import store
from pinchpoint.errors import BadInput
from pinchpoint.process import Child
from small_models import FLOAT, one_node, save, weights

PROGRAM = [sys.executable, "-P", "-m", "pinchpoint"]  # without the current folder on its path, as the script runs
PYENV = Path("/root/.pyenv/versions")
LONGEST_S = 180
WORK = "def handle(): return sum(range(10_000))\n"
slow = pytest.mark.slow


@dataclass(frozen=True)
class Done:
    """What came of a run of the program."""

    code: int
    out: str
    err: str

    def said(self, code, *words):
        """It ended with `code`, and with one line that has these words."""
        assert self.code == code, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self
        assert lines[0].startswith("pinchpoint: "), self
        assert all(word in lines[0] for word in words), self
        return lines[0]


class Day:
    """A folder to work in, and the program run in it."""

    def __init__(self, folder):
        self.folder = folder / "day"
        self.temporary = folder / "tmp"
        self.mark = uuid.uuid4().hex
        for each in (self.folder, self.temporary):
            each.mkdir()

    def write(self, source, name="app.py"):
        path = self.folder / name
        path.write_text(textwrap.dedent(source))
        return path

    def start(self, *arguments, program=PROGRAM, env=None, **more):
        variables = {**os.environ, "TMPDIR": str(self.temporary), "A_DAY": self.mark, **(env or {})}
        streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE) | {"stdin": subprocess.DEVNULL}
        options = streams | {"cwd": self.folder, "env": variables, "text": True, "errors": "replace"} | more
        return subprocess.Popen([*program, *map(os.fspath, arguments)], **options)

    def end(self, process):
        try:
            out, err = process.communicate(timeout=LONGEST_S)
        finally:
            process.kill()
        self.check_clean(process.pid)
        done = Done(process.returncode, out or "", err or "")
        assert "Traceback" not in done.out + done.err, done
        return done

    def run(self, *arguments, **more):
        return self.end(self.start(*arguments, **more))

    def diagnose(self, target="app.py:handle", *arguments, verb="diagnose", **more):
        return self.run(verb, "--quiet", "--budget", "300ms", *arguments, "--", target, **more)

    def record(self, target="app.py:handle", *arguments, **more):
        return self.diagnose(target, *arguments, verb="record", **more)

    def runs(self, out="pinchpoint-runs"):
        """All runs, as they were saved."""
        return [store.load(path) for path in sorted((self.folder / out).glob("*"))]

    def check_clean(self, pid):
        deadline = time.monotonic() + 5
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.1)  # a process that was killed takes a moment to go
        assert not left
        assert not list(Path("/dev/shm").glob(f"pinchpoint-{pid}-*"))
        assert not [each for each in os.listdir(self.temporary) if each.startswith("pinchpoint-")]
        for folder in self.folder.glob("pinchpoint-runs*"):
            assert list(folder.iterdir()), "an empty folder of runs"
            for run in folder.iterdir():
                assert store.is_run(run), run
                assert not [each.name for each in run.iterdir() if each.suffix not in (".json", ".parquet")]

    def left(self):
        """Processes of this day that still run."""
        found = []
        for each in Path("/proc").iterdir():
            if each.name.isdigit():
                with contextlib.suppress(OSError):
                    if self.mark.encode() in (each / "environ").read_bytes():
                        found.append((each / "cmdline").read_bytes())
        return found


@pytest.fixture
def day(tmp_path):
    return Day(tmp_path)


def permitted(*command):
    """Whether this system lets us do that."""
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


@pytest.fixture(scope="module")
def powerless():
    """A program's start that respects permissions, also for root."""
    if os.geteuid() != 0:
        return PROGRAM
    dropped = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if not permitted(*dropped, "true"):
        pytest.skip("root here cannot give up the right to write everywhere (setpriv)")
    return [*dropped, *PROGRAM]


@pytest.fixture(scope="module")
def small_disk():
    """A program's start with a file system of the given size mounted on a folder."""
    if not permitted("unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"):
        pytest.skip("no file system can be mounted here (unshare -m)")

    def start(size, folder, fill=0):
        full = f"head -c {fill} /dev/zero > {folder}/filler; " if fill else ""
        script = f'mount -t tmpfs -o size={size} none {folder}; {full}exec "$@"'
        return ["unshare", "-m", "sh", "-c", script, "sh", *PROGRAM]

    return start


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models, most of them bad."""
    folder = tmp_path_factory.mktemp("models")
    x = np.zeros((1, 64), np.float32)
    one_node(folder / "good.onnx", "Relu", {"x": x})
    one_node(folder / "operator.onnx", "Frobnicate", {"x": x})
    one_node(folder / "domain.onnx", "Frobnicate", {"x": x}, domain="com.example")
    one_node(folder / "opset.onnx", "Relu", {"x": x}, opset=99)
    one_node(folder / "named-file.onnx", "Relu", {"file": x})
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    big = save(folder / "big.onnx", [node], [("x", FLOAT, [1, 512])], ["y"], {"w": weights(512, 512)})
    onnx.save(onnx.load(big), folder / "weightless.onnx", save_as_external_data=True, location="weights.bin")
    (folder / "weights.bin").unlink()
    (folder / "cut.onnx").write_bytes(big.read_bytes()[:-100])
    (folder / "empty.onnx").touch()
    (folder / "text.onnx").write_text("hello")
    (folder / "noise.onnx").write_bytes(np.random.default_rng(0).bytes(10_000))
    (folder / "folder.onnx").mkdir()
    os.mkfifo(folder / "pipe.onnx")
    two = helper.make_node("Add", ["a", "b"], ["y"], "sum")
    save(folder / "two.onnx", [two], [("a", FLOAT, [1, 64]), ("b", FLOAT, [1, 64])], ["y"])
    return folder


# --- the target's name ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("absent.onnx", "no such file"),
        ("absent.py:handle", "no such file"),
        ("app.py", "Name it after a colon: app.py:handle"),
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
        pytest.param("http://127.0.0.1:1/", "servers cannot be measured yet", marks=slow),
    ],
)
def test_a_name_that_names_nothing(day, target, words):
    day.write(WORK)
    day.diagnose(target).said(2, words)
    assert sorted(os.listdir(day.folder)) == ["app.py"]


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


# --- models and their inputs ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "the file is empty"),
        ("cut", "cut short or damaged"),
        pytest.param("text", "not an ONNX model but text", marks=slow),
        pytest.param("noise", "not an ONNX model", marks=slow),
        pytest.param("folder", "a folder, not a model file", marks=slow),
        pytest.param("pipe", "not a regular file", marks=slow),
        pytest.param("weightless", "Put weights.bin beside the model", marks=slow),
        pytest.param("operator", "Frobnicate", marks=slow),
        pytest.param("domain", "com.example:Frobnicate", marks=slow),
        pytest.param("opset", "opset", marks=slow),
    ],
)
def test_a_model_that_cannot_be_run(day, models, name, words):
    day.diagnose(models / f"{name}.onnx").said(2, f"{name}.onnx: ", words)
    assert not os.listdir(day.folder)


@pytest.fixture(scope="module")
def requests(tmp_path_factory):
    """A folder of requests for `good.onnx`, most of them bad."""
    folder = tmp_path_factory.mktemp("requests")
    x = np.zeros((1, 64), np.float32)
    for name, arrays in {
        "good": {"x": x}, "shape": {"x": x[:, :3]}, "rank": {"x": x[0]}, "dtype": {"x": x.astype(np.int32)},
        "names": {"y": x}, "more": {"x": x, "y": x}, "none": {}, "objects": {"x": np.array([{}], dtype=object)},
    }.items():  # fmt: skip
        np.savez(folder / f"{name}.npz", **arrays)
    good = (folder / "good.npz").read_bytes()
    (folder / "cut.npz").write_bytes(good[:100])
    (folder / "flipped.npz").write_bytes(good[:200] + bytes([good[200] ^ 255]) + good[201:])
    np.save(folder / "one.npy", x)
    for name, shape in {"huge": f"({10**12}, {10**6})", "unclosed": "(1, ("}.items():
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        (folder / f"{name}.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.encode())
    for name, text in {
        "broken": "{", "ragged": '{"x": [[1, 2], [3]]}', "object": '{"x": {"a": 1}}', "large": f'{{"x": [1{"0" * 400}]}}',
        "deep": "[" * 100_000,
    }.items():  # fmt: skip
        (folder / f"{name}.json").write_text(text)
    for name in ("empty.npz", "picture.jpg", "nameless", "pickled.pkl"):
        (folder / name).touch()
    (folder / "no-files").mkdir()
    os.mkfifo(folder / "pipe")
    return folder


@slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.npz", "no such file or folder"),
        ("shape.npz", "float[1,3]. Expected float[1,64]"),
        ("rank.npz", "Expected float[1,64]"),
        ("dtype.npz", "int32[1,64]. Expected float[1,64]"),
        ("names.npz", "'x' is missing"),
        ("more.npz", "no input 'y'"),
        ("none.npz", "'x' is missing"),
        ("objects.npz", "cannot be read"),
        ("cut.npz", "cannot be read"),
        ("flipped.npz", "cannot be read"),
        ("empty.npz", "cannot be read"),
        ("huge.npy", "cannot be read"),
        ("unclosed.npy", "cannot be read"),
        ("broken.json", "cannot be read"),
        ("ragged.json", "cannot be read"),
        ("object.json", "cannot be read"),
        ("large.json", "cannot be read"),
        ("deep.json", "cannot be read"),
        ("picture.jpg", "not a .jpg file"),
        ("nameless", "not a nameless file"),
        ("pickled.pkl", "not a .pkl file"),
        ("no-files", "the folder holds no files"),
        ("pipe", "Give .npz, .npy or .json"),
    ],
)
def test_a_request_that_does_not_fit_the_model(day, models, requests, name, words):
    day.diagnose(models / "good.onnx", "--input", requests / name).said(2, name, words)


@slow
def test_an_array_without_a_name_for_a_model_of_two_inputs(day, models, requests):
    day.diagnose(models / "two.onnx", "--input", requests / "one.npy").said(2, "an .npz with these names")


@slow
@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("nonsense=1", "unknown setting 'nonsense'"),
        ("intra_op_threads=many", "a whole number"),
        ("providers=CUDAExecutionProvider", "has no CUDAExecutionProvider here. It has: "),
    ],
)
def test_a_setting_that_the_runtime_does_not_know(day, models, pair, words):
    day.diagnose(models / "good.onnx", "--set", pair).said(2, "--set", words)


@slow
def test_a_model_whose_input_is_called_file(day, models):
    assert day.record(models / "named-file.onnx").code == 0


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
def counted(what, at=1000):
    """A callable that does something bad at its request number `at`."""
    return f"import os, sys, time, threading\nn = [0]\ndef handle():\n    n[0] += 1\n    if n[0] == {at}:\n        {what}\n"


@slow
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("os._exit(3)", "exited with status 3 after 999 requests"),
        ("os.kill(os.getpid(), 11)", "signal 11, SIGSEGV after 999 requests"),
        ("os.abort()", "SIGABRT after 999 requests"),
        ("sys.exit('enough')", "it called sys.exit('enough') at app.py:6 after 1,000 requests"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt at app.py:6 after"),
        ("time.sleep(600)", "it did not answer for 1 s and was stopped after 999 requests"),
        ("os.closerange(3, 500)", "it closed file descriptors that are not its own"),
        ("os.closerange(0, 500); time.sleep(600)", "it closed file descriptors that are not its own"),
        ("os.execv('/bin/sleep', ['sleep', '600'])", "after 999 requests"),
    ],
)
def test_what_was_measured_until_it_broke_is_shown_and_saved(day, what, words):
    day.write(counted(what))
    done = day.diagnose("app.py:handle", "--timeout", "1", "--json", "d.json")
    done.said(3, "app.py:handle: ", words.replace("1,000", "999"), "shown and kept")
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


# --- where things are kept -----------------------------------------------------------------------------------------
def test_a_folder_that_cannot_be_written(day, powerless):
    day.write(WORK)
    (day.folder / "closed").mkdir(mode=0o500)
    for out in ("closed", "closed/inside"):
        day.diagnose("app.py:handle", "--out", out, program=powerless).said(2, "Permission denied. Use another --out")


@slow
def test_a_file_where_a_folder_is_wanted(day):
    day.write(WORK)
    for out in ("app.py", "app.py/inside"):
        day.diagnose("app.py:handle", "--out", out).said(2, "cannot write there", "Use another --out")


@slow
def test_a_target_in_a_folder_that_cannot_be_written(day, powerless):
    (day.folder / "closed").mkdir()
    day.write(WORK, "closed/app.py")
    (day.folder / "closed").chmod(0o500)
    assert day.record("closed/app.py:handle", program=powerless).code == 0
    assert os.listdir(day.folder / "closed") == ["app.py"]


@slow
@pytest.mark.parametrize("name", ["app.py:handle", "good.onnx"])
def test_a_target_that_cannot_be_read(day, models, powerless, name):
    shutil.copy(models / "good.onnx", day.folder)
    day.write(WORK)
    (day.folder / name.partition(":")[0]).chmod(0)
    day.diagnose(name, program=powerless).said(2, "Permission denied")
    closed = day.folder / "closed"
    closed.mkdir(mode=0)
    day.diagnose("closed/app.py:handle", program=powerless).said(2, "Permission denied")


@slow
def test_existing_folders_are_kept(day):
    day.write(WORK)
    (day.folder / "out").mkdir()
    (day.folder / "out" / "mine.txt").write_text("mine")
    assert [day.record("app.py:handle", "--out", "out").code for _ in range(2)] == [0, 0]
    assert len(os.listdir(day.folder / "out")) == 3
    day.diagnose("absent.py:handle", "--out", "out").said(2, "no such file")
    assert len(os.listdir(day.folder / "out")) == 3


@slow
def test_an_empty_folder_of_the_users_is_kept(day):
    (day.folder / "out").mkdir()
    day.diagnose("absent.py:handle", "--out", "out").said(2, "no such file")
    assert os.listdir(day.folder) == ["out"]


@slow
def test_a_current_folder_that_is_gone(day):
    script = ["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh", *PROGRAM]
    day.diagnose("app:handle", "--out", "/proc/nowhere", program=script).said(2, "cannot write there")
    day.diagnose("app:handle", "--out", day.folder / "out", program=script).said(2, "current folder does not exist")


@slow
def test_a_full_disk_loses_nothing(day, small_disk):
    day.write(WORK)
    (day.folder / "disk").mkdir()
    done = day.run(
        *("diagnose", "app.py:handle", "--quiet", "--budget", "300ms", "--out", "disk/out", "--json", "d.json"),
        program=small_disk("64k", "disk", fill=64 << 10),
        env={"TMPDIR": str(day.folder)},
    )
    done.said(done.code, "disk/out", "the disk is full", "The run is in ")
    assert done.code in (0, 3)
    assert "LATENCY" in done.out
    assert json.loads((day.folder / "d.json").read_text())["measured"]["requests"]
    (kept,) = day.folder.glob("pinchpoint-run-*")
    assert store.load(kept).requests.ok.all()


@slow
def test_a_disk_that_is_full_everywhere(day, small_disk):
    day.write(WORK)
    (day.folder / "disk").mkdir()
    arguments = ("app.py:handle", "--quiet", "--budget", "300ms", "--out", "disk/out")
    settings = {"program": small_disk("16k", "disk"), "env": {"TMPDIR": str(day.folder / "disk")}}
    done = day.run("diagnose", *arguments, "--json", "d.json", **settings)
    done.said(2, "the disk is full", "The run is not kept")
    assert "LATENCY" in done.out
    assert (day.folder / "d.json").exists()
    day.run("record", *arguments, **settings).said(2, "the disk is full")


@slow
def test_shared_memory_that_is_full(day, small_disk):
    day.write(WORK)
    (day.folder / "disk").mkdir()
    start = small_disk("2m", "disk")
    start[4] = "mount -t tmpfs -o size=1m none /dev/shm; " + start[4]
    day.diagnose(program=start, env={"TMPDIR": str(day.folder / "disk")}).said(3, "shared memory for records is full")


@slow
def test_a_json_document_that_cannot_be_written(day):
    day.write(WORK)
    done = day.diagnose("app.py:handle", "--json", "/dev/full")
    done.said(2, "/dev/full: the JSON document cannot be written: No space left")
    assert "LATENCY" in done.out
    assert len(day.runs()) == 1


# --- runs ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The folder of a run."""
    day = Day(tmp_path_factory.mktemp("recorded"))
    day.write(WORK)
    assert day.record().code == 0
    return next((day.folder / "pinchpoint-runs").iterdir())


def newer(run):
    path = run / "manifest.json"
    path.write_text(path.read_text().replace("pinchpoint/run/1", "pinchpoint/run/2"))


def flipped(run):
    path = run / "requests.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


@slow
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (newer, "written by a newer pinchpoint"),
        (flipped, "the table is damaged"),
        (lambda run: (run / "probes.parquet").unlink(), "a table of the run is missing"),
        (lambda run: (run / "manifest.json").write_text("{"), "the manifest is damaged"),
        (lambda run: (run / "manifest.json").write_text("[" * 100_000), "the manifest is damaged"),
        (lambda run: (run / "manifest.json").unlink(), "a folder that is not a run"),
    ],
    ids=["newer", "flipped", "table gone", "no JSON", "deep JSON", "manifest gone"],
)
def test_a_damaged_run(day, recorded, damage, words):
    run = day.folder / "run"
    shutil.copytree(recorded, run)
    damage(run)
    day.run("diagnose", "run").said(2, "run", words)
    day.run("report", "run").said(2, "run", words if "folder" not in words else "not a run folder")


@slow
def test_a_run_is_read_again_wherever_it_lies(day, recorded):
    run = day.folder / "it's\na \u00fcber run"
    shutil.copytree(recorded, run)
    for verb in ("diagnose", "report"):
        done = day.run(verb, run.name)
        assert done.code in (0, 3), done
        assert "LATENCY" in done.out


# --- interrupts ----------------------------------------------------------------------------------------------------
def interrupted(day, *arguments, wait_for="loading", then_s=0.5, signals=(signal.SIGINT,), **more):
    """Start, wait until progress says a word and for a while, and send signals."""
    with (day.folder.parent / "progress").open("w+") as progress:
        process = day.start(*arguments, "--json", "d.json", stderr=progress, **more)
        deadline = time.monotonic() + LONGEST_S
        while process.poll() is None and time.monotonic() < deadline:
            progress.seek(0)
            if wait_for in progress.read():
                break
            time.sleep(0.02)
        time.sleep(then_s)
        for each in signals:
            process.send_signal(each)
            time.sleep(0.1)
        done = day.end(process)
        progress.seek(0)
        lines = [line for line in progress.read().splitlines() if line.startswith("pinchpoint: ")]
    return Done(done.code, done.out, "\n".join(lines))


def check_saved(day, done):
    """Interrupted, and what was measured until then is there in every form."""
    done.said(130, "interrupted")
    assert "LATENCY" in done.out
    assert json.loads((day.folder / "d.json").read_text())["measured"]["requests"] > 0
    assert len(day.runs()[0].requests.index) > 0


@slow
@pytest.mark.parametrize(
    "source",
    ["import time\ntime.sleep(600)", "import time\ndef handle(): time.sleep(600)"],
    ids=["load", "first request"],
)
def test_an_interrupt_before_the_first_answer(day, source):
    day.write(source)
    interrupted(day, "diagnose", "app.py:handle").said(130, "interrupted before a request was answered")
    assert "pinchpoint-runs" not in os.listdir(day.folder)


@slow
@pytest.mark.parametrize("then_s", [0.0, 0.4, 1.0, 2.1])
@pytest.mark.parametrize(
    "signals", [(signal.SIGINT,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM,), (signal.SIGHUP,)]
)
def test_an_interrupt_while_measuring(day, then_s, signals):
    day.write(WORK)
    check_saved(
        day, interrupted(day, "diagnose", "app.py:handle", wait_for="measuring", then_s=then_s, signals=signals)
    )


@slow
@pytest.mark.parametrize("then_s", [0.2, 3.0])
def test_an_interrupt_while_calibrating(day, models, then_s):
    cold = {"XDG_CACHE_HOME": str(day.folder.parent / "cache")}
    arguments = ("diagnose", models / "good.onnx")
    check_saved(day, interrupted(day, *arguments, wait_for="calibrating", then_s=then_s, env=cold))


@slow
@pytest.mark.parametrize("then_s", [0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
def test_an_interrupt_among_the_operator_arms(day, models, then_s):
    arguments = ("diagnose", models / "big.onnx", "--budget", "20")
    check_saved(day, interrupted(day, *arguments, wait_for="measuring", then_s=then_s))


INTERRUPTING = """
import importlib, os, signal, sys
from pinchpoint.cli import main
module = importlib.import_module({module!r})

def interrupting(*positional, **named):
    module.{name} = original
    for _ in range({times}):
        os.kill(os.getpid(), signal.SIGINT)
    return original(*positional, **named)

original, module.{name} = module.{name}, interrupting
sys.exit(main())
"""


@slow
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("pinchpoint.store", "save"),
        ("pinchpoint.store", "_write_table"),
        ("pinchpoint.inquire", "inquire"),
        ("pinchpoint.api", "render"),
        ("pinchpoint.cli.diagnose", "write_json"),
        ("pinchpoint.cli.diagnose", "show"),
    ],
)
def test_an_interrupt_after_measuring(day, module, name, times):
    """While saving, analysing and writing: all is finished, and the exit code says that there was an interrupt."""
    day.write(WORK)
    code = INTERRUPTING.format(module=module, name=name, times=times)
    arguments = ("diagnose", "app.py:handle", "--quiet", "--budget", "300ms", "--json", "d.json")
    done = day.run(*arguments, program=[sys.executable, "-c", code])
    assert done.code == 130, done
    assert "LATENCY" in done.out
    assert json.loads((day.folder / "d.json").read_text())["measured"]["requests"] > 0
    assert len(day.runs()) == 1


@slow
def test_an_interrupted_recording_names_its_folder(day):
    day.write(WORK)
    process = day.start("record", "app.py:handle")
    for line in process.stderr:
        if "measuring" in line:
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    done = day.end(process)
    done.said(130, "interrupted after")
    assert store.is_run(day.folder / done.out.strip())


@slow
def test_an_interrupt_of_the_calibration_alone(day):
    cold = {"XDG_CACHE_HOME": str(day.folder.parent / "cache")}
    process = day.start("machine", env=cold)
    for line in process.stderr:
        if "calibrating" in line:
            break
    process.send_signal(signal.SIGINT)
    day.end(process).said(130, "interrupted")


@slow
def test_an_impatient_user_gets_away(day):
    day.write(WORK)
    code = INTERRUPTING.format(module="pinchpoint.inquire", name="inquire", times=4)
    arguments = ("diagnose", "app.py:handle", "--quiet", "--budget", "300ms")
    day.run(*arguments, program=[sys.executable, "-c", code]).said(130, "interrupted")
    assert len(day.runs()) == 1


@slow
def test_a_child_whose_parent_was_killed_goes_and_cleans_up(day):
    day.write(WORK)
    process = day.start("diagnose", "app.py:handle")
    for line in process.stderr:
        if "measuring" in line:
            break
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while (day.left() or list(Path("/dev/shm").glob(f"pinchpoint-{process.pid}-*"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not day.left()
    assert not list(Path("/dev/shm").glob(f"pinchpoint-{process.pid}-*"))


# --- memory --------------------------------------------------------------------------------------------------------
EATS = "kept = []\ndef handle(): kept.append(bytearray(b'x') * (8 << 20))\n"


@pytest.fixture
def memory_limit():
    """A control group of 400 MB; a function that joins it."""
    top = Path("/sys/fs/cgroup")
    two = (top / "cgroup.controllers").exists()
    group = (top if two else top / "memory") / f"pinchpoint-test-{uuid.uuid4().hex}"
    try:
        group.mkdir()
        (group / ("memory.max" if two else "memory.limit_in_bytes")).write_text(str(400 << 20))
        for name in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
            if (group / name).exists():
                (group / name).write_text("0" if two else str(400 << 20))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group with a memory limit can be made here: {error}")
    yield lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    for _ in range(50):
        with contextlib.suppress(OSError):
            group.rmdir()
            break
        time.sleep(0.1)


@slow
def test_a_target_that_is_killed_for_memory(day, memory_limit):
    day.write(EATS)
    done = day.diagnose("app.py:handle", "--budget", "20", "--json", "d.json", preexec_fn=memory_limit)
    done.said(3, "killed (signal 9), most likely because memory ran out after")
    assert "LATENCY" in done.out
    assert len(day.runs()[0].requests.index) > 0


@slow
def test_a_target_that_runs_into_its_own_memory_limit(day):
    day.write("kept = []\ndef handle(): kept.append(bytes(256 << 20))\n")
    limit = 3 << 30
    done = day.diagnose(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    done.said(3, "MemoryError")
    assert day.runs()[0].errors[0][0] == "MemoryError"


@slow
@pytest.mark.parametrize(
    ("limit", "value", "words"), [("RLIMIT_AS", 400_000 << 10, "memory"), ("RLIMIT_NOFILE", 16, "open files")]
)
def test_pinchpoint_itself_runs_out(day, limit, value, words):
    day.write(WORK)
    day.diagnose(preexec_fn=lambda: resource.setrlimit(getattr(resource, limit), (value, value))).said(2, words)


# --- interpreters --------------------------------------------------------------------------------------------------
def python(version):
    """A Python of this version, if there is one here."""
    found = sorted(PYENV.glob(f"{version}.*/bin/python")) or [shutil.which(f"python{version}")]
    if found[0] is None:
        pytest.skip(f"no Python {version} here")
    return str(found[0])


@slow
@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_a_plain_target_on_another_python(day, version):
    day.write(f"from pinchpoint import stage\nimport json\n@stage\n{WORK}")
    done = day.diagnose("app.py:handle", "--python", python(version))
    assert done.code in (0, 3), done
    (run,) = day.runs()
    assert run.requests.ok.all()
    assert run.target.interpreter.startswith(f"CPython {version}")
    assert "handle" in run.span_names


@slow
@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8"])
def test_a_python_that_is_too_old(day, version):
    day.write(WORK)
    day.diagnose("app.py:handle", "--python", python(version)).said(2, f"Python {version} is too old", "3.9 or newer")


@slow
def test_a_python_without_onnxruntime(day, models):
    line = day.diagnose(models / "good.onnx", "--python", python("3.9")).said(2, "is not installed for", "--python")
    assert "onnxruntime" in line


@slow
@pytest.mark.parametrize("verb", ["diagnose", "machine"])
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nonexistent/python", "No such file or directory"),
        ("/bin/true", "did not start as Python: its process exited with status 0"),
        ("/bin/cat", "did not start as Python"),
        ("notes.txt", "Permission denied"),
        ("script.sh", "did not start as Python: its process exited with status 5: hello"),
        (".", "Permission denied"),
    ],
)
def test_what_is_no_python(day, verb, path, words):
    day.write(WORK)
    day.write("hello", "notes.txt")
    day.write("#!/bin/sh\necho hello; exit 5\n", "script.sh").chmod(0o755)
    named = "./" + path if path in ("notes.txt", "script.sh") else path
    if verb == "machine":
        day.run("machine", "--python", named).said(2, named, words, "3.9 or newer")
    else:
        day.diagnose("app.py:handle", "--python", named).said(2, named, words, "3.9 or newer")


def test_an_interpreter_that_says_nothing(day, monkeypatch):
    monkeypatch.setattr("pinchpoint.process.START_S", 0.5)
    silent = day.write("#!/bin/sh\nexec sleep 600\n", "silent")
    silent.chmod(0o755)
    with pytest.raises(BadInput, match=r"this did not start as Python: it did not answer for 0\.5 s"):
        Child(str(silent))
    day.check_clean(os.getpid())


# --- streams -------------------------------------------------------------------------------------------------------
@slow
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(day, closed):
    day.write(WORK)
    script = ["sh", "-c", f'exec "$@" {closed}', "sh", *PROGRAM]
    done = day.record(program=script)
    assert (done.code, done.err) == (0, "")
    assert day.runs()[0].requests.ok.all()
    failed = day.record("absent.py:handle", program=script)
    assert (failed.code, failed.out) == (2, "")


@slow
@pytest.mark.parametrize("arguments", [[], ["--json", "-"]])
def test_a_reader_that_goes_away(day, arguments):
    day.write(WORK)
    script = ["bash", "-c", '"$@" | head -c 10 >/dev/null; exit ${PIPESTATUS[0]}', "bash", *PROGRAM]
    done = day.diagnose("app.py:handle", *arguments, program=script)
    assert done.code in (0, 3)
    assert len(day.runs()) == 1


@slow
def test_stdout_on_a_full_disk(day):
    day.write(WORK)
    with open("/dev/full", "w") as full:
        done = day.diagnose(stdout=full)
    assert done.code == 2
    assert "stdout: the result cannot be written: No space left on device" in done.err
    assert len(day.runs()) == 1


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
