"""Torch files as targets: what is looked at before anything of them is loaded."""

from __future__ import annotations

import io
import zipfile

import pytest

from pinchpoint.domain.target import TargetSpec
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput
from pinchpoint.targets import BUILTIN
from pinchpoint.targets.torch_file import TORCH_FILE

EXPORTED = ("m/data/weights/model.pt", "m/models/model.json")
EXPORTED_BEFORE_2_9 = ("serialized_exported_program.json", "serialized_state_dict.pt")
SCRIPTED = ("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl")
WEIGHTS = ("m/data.pkl", "m/data/0")


def archive(path, names):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"content")
    return path


def prepared(path, *, trust=True, workload=None, **more):
    spec = TargetSpec("torch", str(path), trust=trust, **more)
    return TORCH_FILE.prepare(spec, workload or Workload(), path.parent)


@pytest.mark.parametrize(
    ("name", "names", "form"),
    [
        ("model.pt2", EXPORTED, "exported"),
        ("model.pt2", EXPORTED_BEFORE_2_9, "exported"),
        ("model.pt", SCRIPTED, "scripted"),
        ("MODEL.PT", SCRIPTED, "scripted"),
        ("model.torchscript", SCRIPTED, "scripted"),
    ],
)
def test_a_file_is_known_by_its_name_and_its_form_by_its_table_of_contents(tmp_path, name, names, form):
    path = archive(tmp_path / name, names)
    assert next(kind for kind in BUILTIN if kind.recognises(str(path))) is TORCH_FILE
    plan = prepared(path, settings=(("intra_op_threads", "1"),))
    assert (plan.load["form"], plan.load["settings"]) == (form, {"intra_op_threads": "1"})
    assert plan.facts.kind == "torch"


@pytest.mark.parametrize(("name", "names"), [("model.pt2", EXPORTED), ("model.pt", SCRIPTED)])
def test_nothing_is_read_without_trust(tmp_path, name, names):
    with pytest.raises(BadInput, match="can run code") as caught:
        prepared(archive(tmp_path / name, names), trust=False)
    assert "--trust" in caught.value.todo


@pytest.mark.parametrize(
    ("name", "names", "what"),
    [
        ("model.pt", WEIGHTS, "weights or a pickled object"),
        ("model.pt", ("a/b",), "no TorchScript"),
        ("model.pt2", SCRIPTED, "no exported program"),
        ("model.pt2", ("m/data/aotinductor/model/x.so",), "AOTInductor"),
    ],
)
def test_an_archive_of_something_else(tmp_path, name, names, what):
    with pytest.raises(BadInput, match=what):
        prepared(archive(tmp_path / name, names))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00.", b"PK\x03\x04" + b"\0" * 60])
def test_what_is_no_archive(tmp_path, content):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="not an archive"):
        prepared(path)


def test_a_cut_archive(tmp_path):
    whole = io.BytesIO()
    archive(whole, SCRIPTED)
    path = tmp_path / "model.pt"
    path.write_bytes(whole.getvalue()[:-30])
    with pytest.raises(BadInput, match="not an archive"):
        prepared(path)


def test_an_archive_larger_than_can_be_meant(tmp_path, monkeypatch):
    monkeypatch.setattr("pinchpoint.targets.torch_file.FILE_BYTES", 10)
    with pytest.raises(BadInput, match="more than is read"):
        prepared(archive(tmp_path / "model.pt", SCRIPTED))


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        prepared(tmp_path / "missing.pt2")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(BadInput, match="not a file"):
        prepared(tmp_path / "folder.pt")


def test_a_batch_is_not_made_up(tmp_path):
    with pytest.raises(BadInput, match="--batch"):
        prepared(archive(tmp_path / "model.pt", SCRIPTED), workload=Workload(batch=4))


def test_input_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        prepared(archive(tmp_path / "model.pt", SCRIPTED), input="nothing.npz")
