from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pinchpoint.domain.operator import Graph, GraphInput
from pinchpoint.errors import BadInput
from pinchpoint.graphs import check_inputs, make_inputs, read_graph
from small_models import INT64, conv_net, encoder, save, weights


def graph_of(*inputs, dims=()):
    return Graph(inputs, (), (), 0, 0, 0.0, 17, (), dims)


def test_made_inputs_run(tmp_path):
    for build in (conv_net, encoder):
        path = build(tmp_path / "m.onnx")
        graph = read_graph(path, batch=2)
        feeds = make_inputs(graph, 0)
        check_inputs(graph, feeds)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert all(np.isfinite(output).all() for output in session.run(None, feeds))


def test_identifiers_span_their_table(tmp_path):
    graph = read_graph(encoder(tmp_path / "m.onnx"), batch=40, length=256)
    rows = {item.name: item.table_rows for item in graph.inputs}
    assert rows == {"input_ids": 1000, "token_type_ids": 2, "attention_mask": None}
    feeds = make_inputs(graph, 7)
    counts = np.bincount(feeds["input_ids"].ravel(), minlength=1000)
    assert counts.shape == (1000,)
    assert counts.min() > 0  # 10 of each expected
    assert counts.max() < 30
    assert set(feeds["token_type_ids"].ravel()) == {0, 1}
    assert (feeds["attention_mask"] == 1).all()
    again, other = make_inputs(graph, 7), make_inputs(graph, 8)
    assert (feeds["input_ids"] == again["input_ids"]).all()
    assert (feeds["input_ids"] != other["input_ids"]).any()


def test_tables_are_found_behind_other_operators(tmp_path):
    node = helper.make_node
    nodes = [
        node("Cast", ["x"], ["c"], to=INT64),
        node("Unsqueeze", ["c", "axes"], ["u"]),
        node("Concat", ["zero", "u"], ["j"], axis=0),
        node("Gather", ["small", "j"], ["y"], axis=0),
        node("Gather", ["wide", "c"], ["z"], axis=1),
        node("OneHot", ["c", "classes", "off_on"], ["o"]),
        node("Add", ["x", "one"], ["shifted"]),
        node("Gather", ["tiny", "shifted"], ["v"], axis=0),  # no longer the same values
    ]
    constants = {"axes": np.array([0]), "zero": np.zeros((1, 4), np.int64), "one": np.int32(1), "small": weights(50, 2),
                 "classes": np.array(60), "off_on": np.array([0, 1]), "wide": weights(3, 90), "tiny": weights(5, 2)}  # fmt: skip
    path = save(tmp_path / "m.onnx", nodes, [("x", TensorProto.INT32, [4])], ["y", "z", "v"], constants)
    assert read_graph(path).inputs[0].table_rows == 50


@pytest.mark.parametrize("dtype", ["float", "float16", "double", "bfloat16"])
def test_floats_are_normal_in_both_senses(dtype):
    feeds = make_inputs(graph_of(GraphInput("x", dtype, ("b", 1000), None), dims=(("b", 200),)), 3)
    values = feeds["x"].astype(np.float64)
    tiny = {"float": 2.0**-126, "bfloat16": 2.0**-126, "float16": 2.0**-14, "double": 2.0**-1022}[dtype]
    assert feeds["x"].shape == (200, 1000)
    assert np.abs(values).min() >= tiny
    assert abs(values.mean()) < 0.02
    assert values.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (GraphInput("attention_mask", "float", (9,), None), {1.0}),
        (GraphInput("pad_MASK", "bool", (9,), None), {True}),
        (GraphInput("flags", "bool", (99,), None), {False, True}),
        (GraphInput("count", "int64", (99,), None), {0, 1}),
        (GraphInput("image", "uint8", (1, 3, 99, 99), None), set(range(256))),
        (GraphInput("ids", "int32", (9999,), 7), set(range(7))),
        (GraphInput("empty_past", "float", (1, 4, 0, 8), None), set()),
    ],
)
def test_made_values(item, expected):
    array = make_inputs(graph_of(item), 0)[item.name]
    assert set(array.ravel().tolist()) == expected
    check_inputs((item,), {item.name: array})


@pytest.mark.parametrize(
    ("item", "what"),
    [
        (GraphInput("text", "string", ("n",), None), "'text' is of type string.*--input"),
        (GraphInput("parts", "sequence", ("...",), None), "'parts' is of type sequence.*--input"),
        (GraphInput("x", "float", ("...",), None), "unknown rank.*--input"),
        (GraphInput("x", "float", (2**20, 2**20), None), "4 GiB is the limit"),
    ],
)
def test_what_cannot_be_made_up(item, what):
    with pytest.raises(BadInput, match=what):
        make_inputs(graph_of(item, dims=(("n", 1),)), 0)


X = GraphInput("x", "float", ("b", 3), None)
Y = GraphInput("y", "int64", ("b",), None)
GOOD = {"x": np.zeros((2, 3), np.float32), "y": np.zeros(2, np.int64)}


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({}, None),
        ({"x": np.zeros((5, 3), np.float32), "y": np.zeros(5, np.int64)}, None),  # a free dimension may have any size
        ({"z": np.zeros(1)}, "no input 'z'.*Expected are x, y"),
        ({"x": np.zeros((2, 3))}, r"'x' is double\[2,3\]. Expected float\[b,3\]"),
        ({"x": np.zeros((2, 4), np.float32)}, r"'x' is float\[2,4\]. Expected float\[b,3\]"),
        ({"x": np.zeros(3, np.float32)}, r"'x' is float\[3\], of rank 1. Expected float\[b,3\]"),
        ({"y": np.zeros(4, np.int64)}, r"'y' is int64\[4\], but b is 2 elsewhere"),
        ({"y": np.array(["a", "b"])}, r"'y' is string\[2\]. Expected int64\[b\]"),
    ],
)
def test_given_inputs_are_checked(changed, what):
    given = GOOD | changed
    if what is None:
        check_inputs(graph_of(X, Y), given)
        return
    with pytest.raises(BadInput, match=what):
        check_inputs(graph_of(X, Y), given)


def test_a_missing_input_is_named():
    with pytest.raises(BadInput, match="'y' is missing; given are x"):
        check_inputs(graph_of(X, Y), {"x": GOOD["x"]})
