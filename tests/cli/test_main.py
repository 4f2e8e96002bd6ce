"""The command line itself: help, usage errors, streams that go away, and what is not loaded."""

from __future__ import annotations

import importlib.metadata
import io
import subprocess
import sys
from pathlib import Path

import pytest
from fake_api import install

from pinchpoint import __version__
from pinchpoint.cli import VERBS, main
from pinchpoint.cli.progress import Progress
from pinchpoint.cli.streams import coloured, show

PROGRAM = [sys.executable, "-c", "import sys; from pinchpoint.cli import main; sys.exit(main())"]
HEAVY = ("numpy", "rich", "msgspec", "duckdb", "onnx", "scipy", "psutil", "pinchpoint.api", "pinchpoint.contracts")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize("arguments", [["--help"], *([verb.__name__, "--help"] for verb in VERBS)])
def test_help_is_complete_sentences_in_80_columns(arguments, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "..." not in out.replace("[ARGS]...", "")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from pinchpoint.cli import main; main(['--help']); "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("loaded", ["typer", "pinchpoint.cli.streams", "pinchpoint.errors"])
@pytest.mark.parametrize("start", ["script", "module"])
def test_an_interrupt_while_the_program_loads(loaded, start):
    """GIVEN Ctrl-C before the command line has been loaded THEN it is one line all the same."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="pinchpoint")
    begin = {
        "script": f"from {script.module} import {script.attr} as main; sys.exit(main())",
        "module": "import runpy; runpy.run_module('pinchpoint', run_name='__main__', alter_sys=True)",
    }
    code = f"""
import os, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == {loaded!r}:
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
{begin[start]}
"""
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "pinchpoint: interrupted.\n")


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pinchpoint {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["model.onnx"], "pinchpoint diagnose model.onnx"),
        (["app.py:handle", "--budget", "5m"], "pinchpoint diagnose app.py:handle"),
        (["my model.onnx"], "pinchpoint diagnose 'my model.onnx'"),
        (["diagnse", "model.onnx"], "did you mean diagnose?"),
        (["frobnicate"], "the verbs are diagnose"),
        (["diagnose"], "Missing argument 'TARGET'"),
        (["diagnose", "m.onnx", "--bugdet", "5m"], "did you mean --budget?"),
        (["diagnose", "m.onnx", "--frobnicate"], "no option --frobnicate"),
        (["--verison"], "did you mean --version?"),
        (["diagnose", "m.onnx", "--budget"], "--budget"),
        (["diagnose", "m.onnx", "--budget", "soon"], "such as 60, 500ms, 5m"),
        (["diagnose", "m.onnx", "--budget", "-5"], "--budget"),
        (["diagnose", "m.onnx", "--timeout", "0"], "--timeout"),
        (["diagnose", "m.onnx", "--batch", "0"], "--batch"),
        (["diagnose", "m.onnx", "--seed", "one"], "--seed"),
        (["diagnose", "m.onnx", "--set", "key"], "KEY=VALUE"),
        (["diagnose", "m.onnx", "--set", "=value"], "KEY=VALUE"),
        (["diagnose", "m.onnx", "--set", "a=1", "--set", "a=2"], "twice"),
        (["diagnose", "a.onnx", "b.onnx"], "b.onnx"),
        (["report", "run", "--format", "pdf"], "'json'"),
        (["\x1b[31mred"], "no verb"),
    ],
)
def test_usage_errors_are_one_helpful_line(arguments, hint, capsys, monkeypatch):
    api = install(monkeypatch)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("pinchpoint: ")
    assert hint in err
    assert "\x1b" not in err
    assert api.asked == []


def test_a_file_named_like_a_misspelt_verb_is_a_target(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("diagnosed").mkdir()
    assert main(["diagnosed"]) == 2
    assert "pinchpoint diagnose diagnosed" in capsys.readouterr().err


def test_no_arguments_show_the_help_on_stderr(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "diagnose" in err


@pytest.mark.parametrize("arguments", ["--help", "--version", "diagnose --help"])
def test_a_reader_that_goes_away_is_no_error(arguments):
    program = f"{sys.executable} -c 'import sys; from pinchpoint.cli import main; sys.exit(main())'"
    done = subprocess.run(f"{program} {arguments} | true", shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_full_stdout_is_said_in_one_line():
    with open("/dev/full", "w") as full:  # a device
        done = subprocess.run([*PROGRAM, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "No space left" in done.stderr


def test_text_that_the_encoding_lacks_is_replaced():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show("naïve 猫", stream)
    assert stream.buffer.getvalue() == b"na?ve ?\n"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(variables, wanted, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert coloured(Terminal()) is wanted
    assert not coloured(io.StringIO())


def test_progress_rewrites_one_line_on_a_terminal_and_leaves_it_clean(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    with Progress(stream) as progress:
        progress("loading\n\x1b[31m" + "x" * 100)
        progress("measuring")
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("measuring\r\x1b[K")
    assert all(len(each) <= 19 for each in stream.getvalue().split("\r\x1b[K"))


def test_progress_elsewhere_is_plain_lines_and_quiet_is_nothing():
    plain, quiet = io.StringIO(), io.StringIO()
    with Progress(plain) as loud, Progress(quiet, quiet=True) as silent:
        for say in (loud, silent):
            say("loading")
            say("loading")
            say("measuring")
    assert plain.getvalue() == "loading\nmeasuring\n"
    assert quiet.getvalue() == ""


def test_progress_survives_a_stderr_that_has_gone():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    with Progress(Gone()) as progress:
        progress("loading")
        progress("measuring")
