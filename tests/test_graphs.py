from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pinchpoint.accounting import cost_of_profiled
from pinchpoint.domain.operator import GraphInput
from pinchpoint.errors import BadInput
from pinchpoint.graphs import make_inputs, read_graph, read_inputs, read_nodes
from small_models import FLOAT, INT64, LEVELS, bert_base, conv_net, encoder, one_node, profile, save, weights

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
HEAVY = {"Conv", "Gemm", "MatMul"}  # onnx-tool spreads the products of ConvTranspose over outputs: left out


def heavy_macs(graph):
    return sum(operator.cost.flops for operator in graph.operators if operator.kind in HEAVY) / 2


# --- against published numbers and another counter -------------------------------------------------------------------
# Multiply-adds at 224x224 and parameters: torchvision's and Caffe's model zoos, and each architecture's paper.
@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [
        ("resnet50", 4.089e9, 25.56e6),
        ("vgg19", 19.632e9, 143.67e6),
        ("bvlc_alexnet", 0.6546e9, 60.97e6),  # at 224, not 227
        ("squeezenet", 0.3492e9, 1.235e6),
        ("densenet121", 2.834e9, None),  # this export has its own batch-norm statistics
    ],
)
def test_published_architectures(name, macs, parameters):
    graph = read_graph(LIGHT / f"light_{name}.onnx")
    assert graph.unsupported == ()
    assert heavy_macs(graph) == pytest.approx(macs, rel=0.005)
    assert parameters is None or graph.parameters == pytest.approx(parameters, rel=0.005)


def test_bert_base(tmp_path):
    """Closed forms: 109,482,240 parameters; a layer has 12 S d^2 + 2 S^2 d multiply-adds (Kaplan et al. 2020)."""
    length, width = 128, 768
    graph = read_graph(bert_base(tmp_path / "bert.onnx"), length=length)
    macs = 12 * (12 * length * width**2 + 2 * length**2 * width) + width**2
    assert graph.parameters == pytest.approx(109_482_240, rel=1e-4)
    assert heavy_macs(graph) == macs
    assert graph.flops == pytest.approx(2 * macs, rel=0.02)  # the rest is element by element
    assert sum(o.cost.weight_bytes for o in graph.operators) == pytest.approx(4 * (12 * 7_087_872 + width**2), rel=0.01)
    assert sum(o.cost.lookups for o in graph.operators) == 3 * length
    assert graph.unsupported == ()


@pytest.mark.parametrize("name", sorted(p.stem for p in LIGHT.glob("*.onnx")))
def test_another_counter_agrees_on_vision(name):
    graph = read_graph(LIGHT / f"{name}.onnx")
    assert heavy_macs(graph) == pytest.approx(_counted_elsewhere(LIGHT / f"{name}.onnx", {}), rel=0.01)


@pytest.mark.parametrize("build", [bert_base, encoder, conv_net])
def test_another_counter_agrees_on_more(tmp_path, build):
    path = build(tmp_path / "model.onnx")
    graph = read_graph(path)
    assert heavy_macs(graph) == pytest.approx(_counted_elsewhere(path, make_inputs(graph, 0)), rel=0.01)


def _counted_elsewhere(path, feeds):
    onnx_tool = pytest.importorskip("onnx_tool", reason="the second counter is a development dependency")
    graph = onnx_tool.Model(str(path)).graph
    graph.shape_infer(feeds or None)
    graph.profile()
    return sum(node.macs[0] for node in graph.nodemap.values() if node.op_type in HEAVY)


# --- shapes ----------------------------------------------------------------------------------------------------------
def test_shapes_computed_from_shapes_are_followed(tmp_path):
    """x.view(b, s, 4, -1)[:, : s // 2], as exporters write it."""
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "i0"], ["b"], axis=0),
        node("Gather", ["shape", "i1"], ["s"], axis=0),
        node("Concat", ["b", "s", "four", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["heads"]),
        node("Cast", ["s"], ["sf"], to=FLOAT),
        node("Div", ["sf", "two"], ["half"]),
        node("Floor", ["half"], ["whole"]),
        node("Cast", ["whole"], ["end"], to=INT64),
        node("Slice", ["heads", "i0", "end", "i1"], ["part"]),
        node("Softmax", ["part"], ["y"]),
    ]
    constants = {name: np.array([value], np.int64) for name, value in {"i0": 0, "i1": 1, "four": 4, "rest": -1}.items()}
    inputs = [("x", FLOAT, ["b", "s", 64])]
    path = save(tmp_path / "m.onnx", nodes, inputs, ["y"], constants | {"two": np.float32([2])})
    graph = read_graph(path, length=9)
    assert graph.unsupported == ()
    assert graph.operators[-1].outputs[0].shape == (1, 4, 4, 16)
    assert profile(path, make_inputs(graph, 0))[1][0].shape == (1, 4, 4, 16)


