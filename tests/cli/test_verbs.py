"""What each verb asks of the api, what it prints where, and with which code it exits."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from fake_api import install

import factories as f
from pinchpoint import store
from pinchpoint.cli import main
from pinchpoint.domain.verdict import Diagnosis
from pinchpoint.errors import BadInput, Interrupted, PinchpointError, RunDamaged, TargetFailed
from pinchpoint.reporters.terminal import render
from synthetic import Script, marked, run_of


@pytest.fixture
def api(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PINCHPOINT_DEBUG", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return install(monkeypatch)


def printed(capsys):
    """stdout without what the fake's library prints, and stderr."""
    out, err = capsys.readouterr()
    return out.replace("a library prints to stdout\n", ""), err


def test_diagnose_shows_the_screen_and_the_run(api, capsys):
    assert main(["diagnose", "model.onnx"]) == 0
    out, err = printed(capsys)
    assert out == f"{render(f.memory_bound())}\nReport: pinchpoint-runs/1123-1729/report.html\n"
    assert err == "loading the target\nmeasuring\n".replace("the", "[31mthe")


def test_diagnose_passes_every_option_on(api):
    options = (
        "--budget 5m --out here --input a.npz --set a=1 --set b=x=y --python /py --seed 7 --timeout 500ms --batch 4 "
        "--length 64 --workers processes --trust --quiet --header X:1 --header Y:2 --method PUT --max-rate 5/s"
    )
    assert main(["diagnose", "app.py:handle", *options.split()]) == 0
    positional, named = api.asked[0]
    assert positional == ("app.py:handle",)
    named.pop("progress")
    assert named == {
        "budget_s": 300.0, "out": Path("here"), "input": "a.npz", "settings": {"a": "1", "b": "x=y"}, "python": "/py",
        "seed": 7, "timeout_s": 0.5, "batch": 4, "length": 64, "workers": "processes", "trust": True,
        "limits": {}, "frames": {}, "header": ["X:1", "Y:2"], "method": "PUT", "max_rate": "5/s",
    }  # fmt: skip


def test_the_defaults_are_those_of_the_api(api):
    main(["record", "model.onnx"])
    named = api.asked[0][1]
    named.pop("progress")
    assert named == {
        "budget_s": 60.0, "out": None, "input": None, "settings": {}, "python": None, "seed": 0, "timeout_s": 120.0,
        "batch": 1, "length": None, "workers": "threads", "trust": False,
        "header": (), "method": None, "max_rate": None, "frames": {}, "pid": None, "passive": False,
    }  # fmt: skip


@pytest.mark.parametrize("quiet", [False, True])
def test_a_page_that_fails_takes_nothing_from_the_answer(api, capsys, quiet):
    api.page = BadInput(what="the disk is full", where="pinchpoint-runs/1123-1729", todo="free some space")
    assert main(["diagnose", "model.onnx", *(["--quiet"] if quiet else [])]) == 0
    out, err = printed(capsys)
    assert out == f"{render(f.memory_bound())}\nRun: pinchpoint-runs/1123-1729\n"
    assert [each for each in err.splitlines() if "disk is full" in each] == err.splitlines()[-1:]


def test_a_run_that_no_disk_would_take_has_no_page(api, capsys):
    api.answer = replace(api.answer, folder=None, exit_code=2, line="the run is not kept")
    assert main(["diagnose", "model.onnx"]) == 2
    assert printed(capsys)[0] == f"{render(f.memory_bound())}\n"
    assert len(api.asked) == 1


@pytest.mark.parametrize("code", [0, 3, 130])
def test_json_is_written_whatever_came_of_the_run(api, capsys, code):
    api.answer = replace(api.answer, exit_code=code, line="app.py:handle: killed by SIGKILL")
    assert main(["diagnose", "app.py:handle", "--json", "d.json"]) == code
    assert msgspec.json.decode(Path("d.json").read_bytes(), type=Diagnosis) == f.memory_bound()
    out, err = printed(capsys)
    assert out.startswith("model.onnx")
    assert err.endswith("pinchpoint: app.py:handle: killed by SIGKILL\n")


