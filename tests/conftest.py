"""Fixtures of the bad days (`bad_day`)."""

from __future__ import annotations

import os

import numpy as np
import pytest

from bad_day import PROGRAM, Day, permitted


@pytest.fixture
def day(tmp_path):
    """A folder to work in, and the program run in it."""
    return Day(tmp_path)


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
    import onnx
    from onnx import helper

    from small_models import FLOAT, one_node, save, weights

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