def test_values_that_would_be_large_are_not_computed(tmp_path):
    node = helper.make_node
    nodes = [node("Shape", ["x"], ["s"]), node("Mul", ["s", "many"], ["n"]), node("ConstantOfShape", ["n"], ["big"])]
    nodes += [node("Add", ["big", "big"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [64])], ["y"], {"many": np.array([2**50], np.int64)})
    started = time.monotonic()
    read_graph(path)
    assert time.monotonic() - started < 5


def test_constant_work_is_folded_and_generated_weights_count(tmp_path):
    node = helper.make_node
    nodes = [
        node("ConstantOfShape", ["dims"], ["w"], value=helper.make_tensor("", FLOAT, [1], [0.1])),
        node("Transpose", ["w"], ["wt"]),
        node("MatMul", ["x", "wt"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [1, 8])], ["y"], {"dims": np.array([4, 8], np.int64)})
    graph = read_graph(path)
    assert [o.kind for o in graph.operators] == ["MatMul"]
    assert graph.operators[0].cost.weight_bytes == 4 * 32
    assert (graph.parameters, graph.parameter_bytes) == (2 + 32, 16 + 128)


def test_dequantised_weights_are_read_as_they_are_stored(tmp_path):
    node = helper.make_node
    nodes = [node("DequantizeLinear", ["q", "s", "z"], ["w"]), node("MatMul", ["x", "w"], ["y"])]
    constants = {"q": np.ones((64, 32), np.int8), "s": np.float32(0.1), "z": np.int8(0)}
    graph = read_graph(save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [1, 64])], ["y"], constants))
    assert graph.operators[-1].cost.weight_bytes == 64 * 32


def test_parameters_are_counted_wherever_they_are(tmp_path):
    """Initializers, Constant nodes, sparse ones as stored, and those of sub-graphs."""
    node, branch = helper.make_node, []
    for name in ("then", "else"):
        inner = [node("Add", ["x", f"{name}_w"], [f"{name}_y"])]
        outputs = [helper.make_tensor_value_info(f"{name}_y", FLOAT, [8])]
        branch.append(helper.make_graph(inner, name, [], outputs, [numpy_helper.from_array(weights(8), f"{name}_w")]))
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sw", FLOAT, [3], [1, 2, 3]), helper.make_tensor("si", INT64, [3], [0, 2, 4]), [8]
    )
    nodes = [
        node("Constant", [], ["c"], value=numpy_helper.from_array(weights(2000))),
        node("Constant", [], ["f"], value_floats=[1.0, 2.0]),
        node("Constant", [], ["sp"], sparse_value=sparse),
        node("If", ["cond"], ["y"], then_branch=branch[0], else_branch=branch[1]),
    ]
    path = save(
        tmp_path / "m.onnx", nodes, [("cond", TensorProto.BOOL, []), ("x", FLOAT, [8])], ["y"], {"w": weights(5)}
    )
    graph = read_graph(path)
    assert graph.parameters == 5 + 2000 + 2 + 3 + 8 + 8
    assert graph.parameter_bytes == 4 * (5 + 2000 + 2 + 3 + 8 + 8) + 3 * 8
    assert graph.unsupported == ("If",)


def test_functions_of_the_model_are_looked_into(tmp_path):
    body = [helper.make_node("MatMul", ["a", "b"], ["m"]), helper.make_node("Relu", ["m"], ["c"])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "Dense", ["a", "b"], ["c"], body, opsets)
    path = save(tmp_path / "m.onnx", [helper.make_node("Dense", ["x", "w"], ["y"], domain="mine")],
                [("x", FLOAT, [1, 8])], ["y"], {"w": weights(8, 4)}, (("", 17), ("mine", 1)))  # fmt: skip
    model = onnx.load(path)
    model.functions.append(function)
    onnx.save(model, path)
    assert sorted(o.kind for o in read_graph(path).operators) == ["MatMul", "Relu"]


@pytest.mark.parametrize(
    ("domain", "kind", "opset", "unsupported"),
    [
        ("com.acme", "Magic", 17, ("Abs of unknown shape", "com.acme.Magic")),
        ("", "Magic", 17, ("Abs of unknown shape", "Magic")),
        ("", "Relu", 999, ("opset 999",)),
    ],
)
def test_what_is_unknown_is_named_and_is_no_error(tmp_path, domain, kind, opset, unsupported):
    domains = (("", opset),) if domain == "" else (("", opset), (domain, 1))
    nodes = [helper.make_node("Relu", ["x"], ["m"]), helper.make_node(kind, ["m"], ["n"], domain=domain)]
    nodes += [helper.make_node("Abs", ["n"], ["y"])]
    graph = read_graph(save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [4])], ["y"], {}, domains))
    assert (graph.unsupported, graph.opset) == (unsupported, opset)
    assert graph.flops >= 4


