from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from pinchpoint.errors import BadInput
from pinchpoint.graphs import free_dims, make_inputs, read_graph
from small_models import FLOAT, INT64, encoder, save


@pytest.mark.parametrize(
    ("inputs", "roles", "sizes"),
    [
        ([("ids", INT64, ["batch", "seq"])], "batch length", (2, 16)),
        ([("ids", INT64, [None, None])], "batch length", (2, 16)),
        ([("x", FLOAT, ["N", 3, "H", "W"])], "batch image image", (2, 224, 224)),
        ([("x", FLOAT, [None, "c", None, None])], "batch image image image", (2, 3, 224, 224)),
        ([("x", TensorProto.UINT8, [1, "h", "w", 3])], "image image", (224, 224)),
        ([("x", FLOAT, [1, 3, 224, "w"])], "image", (224,)),
        ([("past_key_values.0.key", FLOAT, ["b", 12, "past", 64])], "batch length", (2, 16)),
        ([("x", FLOAT, ["sequence_length", 1, 80])], "length", (16,)),
        ([("x", FLOAT, [1, "n_mels", 3000])], "length", (16,)),
        ([("lengths", INT64, ["batch_size"])], "batch", (2,)),
        ([("x", FLOAT, ["?", 3, "?", "-1"])], "batch image image", (2, 224, 224)),  # no names: three dimensions
        ([("state", FLOAT, [2, None, 128])], "batch", (2,)),
        ([("x", FLOAT, ["s"]), ("y", FLOAT, ["s", 4])], "batch", (2,)),  # one name, one role
        ([("a", INT64, ["b", "past + seq"]), ("i", INT64, ["b", "seq"]), ("p", FLOAT, ["b", 4, "past", 8])],
         "batch length length length", (2, 32, 16, 16)),
        ([("m", INT64, ["b", "total_sequence_length"]), ("i", INT64, ["b", "sequence_length"]),
          ("p", FLOAT, ["b", 4, "past_sequence_length", 8])], "batch length length length", (2, 32, 16, 16)),
    ],
)  # fmt: skip
def test_roles_and_sizes_of_free_dimensions(tmp_path, inputs, roles, sizes):
    names = [item[0] for item in inputs]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in names]
    path = save(tmp_path / "m.onnx", nodes, inputs, [f"{name}_out" for name in names])
    graph = read_graph(path, batch=2, length=16)
    assert " ".join(role for _, role in free_dims(path)) == roles
    assert free_dims(graph) == free_dims(path)
    assert tuple(size for _, size in graph.dims) == sizes


def test_given_bindings_win(tmp_path):
    path = encoder(tmp_path / "m.onnx")
    graph = read_graph(path, bindings={"sequence": 7}, batch=3, length=99)
    assert graph.dims == (("batch", 3), ("sequence", 7))
    assert all(array.shape == (3, 7) for array in make_inputs(graph, 0).values())
    assert read_graph(path, length=256).flops > 2 * read_graph(path, length=128).flops  # attention is quadratic


@pytest.mark.parametrize(
    ("bindings", "batch", "length", "what"),
    [
        ({"depth": 3}, 1, 128, "no free dimension 'depth'"),
        ({"batch": -1}, 1, 128, "batch=-1 is no possible size"),
        ({}, 0, 128, "batch=0"),
        ({}, 1, 2**40, "length="),
    ],
)
def test_impossible_bindings(tmp_path, bindings, batch, length, what):
    with pytest.raises(BadInput, match=what):
        read_graph(encoder(tmp_path / "m.onnx"), bindings, batch, length)
