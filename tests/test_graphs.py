from __future__ import annotations

import os
import pickle
import random
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import FLOAT, INT64, bert_base, conv_net, encoder, one_node, profile, save, weights

from pinchpoint.domain.operator import Graph, GraphInput
from pinchpoint.errors import BadInput
from pinchpoint.graphs import check_inputs, free_dims, make_inputs, read_graph, read_inputs

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


# --- free dimensions -------------------------------------------------------------------------------------------------
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
    [("com.acme", "Magic", 17, ("com.acme.Magic",)), ("", "Magic", 17, ("Magic",)), ("", "Relu", 999, ("opset 999",))],
)
def test_what_is_unknown_is_named_and_is_no_error(tmp_path, domain, kind, opset, unsupported):
    domains = (("", opset),) if domain == "" else (("", opset), (domain, 1))
    nodes = [helper.make_node("Relu", ["x"], ["m"]), helper.make_node(kind, ["m"], ["y"], domain=domain)]
    graph = read_graph(save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [4])], ["y"], {}, domains))
    assert (graph.unsupported, graph.opset) == (unsupported, opset)
    assert graph.flops >= 4


# --- large files -----------------------------------------------------------------------------------------------------
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


# --- bad files -------------------------------------------------------------------------------------------------------
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


@pytest.mark.parametrize(
    ("kind", "feeds", "constants", "what"),
    [
        ("MatMul", {"a": weights(2, 3)}, {"b": weights(4, 5)}, "contradict each other: MatMul 'node': Incompatible"),
        ("Conv", {"a": weights(1, 3, 2, 2)}, {"w": weights(8, 3, 5, 5)}, "does not fit its own shapes: Conv 'node'"),
        ("Reshape", {"a": weights(2, 3)}, {"s": np.array([4, 5])}, "Reshape 'node' from"),
    ],
)
def test_shapes_that_contradict_each_other(tmp_path, kind, feeds, constants, what):
    with pytest.raises(BadInput, match=what):
        read_graph(one_node(tmp_path / "m.onnx", kind, feeds, constants))


def test_sizes_that_do_not_fit_are_told_from_broken_models(tmp_path):
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["b", "s"])], ["y"], {"w": weights(1, 64)})
    with pytest.raises(BadInput, match=r"does not fit b=1, s=128: Add '': Incompatible.*Choose other sizes"):
        read_graph(path)
    assert read_graph(path, {"s": 64}).flops == 64
    assert read_inputs(path) == (GraphInput("x", "float", ("b", "s"), None),)


# --- requests --------------------------------------------------------------------------------------------------------
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
        node("Add", ["x", "one"], ["shifted"]),
        node("Gather", ["tiny", "shifted"], ["v"], axis=0),  # no longer the same values
    ]
    constants = {"axes": np.array([0]), "zero": np.zeros((1, 4), np.int64), "one": np.int32(1), "small": weights(50, 2),
                 "wide": weights(3, 90), "tiny": weights(5, 2)}  # fmt: skip
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