def test_a_file_that_onnxruntime_optimised_is_read_as_well(tmp_path):
    path = encoder(tmp_path / "m.onnx")
    plain = read_graph(path)
    profile(path, make_inputs(plain, 0), LEVELS.ORT_ENABLE_ALL, tmp_path / "optimised.onnx")
    graph = read_graph(tmp_path / "optimised.onnx")
    assert {"BiasGelu", "FusedMatMul", "LayerNormalization"} <= {o.kind for o in graph.operators}
    assert graph.unsupported == ()
    assert graph.flops == pytest.approx(plain.flops, rel=0.01)
    assert graph.inputs == plain.inputs


def test_operators_inside_of_branches_are_found_by_name(tmp_path):
    node, branches = helper.make_node, []
    for name in ("then", "else"):
        inner = [node("MatMul", ["x", f"{name}_w"], [f"{name}_y"], f"{name}_product")]
        held = [numpy_helper.from_array(weights(8, 4), f"{name}_w")]
        branches.append(
            helper.make_graph(inner, name, [], [helper.make_tensor_value_info(f"{name}_y", FLOAT, [1, 4])], held)
        )
    nodes = [
        node("If", ["cond"], ["y"], "if", then_branch=branches[0], else_branch=branches[1]),
        node("Softmax", ["y"], ["z"], "softmax"),
    ]
    path = save(tmp_path / "m.onnx", nodes, [("cond", TensorProto.BOOL, []), ("x", FLOAT, [1, 8])], ["z"])
    graph = read_graph(path)
    assert graph.unsupported == ("If",)
    assert [o.kind for o in graph.operators] == ["Softmax"]  # the shape behind the branches is known
    events, _ = profile(path, make_inputs(graph, 0))
    (product,) = [event for event in events if event[1] == "MatMul"]
    assert cost_of_profiled(read_nodes(path)[product[0]], product[2], product[3]).weight_bytes == 4 * 32


@pytest.mark.parametrize(
    ("kind", "feeds", "constants", "what"),
    [
        ("MatMul", {"a": weights(2, 3)}, {"b": weights(4, 5)}, "contradict each other: MatMul 'node': Incompatible"),
        ("Conv", {"a": weights(1, 3, 2, 2)}, {"w": weights(8, 3, 5, 5)}, "does not fit its own shapes: Conv 'node'"),
        ("Reshape", {"a": weights(2, 3)}, {"s": np.array([4, 5])}, "Reshape 'node' from"),
        ("Gather", {"i": np.zeros(3, np.int64)}, {"t": weights(9)}, None),  # indices as data: odd, but no contradiction
    ],
)
def test_shapes_that_contradict_each_other(tmp_path, kind, feeds, constants, what):
    if what is None:
        read_graph(one_node(tmp_path / "m.onnx", kind, feeds, constants))
        return
    with pytest.raises(BadInput, match=what):
        read_graph(one_node(tmp_path / "m.onnx", kind, feeds, constants))


@pytest.mark.parametrize(("pads", "length", "fits"), [((0, 0), 255, False), ((0, 0), 256, True), ((1, 0), 255, True)])
def test_a_window_larger_than_its_input_is_named(tmp_path, pads, length, fits):
    """onnx rounds such sizes towards zero and goes on; the runtime refuses them."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], "stft", strides=[128], kernel_shape=[256], pads=pads)
    path = save(tmp_path / "m.onnx", [node], [("x", FLOAT, ["b", 1, "samples"])], ["y"], {"w": weights(8, 1, 256)})
    if fits:
        assert read_graph(path, length=length).operators[0].outputs[0].shape == (1, 8, 1)
        return
    with pytest.raises(BadInput, match="does not fit b=1, samples=255: Conv 'stft': its window of 256 is larger"):
        read_graph(path, length=length)


def test_sizes_that_do_not_fit_are_told_from_broken_models(tmp_path):
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["b", "s"])], ["y"], {"w": weights(1, 64)})
    with pytest.raises(BadInput, match=r"does not fit b=1, s=128: Add '': Incompatible.*Choose other sizes"):
        read_graph(path)
    assert read_graph(path, {"s": 64}).flops == 64
    assert read_inputs(path) == (GraphInput("x", "float", ("b", "s"), None),)
