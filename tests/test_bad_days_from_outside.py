"""Bad days that come from outside, end to end: interrupts, memory, interpreters, streams."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

from bad_day import PROGRAM, WORK, python, slow
from pinchpoint import store
from pinchpoint.errors import BadInput
from pinchpoint.process import Child


# --- interrupts ----------------------------------------------------------------------------------------------------
def interrupted(day, *arguments, wait_for="loading", then_s=0.5, signals=(signal.SIGINT,), **more):
    """Start, wait until progress says a word and for a while, and send signals."""

    def send(process):
        for each in signals:
            process.send_signal(each)
            time.sleep(0.1)

    return day.meanwhile(send, *arguments, "--json", "d.json", wait_for=wait_for, then_s=then_s, **more)


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
    assert done.code == 3, done
    page, answer = done.err.splitlines()
    assert "address space" in page
    assert "MemoryError at app.py:2" in answer
    assert day.runs()[0].errors[0][0] == "MemoryError"


@slow
@pytest.mark.parametrize(
    ("limit", "value", "words"), [("RLIMIT_AS", 400_000 << 10, "memory"), ("RLIMIT_NOFILE", 16, "open files")]
)
def test_pinchpoint_itself_runs_out(day, limit, value, words):
    day.write(WORK)
    day.diagnose(preexec_fn=lambda: resource.setrlimit(getattr(resource, limit), (value, value))).said(2, words)


# --- interpreters --------------------------------------------------------------------------------------------------
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
