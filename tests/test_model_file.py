from __future__ import annotations

import os
import pickle
import random
import time
import tracemalloc
import zipfile

import onnx
import pytest
from onnx import TensorProto, helper

from pinchpoint.errors import BadInput
from pinchpoint.graphs import read_graph
from small_models import FLOAT, conv_net, encoder, save


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def sparse_model(path, rows, columns):
    """A model file with one weight of rows x columns floats, all of it a hole in the file."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", FLOAT, ["b", rows])], [onnx.ValueInfoProto(name="y")],
    ).SerializeToString()  # fmt: skip
    payload = rows * columns * 4
    tensor = (
        TensorProto(dims=[rows, columns], data_type=FLOAT, name="w").SerializeToString() + b"\x4a" + varint(payload)
    )
    graph += b"\x2a" + varint(len(tensor) + payload) + tensor
    opset = helper.make_opsetid("", 17).SerializeToString()
    with path.open("wb") as file:
        file.write(b"\x08\x08\x3a" + varint(len(graph) + payload) + graph)
        file.seek(payload, os.SEEK_CUR)
        file.write(b"\x42" + varint(len(opset)) + opset)
    return path


def test_two_gigabytes_of_weights_are_not_read(tmp_path):
    path = sparse_model(tmp_path / "big.onnx", 16_384, 32_000)
    tracemalloc.start()
    started = time.monotonic()
    graph = read_graph(path)
    seconds, (_, peak) = time.monotonic() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert graph.parameters == 16_384 * 32_000
    assert graph.operators[0].cost.weight_bytes == 4 * 16_384 * 32_000
    assert peak < 10e6
    assert seconds < 5


def test_more_than_a_protobuf_can_hold_is_refused(tmp_path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.write(b"\x08\x08")
        file.truncate(3 << 30)
    with pytest.raises(BadInput, match="2 GB"):
        read_graph(path)


def external_model(path, **location):
    tensor = TensorProto(dims=[64, 64], data_type=FLOAT, name="w", data_location=TensorProto.EXTERNAL)
    for key, value in location.items():
        tensor.external_data.add(key=key, value=str(value))
    model = onnx.load(save(path, [helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", FLOAT, [1, 64])], ["y"]))
    model.graph.initializer.append(tensor)
    path.write_bytes(model.SerializeToString())
    return path


def test_external_weights_count_and_are_not_read(tmp_path):
    (tmp_path / "m.data").write_bytes(bytes(16384 + 64))
    graph = read_graph(external_model(tmp_path / "m.onnx", location="m.data", offset=64, length=16384))
    assert (graph.parameters, graph.parameter_bytes) == (4096, 16384)
    assert graph.operators[0].cost.weight_bytes == 16384


@pytest.mark.parametrize(
    ("location", "what"),
    [
        ({"location": "absent.data"}, "no file .*absent.data"),
        ({"location": "short.data"}, "short.data is too short: 100 bytes, 'w' needs 16384"),
        ({"location": "short.data", "offset": -5, "length": 0}, "too short"),
        ({"location": "short.data", "offset": "x"}, "no number"),
        ({"location": "../secret.data"}, "outside of the model's folder"),
        ({"location": "/etc/passwd"}, "outside of the model's folder"),
        ({"location": "C:\\secret.data"}, "outside of the model's folder"),
        ({}, "outside of the model's folder"),
    ],
)
def test_bad_external_weights(tmp_path, location, what):
    (tmp_path / "short.data").write_bytes(bytes(100))
    (tmp_path.parent / "secret.data").write_bytes(bytes(16384))
    with pytest.raises(BadInput, match=what) as caught:
        read_graph(external_model(tmp_path / "m.onnx", **location))
    assert "\n" not in str(caught.value)


def checkpoint(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"w": 1}))


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.mkdir(), "a folder"),
        (lambda p: p.touch(), "the file is empty"),
        (os.mkfifo, "not a regular file"),
        (checkpoint, "a zip archive, such as a PyTorch checkpoint"),
        (lambda p: p.write_bytes(pickle.dumps({"w": 1})), "a Python pickle"),
        (lambda p: p.write_text("<!DOCTYPE html><html>Not found</html>"), "an HTML"),
        (lambda p: p.write_text("\n  <html>"), "an HTML"),
        (lambda p: p.write_text("# a read-me\nHello."), "but text"),
        (lambda p: p.write_text('{"a": 1}'), "JSON"),
        (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
        (lambda p: p.write_bytes(b"GGUF" + bytes(64)), "GGUF"),
        (lambda p: p.write_bytes(bytes(4) + b"TFL3" + bytes(64)), "TensorFlow Lite"),
        (lambda p: p.write_bytes(bytes(4) + b"ORTM" + bytes(64)), "ORT-format"),
        (lambda p: p.write_bytes(random.Random(0).randbytes(4096)), "not an ONNX model"),
        (lambda p: p.write_bytes(bytes(4096)), "not an ONNX model"),
        (lambda p: p.write_bytes(b"\x08\x08" + b"\x3a\xff\x01"), "cut short"),
        (lambda p: p.write_bytes(b"\x08\x08\x3a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), "not an ONNX model"),
        (lambda p: p.write_bytes(b"\x08\x08"), "no graph"),
    ],
)
def test_files_that_are_no_model(tmp_path, write, what):
    path = tmp_path / "m.onnx"
    write(path)
    with pytest.raises(BadInput, match=what) as caught:
        read_graph(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole = conv_net(tmp_path / "whole.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    for end in [*range(1, 400, 7), *range(400, len(whole), len(whole) // 50)]:
        cut.write_bytes(whole[:end])
        with pytest.raises(BadInput):
            read_graph(cut)


def test_damaged_files_raise_nothing_but_bad_input(tmp_path):
    rng, path = random.Random(1), tmp_path / "damaged.onnx"
    sources = [build(tmp_path / "whole.onnx").read_bytes() for build in (conv_net, encoder)]
    read = refused = 0
    for _ in range(400):
        content = bytearray(rng.choice(sources))
        for _ in range(rng.choice((1, 2, 8))):
            content[rng.randrange(min(len(content), rng.choice((300, 3000, len(content)))))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            read_graph(path)
            read += 1
        except BadInput:
            refused += 1
    assert read > 20
    assert refused > 20
