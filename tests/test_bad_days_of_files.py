"""Bad days of files, end to end: models, requests, folders, disks and runs."""

from __future__ import annotations

import json
import os
import shutil
import sys

import numpy as np
import pytest

from bad_day import PROGRAM, WORK, Day, Done, slow
from pinchpoint import store


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
def test_a_defect_of_ours_keeps_the_run_and_says_where(day):
    day.write(WORK)
    code = "import sys, pinchpoint.inquire as i; i.inquire = lambda *_: 1 / 0; from pinchpoint.cli import main; sys.exit(main())"
    arguments = ("diagnose", "app.py:handle", "--quiet", "--budget", "300ms")
    process = day.start(*arguments, program=[sys.executable, "-c", code])
    out, err = process.communicate()
    (log,) = day.temporary.glob("*.log")
    line = Done(process.returncode, out, err).said(
        70, "internal error", "ZeroDivisionError", "The run is kept", str(log)
    )
    assert "Traceback" in log.read_text()
    (run,) = (day.folder / "pinchpoint-runs").iterdir()
    assert f"pinchpoint-runs/{run.name}" in line
    assert store.load(run).requests.ok.all()


@slow
def test_a_run_that_cannot_be_written_is_diagnosed_without_a_page(day, recorded, powerless):
    run = day.folder / "run"
    shutil.copytree(recorded, run)
    before = sorted(os.listdir(run))
    run.chmod(0o500)
    done = day.run("diagnose", "run", program=powerless)
    assert done.code in (0, 3), done
    assert "LATENCY" in done.out
    assert done.out.endswith("\nRun: run\n")
    assert "pinchpoint: no page: run: cannot write there: Permission denied." in done.err
    day.run("report", "run", "--format", "html", program=powerless).said(2, "cannot write there")
    assert sorted(os.listdir(run)) == before


@slow
def test_a_run_is_read_again_wherever_it_lies(day, recorded):
    run = day.folder / "it's\na \u00fcber run"
    shutil.copytree(recorded, run)
    for verb in ("diagnose", "report"):
        done = day.run(verb, run.name)
        assert done.code in (0, 3), done
        assert "LATENCY" in done.out
