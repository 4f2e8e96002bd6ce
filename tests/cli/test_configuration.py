"""Defaults from `[tool.pinchpoint]`: what they set, what beats them, and one clear line about whatever is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_api import install

from pinchpoint import store
from pinchpoint.cli import configuration, main
from pinchpoint.limits import shipped
from synthetic import Script, marked, run_of

EVERYTHING = """
[tool.pinchpoint]
budget = "5m"
out = "runs"
input = "requests.json"
python = "python3.12"
seed = 7
timeout = 30
batch = 4
workers = "processes"
length = 64
quiet = true
set = {intra_op_threads = 1, graph_optimization = "basic"}
[tool.pinchpoint.limits]
trivial_share = 0.01
[tool.pinchpoint.frames]
"mylib/tokens" = "preprocess"
"""


@pytest.fixture
def api(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return install(monkeypatch)


def wrote(text, folder=Path()):
    (folder / "pyproject.toml").write_text(text)
    return (folder / "pyproject.toml").resolve()


def asked(api):
    named = api.asked[0][1]
    return {key: value for key, value in named.items() if key != "progress"}


def test_every_option_has_its_default_from_the_file(api, tmp_path):
    wrote(EVERYTHING)
    Path("requests.json").write_text("[1]")
    assert main(["diagnose", "model.onnx"]) == 0
    assert asked(api) == {
        "budget_s": 300.0, "out": tmp_path / "runs", "input": str(tmp_path / "requests.json"), "python": "python3.12",
        "seed": 7, "timeout_s": 30.0, "batch": 4, "length": 64, "workers": "processes", "trust": False,
        "settings": {"intra_op_threads": "1", "graph_optimization": "basic"}, "limits": {"trivial_share": 0.01},
        "header": (), "method": None, "max_rate": None, "frames": {"mylib/tokens": "preprocess"},
    }  # fmt: skip


def test_record_has_them_too(api):
    wrote("[tool.pinchpoint]\nbudget = 20")
    assert main(["record", "model.onnx"]) == 0
    assert asked(api)["budget_s"] == 20


def test_quiet_can_be_a_default_and_be_taken_back(api, capsys):
    wrote("[tool.pinchpoint]\nquiet = true")
    main(["diagnose", "model.onnx"])
    assert capsys.readouterr().err == ""
    main(["diagnose", "model.onnx", "--no-quiet"])
    assert "measuring" in capsys.readouterr().err


def test_the_command_line_beats_the_file(api):
    wrote(EVERYTHING)
    given = "--budget 10 --out here --input a.npz --python /py --seed 1 --timeout 5 --batch 1 --length 8 --set a=1"
    assert main(["diagnose", "model.onnx", *given.split()]) == 0
    found = asked(api)
    assert (found["budget_s"], found["out"], found["input"], found["python"]) == (10, Path("here"), "a.npz", "/py")
    assert (found["seed"], found["timeout_s"], found["batch"], found["length"]) == (1, 5, 1, 8)
    assert found["settings"] == {"a": "1"}  # an option is replaced as a whole


def test_the_nearest_folder_with_the_table_counts_and_paths_are_from_there(api, tmp_path, monkeypatch):
    wrote('[tool.pinchpoint]\nseed = 3\nout = "runs"')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    wrote("[tool.other]\nseed = 9", tmp_path / "a")  # without our table
    monkeypatch.chdir(inner)
    main(["diagnose", "model.onnx"])
    assert asked(api)["seed"] == 3
    assert asked(api)["out"] == tmp_path / "runs"


def test_without_a_file_nothing_changes(api):
    wrote("[project]\nname = 'x'")
    main(["diagnose", "model.onnx"])
    assert (asked(api)["budget_s"], asked(api)["limits"]) == (60.0, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.pinchpoint]\nbugdet = 5", ["no key 'bugdet'", "Did you mean budget?", "Allowed: batch, budget"]),
        ("[tool.pinchpoint]\nbudget = true", ["budget cannot be true", '"5m"']),
        ("[tool.pinchpoint]\nbudget = -1", ["budget cannot be -1"]),
        ('[tool.pinchpoint]\nbudget = "soon"', ["budget cannot be 'soon'"]),
        ("[tool.pinchpoint]\nbudget = nan", ["budget cannot be nan"]),
        ('[tool.pinchpoint]\nseed = "x"', ["seed cannot be 'x'", "whole number of 0 or more"]),
        ("[tool.pinchpoint]\nbatch = 0", ["batch cannot be 0"]),
        ("[tool.pinchpoint]\nbatch = 1.5", ["batch cannot be 1.5"]),
        ("[tool.pinchpoint]\nlength = [1]", ["length cannot be [1]"]),
        ('[tool.pinchpoint]\nquiet = "yes"', ["quiet cannot be 'yes'", "true or false"]),
        ("[tool.pinchpoint]\nout = 5", ["out cannot be 5"]),
        ('[tool.pinchpoint]\npython = ""', ["python cannot be ''"]),
        ('[tool.pinchpoint]\nset = ["a=1"]', ["set cannot be", "set = {intra_op_threads = 1}"]),
        ("[tool.pinchpoint]\nset = {a = [1]}", ["set cannot be"]),
        ("[tool.pinchpoint]\ntrust = true", ["cannot set trust", "--trust on the command line"]),
        (
            "[tool.pinchpoint.limits]\ntrivial_shore = 0.1",
            ["no key 'trivial_shore'", "trivial_share", "explain limits"],
        ),
        ('[tool.pinchpoint.limits]\ntrivial_share = "5 %"', ["trivial_share cannot be '5 %'", "a number"]),
        ("[tool.pinchpoint.limits]\ntrivial_share = inf", ["trivial_share cannot be inf"]),
        ("[tool.pinchpoint.limits]\ntrivial_share = true", ["trivial_share cannot be true"]),
        ("[tool.pinchpoint]\nlimits = 5", ["limits cannot be 5"]),
        ("[tool]\npinchpoint = 5", ["is no table"]),
        ("[tool.pinchpoint\nbudget = 5", ["no valid TOML", "line 1"]),
        ("a = " + "[" * 5000, ["no valid TOML"]),
    ],
)
@pytest.mark.parametrize("verb", ["diagnose", "record"])
def test_what_is_wrong_is_one_line_with_file_key_and_what_is_allowed(api, capsys, text, said, verb):
    file = wrote(text)
    assert main([verb, "model.onnx"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert str(file) in err
    for words in said:
        assert words in err
    assert api.asked == []


def test_a_file_that_is_no_text_is_said_to_be(api, capsys):
    Path("pyproject.toml").write_bytes(b"\xff\xfe")
    assert main(["diagnose", "model.onnx"]) == 2
    assert "UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["diagnose", "--help"], ["explain", "M101"], ["schema"], ["--version"]]
)
def test_a_bad_file_does_not_stop_what_needs_none(api, capsys, arguments):
    wrote("[tool.pinchpoint]\nbugdet = 5")
    assert main(arguments) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_file_above_is_not_read(api, tmp_path, monkeypatch):
    file = wrote("[tool.pinchpoint]\nseed = 3")
    os.chown(file, 12345, 12345)
    assert configuration.read(tmp_path).file is None


def test_limits_decide(tmp_path, monkeypatch, capsys):
    """A run whose preprocessing leads: with a limit that nothing reaches, it does not any more."""
    monkeypatch.chdir(tmp_path)
    store.save(run_of(Script([marked("preprocess", 900, cpu=900), marked("model", 100, cpu=100)])), tmp_path / "run")
    assert main(["diagnose", "run"]) == 0
    assert "C102" in capsys.readouterr().out
    wrote("[tool.pinchpoint.limits]\nleading_share = 0.95")
    main(["diagnose", "run"])
    assert "explain C102" not in capsys.readouterr().out
    assert shipped().leading_share.value == 0.2
    main(["report", "run", "--format", "json"])
    assert '"source": "the user"' in capsys.readouterr().out


def test_every_key_is_an_option_of_both_verbs():
    import inspect

    from pinchpoint.cli.diagnose import diagnose
    from pinchpoint.cli.record import record

    for verb in (diagnose, record):
        assert set(configuration.KEYS) <= set(inspect.signature(verb).parameters)
    assert "trust" not in configuration.KEYS
