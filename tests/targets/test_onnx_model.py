"""Planning an ONNX target: inputs are made, read, checked, and free dimensions bound."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import networks
from pinchpoint.domain.target import TargetSpec
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput
from pinchpoint.targets.onnx_model import ONNX_MODEL


def plan(tmp_path, model, *, input=None, settings=(), **workload):
    """The plan for a model written to disk."""
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    return ONNX_MODEL.prepare(
        TargetSpec("onnx", str(path), tuple(settings), None, input), Workload(**workload), tmp_path
    )


def feed(plan, number=0):
    """One of the plan's feeds."""
    with np.load(plan.load["feeds"][number]) as stored:
        return {name: stored[name] for name in stored.files}


def sequence_model():
    """y = x + x over a free batch and a free sequence."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "sequence", 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_facts_of_the_model(tmp_path):
    made = plan(tmp_path, networks.matmuls(n=2, size=64))
    assert (made.facts.parameters, made.facts.operators, made.facts.flops_per_request) == (8192, 2, 2 * 2 * 64 * 64)
    assert made.facts.input_text == "x[1,64], random (--input to set)"


def test_a_free_length_is_measured_at_two(tmp_path):
    made = plan(tmp_path, sequence_model(), length=64)
    assert made.second_length == (64, 16)
    assert feed(made)["x"].shape == (1, 64, 8)
    with np.load(made.load["second_feeds"][0]) as stored:
        assert stored["x"].shape == (1, 16, 8)


def test_a_size_can_be_set_by_name(tmp_path):
    made = plan(tmp_path, sequence_model(), settings=[("dim.sequence", "48"), ("intra_op_threads", "1")])
    assert feed(made)["x"].shape == (1, 48, 8)
    assert made.load["settings"] == {"intra_op_threads": "1"}
    assert made.second_length is None
    with pytest.raises(BadInput, match="a size is a whole number"):
        plan(tmp_path, sequence_model(), settings=[("dim.sequence", "many")])


def test_indices_span_their_table_and_do_not_repeat(tmp_path):
    made = plan(tmp_path, networks.embedding(rows=1000, width=4, lookups=500))
    assert len(made.load["feeds"]) > 1
    first, second = feed(made, 0)["ids"], feed(made, 1)["ids"]
    assert (first.min(), first.max() < 1000) == (pytest.approx(0, abs=20), True)
    assert not np.array_equal(first, second)


def test_given_arrays_bind_the_free_dimensions(tmp_path):
    np.savez(tmp_path / "r.npz", x=np.zeros((2, 5, 8), np.float32))
    made = plan(tmp_path, sequence_model(), input=str(tmp_path / "r.npz"))
    assert feed(made)["x"].shape == (2, 5, 8)
    assert "r.npz" in made.facts.input_text


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("r.npz", lambda p: np.savez(p, y=np.zeros((1, 2, 8), np.float32)), "y|x"),
        ("r.npz", lambda p: np.savez(p, x=np.zeros((1, 2, 9), np.float32)), "8"),
        ("r.npz", lambda p: np.savez(p, x=np.zeros((1, 2, 8), np.int64)), "int64"),
        ("r.npz", lambda p: np.savez(p, x=np.zeros((8,), np.float32)), "x"),
        ("r.npz", lambda p: p.write_bytes(b"no zip"), "cannot be read"),
        ("r.npy", lambda p: np.save(p, np.array([{}], dtype=object), allow_pickle=True), "cannot be read"),
        ("r.json", lambda p: p.write_text("{"), "cannot be read"),
        ("r.jpg", lambda p: p.write_bytes(b"\xff\xd8"), "takes arrays, not a .jpg file"),
    ],
)
def test_bad_inputs_are_said_in_a_line(tmp_path, name, write, said):
    write(tmp_path / name)
    with pytest.raises(BadInput, match=said) as caught:
        plan(tmp_path, sequence_model(), input=str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_an_absent_or_empty_input(tmp_path):
    with pytest.raises(BadInput, match="no such file or folder"):
        plan(tmp_path, sequence_model(), input=str(tmp_path / "absent.npz"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no files"):
        plan(tmp_path, sequence_model(), input=str(tmp_path / "empty"))


def test_json_and_npy(tmp_path):
    (tmp_path / "r.json").write_text('{"x": [[[1, 2, 3, 4, 5, 6, 7, 8]]]}')
    assert feed(plan(tmp_path, sequence_model(), input=str(tmp_path / "r.json")))["x"].dtype == np.float32
    np.save(tmp_path / "r.npy", np.ones((1, 3, 8), np.float32))
    assert feed(plan(tmp_path, sequence_model(), input=str(tmp_path / "r.npy")))["x"].shape == (1, 3, 8)


def test_a_model_without_inputs_says_so(tmp_path):
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [y], [weight])
    made = plan(tmp_path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert made.facts.input_text == "none, the model takes none"