def test_json_on_stdout_is_alone_there(api, capsys):
    assert main(["diagnose", "model.onnx", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["schema"] == "pinchpoint/diagnosis/1"
    assert "LATENCY" in err


def test_quiet_leaves_stderr_empty(api, capsys):
    assert main(["diagnose", "model.onnx", "--json", "-", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)
    assert err.replace("a library prints to stdout\n", "") == ""
    main(["diagnose", "model.onnx", "--quiet"])
    out, err = printed(capsys)
    assert "LATENCY" in out
    assert err == ""


@pytest.mark.parametrize("path", ["no/such/folder/d.json", ".", "x" * 300, "a\0b"])
def test_json_that_cannot_be_written_stops_before_measuring(api, capsys, path):
    assert main(["diagnose", "model.onnx", "--json", path]) == 2
    assert api.asked == []
    assert len(printed(capsys)[1].splitlines()) == 1


def test_checking_the_json_path_leaves_nothing_behind_and_spoils_nothing(api):
    api.answer = BadInput(what="bad", where="model.onnx", todo="mend it")
    Path("old.json").write_text("old")
    assert main(["diagnose", "model.onnx", "--json", "new.json"]) == 2
    assert main(["diagnose", "model.onnx", "--json", "old.json"]) == 2
    assert sorted(os.listdir()) == ["old.json"]
    assert Path("old.json").read_text() == "old"


@pytest.mark.parametrize(
    ("kind", "code"), [(BadInput, 2), (RunDamaged, 2), (TargetFailed, 3), (Interrupted, 130), (PinchpointError, 70)]
)
def test_errors_of_ours_are_one_line_and_have_their_code(api, capsys, kind, code):
    api.answer = kind(what="it broke\nbadly \x1b[31m", where="app.py", todo="mend it")
    assert main(["diagnose", "app.py:handle", "--quiet"]) == code
    err = printed(capsys)[1]
    assert len(err.splitlines()) == 1
    assert err.startswith("pinchpoint: ")
    assert "Traceback" not in err
    assert "\x1b" not in err


@pytest.mark.parametrize("verb", [["diagnose", "x.onnx"], ["record", "x.onnx"], ["machine"], ["explain", "M101"]])
def test_a_defect_is_one_line_that_leads_to_the_traceback(api, capsys, verb):
    api.answer = ZeroDivisionError("division by\nzero")
    assert main(verb) == 70
    last = printed(capsys)[1].splitlines()[-1]
    assert "ZeroDivisionError: division by zero" in last
    log = next(word for word in last.split() if word.endswith(".log"))
    assert "Traceback" in Path(log).read_text()
    assert "fake_api.py" in Path(log).read_text()


@pytest.mark.parametrize("how", ["option", "environment"])
def test_debug_shows_the_traceback(api, capsys, monkeypatch, how):
    api.answer = ZeroDivisionError("division by zero")
    if how == "environment":
        monkeypatch.setenv("PINCHPOINT_DEBUG", "1")
    assert main(["diagnose", "x.onnx", *(["--debug"] if how == "option" else [])]) == 70
    assert "Traceback" in printed(capsys)[1]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), OSError(28, "No space left on device", "run")])
def test_interrupts_exits_and_full_disks_are_told_apart(api, capsys, error):
    api.answer = error
    expected = {KeyboardInterrupt: 130, SystemExit: 70, OSError: 2}[type(error)]
    assert main(["diagnose", "x.onnx", "--quiet"]) == expected
    assert len(printed(capsys)[1].splitlines()) == 1


def test_record_prints_the_folder_alone(api, capsys):
    api.answer = replace(api.answer, diagnosis=None)
    assert main(["record", "model.onnx"]) == 0
    assert printed(capsys)[0] == "pinchpoint-runs/1123-1729\n"


def test_machine_prints_a_table_or_json(api, capsys):
    assert main(["machine", "--fresh", "--python", "/py"]) == 0
    assert api.asked[0][0] == ("/py",)
    assert api.asked[0][1]["fresh"] is True
    assert "21.0 GB/s" in printed(capsys)[0]
    assert main(["machine", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["ceilings"][0]["unit"] == "B/s"


def test_the_other_verbs_print_what_the_api_says(api, capsys):
    assert main(["explain", "M101"]) == 0
    assert main(["schema"]) == 0
    assert main(["report", "run"]) == 0
    for form in ("json", "markdown", "perfetto"):
        assert main(["report", "run", "--format", form]) == 0
    expected = "M101 is explained\n{}\nrun as terminal\nrun as json\nrun as markdown\nrun as perfetto\n"
    assert printed(capsys)[0] == expected


def test_an_unknown_word_is_bad_input(api, capsys):
    api.answer = BadInput(what="no such word", where="M999", todo="Near: M101, M107")
    assert main(["explain", "M999"]) == 2
    assert "M101" in printed(capsys)[1]


def test_a_page_is_written_into_the_run(tmp_path, capsys):
    store.save(run_of(Script([marked("preprocess", 100, cpu=100)], requests=50)), tmp_path / "run")
    assert main(["report", str(tmp_path / "run"), "--format", "html"]) == 0
    page = tmp_path / "run" / "report.html"
    assert capsys.readouterr().out.replace("\n", "") == str(page)
    assert "</html>" in page.read_text()
    assert main(["report", str(tmp_path / "run"), "--open"]) == 2
    assert "--format html" in capsys.readouterr().err


def test_a_page_replaces_a_link_and_not_what_it_points_to(tmp_path, capsys):
    store.save(run_of(Script([marked("preprocess", 100, cpu=100)], requests=50)), tmp_path / "run")
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run" / "report.html").symlink_to(tmp_path / "precious")
    assert main(["report", str(tmp_path / "run"), "--format", "html"]) == 0
    assert (tmp_path / "precious").read_text() == "precious"
    assert "</html>" in (tmp_path / "run" / "report.html").read_text()
    assert [each.name for each in (tmp_path / "run").iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize(("form", "begin"), [("markdown", "## pinchpoint: app.py:handle"), ("perfetto", "{")])
def test_a_run_is_shown_in_other_forms(tmp_path, capsys, form, begin):
    store.save(run_of(Script([marked("preprocess", 100, cpu=100)], requests=50)), tmp_path / "run")
    assert main(["report", str(tmp_path / "run"), "--format", form]) == 0
    assert capsys.readouterr().out.startswith(begin)


def test_a_run_folder_that_cannot_be_written_is_diagnosed_all_the_same(tmp_path, capsys):
    folder = tmp_path / "run"
    store.save(run_of(Script([marked("preprocess", 100, cpu=100)], requests=50)), folder)
    (folder / "report.html").mkdir()  # in the way, whoever one is
    assert main(["diagnose", str(folder)]) in (0, 3)
    out, err = capsys.readouterr()
    assert "LATENCY" in out
    assert out.endswith(f"Run: {folder}\n")
    assert "no page: " in err
    assert "Traceback" not in err
