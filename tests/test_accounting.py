from __future__ import annotations

import numpy as np
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state

from pinchpoint.accounting import DOMAINS, cost_of, cost_of_profiled
from pinchpoint.domain.operator import Cost, Node, Tensor
from pinchpoint.flop_counts import ERF, EXP, KNOWN, SIGMOID, SOFTMAX, TANH
from pinchpoint.graphs import make_inputs, read_graph, read_nodes
from small_models import LEVELS, conv_net, encoder, one_node, profile, weights


def f32(*shape):
    return Tensor("float", shape)


def i64(*shape):
    return Tensor("int64", shape)


def u8(*shape):
    return Tensor("uint8", shape)


def s8(*shape):
    return Tensor("int8", shape)


def f16(*shape):
    return Tensor("float16", shape)


C = True  # a constant input


# kind, inputs (in pairs with whether they are constants), outputs, attributes -> flops, weights, activations in elements
@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "attributes", "flops", "weight", "activation"),
    [
        ("MatMul", [(f32(2, 8, 16), 0), (f32(16, 32), C)], [f32(2, 8, 32)], {}, 2 * 2 * 8 * 16 * 32, 512, 256 + 512),
        ("MatMul", [(f32(2, 4, 8, 16), 0), (f32(2, 4, 16, 8), 0)], [f32(2, 4, 8, 8)], {}, 16384, 0, 1024 * 2 + 512),
        ("MatMul", [(f32(5, 16), 0), (f32(16), C)], [f32(5)], {}, 2 * 5 * 16, 16, 85),
        ("MatMul", [(f32(16), 0), (f32(16, 3), C)], [f32(3)], {}, 2 * 16 * 3, 48, 19),
        ("Gemm", [(f32(4, 16), 0), (f32(32, 16), C), (f32(32), C)], [f32(4, 32)], {"transB": 1}, 4096, 544, 192),
        ("Gemm", [(f32(16, 4), 0), (f32(16, 32), C)], [f32(4, 32)], {"transA": 1}, 4096, 512, 192),
        ("Gemm", [(f32(16, 4), 0), (f32(16, 32), C)], [f32(4, 32)], {}, 4096, 512, 192),  # attributes unknown
        ("FusedMatMul", [(f32(3, 16, 4), 0), (f32(3, 16, 8), 0)], [f32(3, 4, 8)], {"transA": 1}, 3072, 0, 672),
        ("Conv", [(f32(1, 3, 9, 9), 0), (f32(8, 3, 3, 3), C), (f32(8), C)], [f32(1, 8, 9, 9)], {}, 34992, 224, 891),
        ("Conv", [(f32(1, 8, 9, 9), 0), (f32(8, 1, 3, 3), C)], [f32(1, 8, 9, 9)], {"group": 8}, 11664, 72, 1296),
        ("Conv", [(f32(1, 4, 100), 0), (f32(6, 4, 5), C)], [f32(1, 6, 96)], {}, 2 * 6 * 96 * 20, 120, 976),
        ("FusedConv", [(f32(1, 3, 9, 9), 0), (f32(8, 3, 3, 3), C)], [f32(1, 8, 9, 9)], {}, 34992, 216, 891),
        ("ConvTranspose", [(f32(1, 8, 4, 4), 0), (f32(8, 5, 2, 2), C)], [f32(1, 5, 8, 8)], {}, 5120, 160, 448),
        ("Add", [(f32(2, 3), 0), (f32(3), C)], [f32(2, 3)], {}, 6, 3, 12),
        ("Sum", [(f32(4), 0), (f32(4), 0), (f32(4), 0)], [f32(4)], {}, 8, 0, 16),
        ("Relu", [(f32(10), 0)], [f32(10)], {}, 10, 0, 20),
        ("Sigmoid", [(f32(10), 0)], [f32(10)], {}, 10 * SIGMOID, 0, 20),
        ("Tanh", [(f32(10), 0)], [f32(10)], {}, 10 * TANH, 0, 20),
        ("Exp", [(f32(10), 0)], [f32(10)], {}, 10 * EXP, 0, 20),
        ("Gelu", [(f32(10), 0)], [f32(10)], {}, 10 * (ERF + 4), 0, 20),
        ("Pow", [(f32(10), 0), (f32(), C)], [f32(10)], {}, 10, 1, 20),
        ("Pow", [(f32(10), 0), (f32(10), 0)], [f32(10)], {}, 410, 0, 30),
        ("ReduceMean", [(f32(4, 5), 0)], [f32(4, 1)], {}, 20, 0, 24),
        ("Softmax", [(f32(4, 5), 0)], [f32(4, 5)], {}, 20 * SOFTMAX, 0, 40),
        ("LayerNormalization", [(f32(4, 8), 0), (f32(8), C), (f32(8), C)], [f32(4, 8)], {}, 224, 16, 64),
        ("SkipLayerNormalization", [(f32(4, 8), 0), (f32(4, 8), 0), (f32(8), C)], [f32(4, 8)], {}, 256, 8, 96),
        ("MaxPool", [(f32(1, 2, 8, 8), 0)], [f32(1, 2, 4, 4)], {"kernel_shape": (3, 3)}, 288, 0, 160),
        ("MaxPool", [(f32(1, 2, 8, 8), 0)], [f32(1, 2, 4, 4)], {}, 128, 0, 160),  # at least each input once
        ("GlobalAveragePool", [(f32(1, 2, 8, 8), 0)], [f32(1, 2, 1, 1)], {}, 128, 0, 130),
        ("Resize", [(f32(1, 2, 4, 4), 0)], [f32(1, 2, 8, 8)], {"mode": "linear"}, 2 * 4 * 128, 0, 160),
        ("Resize", [(f32(1, 2, 4, 4), 0)], [f32(1, 2, 8, 8)], {"mode": "nearest"}, 0, 0, 160),
        ("Reshape", [(f32(4, 8), 0), (i64(1), C)], [f32(32)], {}, 0, 0, 0),
        ("Identity", [(f32(4, 8), 0)], [f32(4, 8)], {}, 0, 0, 0),
        ("Transpose", [(f32(4, 8), 0)], [f32(8, 4)], {}, 0, 0, 64),
        ("Slice", [(f32(100), 0)], [f32(10)], {}, 0, 0, 20),
        ("Split", [(f32(100), 0)], [f32(40), f32(60)], {}, 0, 0, 200),
        ("Einsum", [(f32(2, 3, 4), 0), (f32(2, 4, 5), 0)], [f32(2, 3, 5)], {"equation": "bij,bjk->bik"}, 240, 0, 94),
        ("Einsum", [(f32(2, 3, 4), 0), (f32(4, 5), C)], [f32(2, 3, 5)], {"equation": "...j,jk"}, 240, 20, 54),
        ("Einsum", [(f32(3, 4), 0)], [f32(3)], {"equation": "ij->i"}, 12, 0, 15),
        ("Einsum", [(f32(3), 0), (f32(4), 0)], [f32(3, 4)], {"equation": "i,j->ij"}, 12, 0, 19),
        ("LSTM", [(f32(5, 2, 3), 0), (f32(1, 16, 3), C), (f32(1, 16, 4), C)], [f32(5, 1, 2, 4)], {},
         5 * 2 * (2 * 112 + 4 * (3 * SIGMOID + 2 * TANH + 4)), 112, 70),
        ("Attention", [(f32(1, 2, 8, 4), 0), (f32(1, 2, 6, 4), 0), (f32(1, 2, 6, 4), 0)], [f32(1, 2, 8, 4)], {},
         2 * 2 * 2 * 8 * 6 * 4 + SOFTMAX * 2 * 8 * 6, 0, 64 + 48 + 48 + 64),
        ("Attention", [(f32(1, 8, 16), 0), (f32(16, 48), C), (f32(48), C)], [f32(1, 8, 16)], {"num_heads": 2},
         2 * 8 * 16 * 48 + 2 * 2 * 8 * 8 * 16 + SOFTMAX * 2 * 64, 816, 256),
        ("MultiHeadAttention", [(f32(1, 8, 16), 0), (f32(1, 6, 16), 0), (f32(1, 6, 16), 0)], [f32(1, 8, 16)],
         {"num_heads": 2}, 2 * 2 * 8 * 6 * 16 + SOFTMAX * 2 * 48, 0, 448),
        ("GroupQueryAttention", [(f32(1, 1, 16), 0), (f32(1, 1, 8), 0), (f32(1, 1, 8), 0)],
         [f32(1, 1, 16), f32(1, 2, 9, 4), f32(1, 2, 9, 4)], {"num_heads": 4}, 2 * 2 * 9 * 16 + SOFTMAX * 36, 0, 192),
    ],
)  # fmt: skip
def test_float_costs(kind, inputs, outputs, attributes, flops, weight, activation):
    tensors, constants = [t for t, _ in inputs], [bool(c) for _, c in inputs]
    expected = Cost(flops, weight * 4, activation * 4, 0, 0, "float32" if flops else "none")
    assert cost_of(kind, "", tensors, outputs, constants, attributes) == expected


@pytest.mark.parametrize(
    ("kind", "inputs", "constants", "output", "attributes", "expected"),
    [
        ("MatMulInteger", [u8(4, 8), s8(8, 3)], (0, 1), Tensor("int32", (4, 3)), {}, (192, 24, 80, "int8")),
        ("DynamicQuantizeMatMul", [f32(4, 8), s8(8, 3), f32(), s8()], (0, 1, 1, 1), f32(4, 3), {}, (192, 29, 176, "int8")),
        ("MatMulNBits", [f32(4, 64), u8(32, 2, 16)], (0, 1), f32(4, 32), {"N": 32}, (16384, 1024, 1536, "float32")),
        ("MatMulNBits", [f32(4, 64), u8(32, 2, 16)], (0, 1), f32(4, 32), {"accuracy_level": 4}, (16384, 1024, 1536, "int8")),
        ("QLinearConv", [u8(1, 3, 9, 9), f32(), u8(), s8(8, 3, 3, 3), f32(), s8(), f32(), u8()], (0, *[1] * 7),
         u8(1, 8, 9, 9), {}, (34992, 216 + 12 + 3, 891, "int8")),
        ("QuantizeLinear", [f32(10), f32(), u8()], (0, 1, 1), u8(10), {}, (40, 5, 50, "float32")),
        ("Add", [i64(10), i64(10)], (0, 0), i64(10), {}, (0, 0, 240, "none")),
        ("Add", [f16(10), f16(10)], (0, 0), f16(10), {}, (10, 0, 60, "float16")),
        ("MatMul", [Tensor("bfloat16", (1, 8)), Tensor("bfloat16", (8, 8))], (0, 1), Tensor("bfloat16", (1, 8)), {},
         (128, 128, 32, "bfloat16")),
        ("Mul", [Tensor("double", (10,)), Tensor("double", ())], (0, 1), Tensor("double", (10,)), {}, (10, 8, 160, "float64")),
        ("Cast", [f32(10)], (0,), i64(10), {}, (0, 0, 120, "none")),
        ("Greater", [f32(10), f32()], (0, 1), Tensor("bool", (10,)), {}, (10, 4, 50, "float32")),
        ("Where", [Tensor("bool", (10,)), f32(10), f32(10)], (0, 0, 0), f32(10), {}, (0, 0, 130, "none")),
    ],
)  # fmt: skip
def test_other_types(kind, inputs, constants, output, attributes, expected):
    cost = cost_of(kind, "", inputs, [output], [bool(c) for c in constants], attributes)
    assert (cost.flops, cost.weight_bytes, cost.activation_bytes, cost.arithmetic) == expected


TABLE, WIDE = f32(1000, 16), f32(100_000, 16)


@pytest.mark.parametrize(
    ("kind", "inputs", "constants", "output", "attributes", "lookups", "lookup_bytes", "weight", "activation"),
    [
        ("Gather", [TABLE, i64(2, 5)], (1, 0), f32(2, 5, 16), {}, 10, 640, 0, 80 + 640),
        ("Gather", [f32(16, 1000), i64(5)], (1, 0), f32(16, 5), {"axis": 1}, 80, 320, 0, 40 + 320),
        ("Gather", [f32(16, 1000), i64(5)], (1, 0), f32(16, 5), {}, 80, 320, 0, 40 + 320),  # axis from the shapes
        ("Gather", [WIDE, i64(5)], (0, 0), f32(5, 16), {}, 5, 320, 0, 40 + 320),  # large, though not a constant
        ("Gather", [TABLE, i64(5)], (0, 0), f32(5, 16), {}, 0, 0, 0, 40 + 640),  # an activation: just read
        ("Gather", [f32(1, 128, 16), i64()], (0, 1), f32(1, 16), {"axis": 1}, 0, 0, 0, 128),  # a fixed position
        ("GatherElements", [TABLE, i64(4, 16)], (1, 0), f32(4, 16), {}, 64, 256, 0, 512 + 256),
        ("GatherND", [TABLE, i64(7, 1)], (1, 0), f32(7, 16), {}, 7, 448, 0, 56 + 448),
        ("EmbedLayerNormalization",
         [i64(2, 8), i64(2, 8), f32(1000, 16), f32(512, 16), f32(2, 16), f32(16), f32(16)], (0, 0, 1, 1, 1, 1, 1),
         f32(2, 8, 16), {}, 16, 1024, 8 * 64 + 2 * 64 + 128, 1024 + 256),
    ],
)  # fmt: skip
def test_lookups(kind, inputs, constants, output, attributes, lookups, lookup_bytes, weight, activation):
    cost = cost_of(kind, "", inputs, [output], [bool(c) for c in constants], attributes)
    assert (cost.lookups, cost.lookup_bytes) == (lookups, lookup_bytes)
    assert (cost.weight_bytes, cost.activation_bytes) == (weight, activation)


@pytest.mark.parametrize(
    ("kind", "inputs", "output", "attributes", "flops", "weight"),
    [
        ("MatMul", [f32(2, 8, 16)], f32(2, 8, 32), {}, 16384, 2048),
        ("Gemm", [f32(4, 16), f32(32)], f32(4, 32), {}, 4096, 2048 + 128),
        ("QGemm", [u8(4, 16), f32(), u8(), f32(), s8(), f32(), u8()], u8(4, 32), {}, 4096, 512 + 15),
        ("DynamicQuantizeMatMul", [f32(4, 16), f32(), s8()], f32(4, 32), {}, 4096, 512 + 5),
        ("ConvTranspose", [f32(1, 8, 4, 4)], f32(1, 5, 8, 8), {"kernel_shape": (2, 2)}, 5120, 640),
        ("QLinearConv", [u8(1, 3, 9, 9)], u8(1, 8, 9, 9), {"kernel_shape": (3, 3)}, 34992, 216),
        ("QLinearConv", [u8(1, 9, 9, 3)], u8(1, 9, 9, 8), {"kernel_shape": (3, 3), "channels_last": 1}, 34992, 216),
        ("LSTM", [f32(5, 2, 3), f32(1, 32)], f32(5, 1, 2, 4), {}, 5 * 2 * (2 * 112 + 4 * 128), 448 + 128),
        ("Attention", [f32(1, 8, 16), f32(48)], f32(1, 8, 16), {"num_heads": 2}, 19456, 3072 + 192),
    ],
)
def test_weights_that_a_runtime_packed_away_are_deduced(kind, inputs, output, attributes, flops, weight):
    cost = cost_of(kind, "", inputs, [output], [False] + [True] * (len(inputs) - 1), attributes)
    assert (cost.flops, cost.weight_bytes) == (flops, weight)


@pytest.mark.parametrize(
    ("kind", "domain", "inputs", "outputs"),
    [
        ("If", "", [Tensor("bool", ())], [f32(1)]),
        ("Loop", "", [i64()], [f32(1)]),
        ("Foo", "", [f32(1)], [f32(1)]),
        ("Conv", "com.acme", [f32(1, 3, 9, 9), f32(8, 3, 3, 3)], [f32(1, 8, 9, 9)]),
        ("TreeEnsembleClassifier", "ai.onnx.ml", [f32(1, 4)], [i64(1)]),
        ("ConvTranspose", "", [f32(1, 8, 4, 4)], [f32(1, 5, 8, 8)]),  # neither kernel nor attributes
        ("Einsum", "", [f32(2, 3), f32(3, 4)], [f32(2, 4)]),  # no equation
        ("Relu", "", [f32(1)], []),
        ("StringNormalizer", "", [Tensor("string", (3,))], [Tensor("string", (3,))]),
        ("Gather", "", [Tensor("string", (3,)), i64(1)], [Tensor("string", (1,))]),
        ("Gather", "", [f32(3)], [f32(1)]),
    ],
)
def test_what_cannot_be_accounted_is_none(kind, domain, inputs, outputs):
    assert cost_of(kind, domain, inputs, outputs, (), {}) is None


def test_every_tensor_kernel_of_onnxruntime_is_accounted():
    kernels = onnxruntime_pybind11_state.get_all_opkernel_def()
    standard = {
        k.op_name for k in kernels if k.provider == "CPUExecutionProvider" and k.domain in DOMAINS - {"com.microsoft"}
    }
    left_out = ("Sequence", "String", "Optional", "If", "Loop", "Scan", "Regex", "TfIdf", "MelWeight")
    assert len(standard) > 150
    assert {kind for kind in standard - KNOWN if not any(word in kind for word in left_out)} == set()


def test_bytes_of_packed_and_unknown_types():
    assert (Tensor("int4", (3,)).nbytes, Tensor("float", ()).nbytes, Tensor("bool", (0, 4)).nbytes) == (2, 4, 0)
    with pytest.raises(ValueError, match="string"):
        _ = Tensor("string", (3,)).nbytes


# --- the model file's account against that of what ONNX Runtime executed --------------------------------------------
X, IMAGE, IDS = weights(2, 8, 64), weights(1, 16, 8, 8), np.zeros((2, 8), np.int64)
ONE, ZERO, SMALL = np.float32(0.02), np.uint8(128), np.int8(0)
QIMAGE, QKERNEL = np.zeros((1, 16, 8, 8), np.uint8), np.ones((32, 16, 3, 3), np.int8)
MS = "com.microsoft"


@pytest.mark.parametrize(
    ("kind", "domain", "feeds", "constants", "attributes", "outputs"),
    [
        ("MatMul", "", {"a": X}, {"b": weights(64, 32)}, {}, 1),
        ("Gemm", "", {"a": weights(8, 64)}, {"b": weights(32, 64), "c": weights(32)}, {"transB": 1}, 1),
        ("Conv", "", {"a": IMAGE}, {"w": weights(32, 4, 3, 3)}, {"group": 4}, 1),
        ("ConvTranspose", "", {"a": IMAGE}, {"w": weights(16, 8, 3, 3)}, {"strides": [2, 2]}, 1),
        ("QLinearConv", "", {"a": QIMAGE},
         {"as": ONE, "az": ZERO, "w": QKERNEL, "ws": ONE, "wz": SMALL, "ys": ONE, "yz": ZERO}, {}, 1),
        ("ConvInteger", "", {"a": QIMAGE}, {"w": QKERNEL}, {}, 1),
        ("MatMulInteger", "", {"a": np.zeros((4, 64), np.uint8)}, {"b": np.ones((64, 32), np.int8)}, {}, 1),
        ("LSTM", "", {"a": X}, {"w": weights(2, 128, 64), "r": weights(2, 128, 32)},
         {"hidden_size": 32, "direction": "bidirectional"}, 2),
        ("GRU", "", {"a": X}, {"w": weights(1, 96, 64), "r": weights(1, 96, 32)}, {"hidden_size": 32}, 2),
        ("Einsum", "", {"a": X, "b": weights(2, 64, 5)}, {}, {"equation": "bij,bjk->bik"}, 1),
        ("Resize", "", {"a": IMAGE}, {"roi": np.zeros(0, np.float32), "s": np.float32([1, 1, 2, 2])}, {"mode": "linear"}, 1),
        ("GridSample", "", {"a": IMAGE, "g": np.zeros((1, 4, 4, 2), np.float32)}, {}, {}, 1),
        ("Gelu", MS, {"a": X}, {}, {}, 1),
        ("BiasGelu", MS, {"a": X}, {"b": weights(64)}, {}, 1),
        ("SkipLayerNormalization", MS, {"a": X, "s": X}, {"g": weights(64), "b": weights(64)}, {}, 1),
        ("FusedMatMul", MS, {"a": X, "b": weights(2, 32, 64)}, {}, {"transB": 1}, 1),
        ("FusedGemm", MS, {"a": weights(8, 64)}, {"b": weights(64, 32), "c": weights(32)}, {"activation": "Relu"}, 1),
        ("FusedConv", MS, {"a": IMAGE}, {"w": weights(32, 16, 3, 3)}, {"activation": "Relu"}, 1),
        ("Attention", MS, {"a": X}, {"w": weights(64, 192), "b": weights(192)}, {"num_heads": 4}, 1),
        ("MultiHeadAttention", MS, {"q": X, "k": X, "v": X}, {}, {"num_heads": 4}, 1),
        ("EmbedLayerNormalization", MS, {"i": IDS.astype(np.int32), "t": IDS.astype(np.int32)},
         {"w": weights(1000, 64), "p": weights(512, 64), "s": weights(2, 64), "g": weights(64), "b": weights(64)}, {}, 2),
        ("DynamicQuantizeMatMul", MS, {"a": X}, {"b": np.ones((64, 32), np.int8), "s": ONE, "z": SMALL}, {}, 1),
        ("MatMulIntegerToFloat", MS, {"a": np.zeros((2, 8, 64), np.uint8)},
         {"b": np.ones((64, 32), np.int8), "s": ONE, "t": ONE}, {}, 1),
        ("MatMulNBits", MS, {"a": X}, {"b": np.ones((32, 2, 16), np.uint8), "s": weights(32, 2)},
         {"K": 64, "N": 32, "bits": 4, "block_size": 32}, 1),
        ("QAttention", MS, {"a": np.zeros((2, 8, 64), np.uint8)},
         {"w": np.ones((64, 192), np.int8), "b": weights(192), "s": ONE, "t": ONE}, {"num_heads": 4}, 1),
        ("QLinearAdd", MS, {"a": QIMAGE}, {"s": ONE, "z": ZERO, "b": QIMAGE, "t": ONE, "y": ZERO, "u": ONE, "v": ZERO}, {}, 1),
        ("QLinearGlobalAveragePool", MS, {"a": QIMAGE}, {"s": ONE, "z": ZERO, "t": ONE, "y": ZERO}, {}, 1),
        ("QGemm", MS, {"a": np.zeros((4, 64), np.uint8)},
         {"s": ONE, "z": ZERO, "b": np.ones((32, 64), np.int8), "t": ONE, "y": SMALL}, {"transB": 1}, 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_one_operator_costs_the_same_in_file_and_profile(tmp_path, kind, domain, feeds, constants, attributes, outputs):
    path = one_node(tmp_path / "one.onnx", kind, feeds, constants, domain, outputs, **attributes)
    graph = read_graph(path)
    assert graph.unsupported == ()
    (operator,) = graph.operators
    events, results = profile(path, feeds)
    ((name, _, inputs, seen_outputs, _),) = [event for event in events if event[1] == kind]
    assert operator.outputs[0].shape == results[0].shape
    profiled = cost_of_profiled(read_nodes(path)[name], inputs, seen_outputs)
    assert profiled.flops == operator.cost.flops > 0
    assert profiled == operator.cost or len(seen_outputs) != len(operator.outputs)


@pytest.mark.parametrize("level", [LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_ALL])
@pytest.mark.parametrize("build", [conv_net, encoder])
def test_a_model_costs_the_same_in_file_and_profile(tmp_path, build, level):
    path = build(tmp_path / "model.onnx")
    graph = read_graph(path)
    events, _ = profile(path, make_inputs(graph, 0), level, tmp_path / "optimised.onnx")
    nodes = read_nodes(tmp_path / "optimised.onnx")
    costs = [cost_of_profiled(nodes[name], inputs, outputs) for name, _, inputs, outputs, _ in events]
    assert None not in costs
    assert sum(c.flops for c in costs) == pytest.approx(graph.flops, rel=0.01)
    assert sum(c.weight_bytes for c in costs) == pytest.approx(
        sum(o.cost.weight_bytes for o in graph.operators), rel=0.01
    )
    assert sum(c.lookup_bytes for c in costs) == sum(o.cost.lookup_bytes for o in graph.operators)
    if level == LEVELS.ORT_DISABLE_ALL:
        assert len(costs) == len(graph.operators)
        assert sum(c.activation_bytes for c in costs) == sum(o.cost.activation_bytes for o in graph.operators)


def test_a_profile_alone_accounts_for_an_encoder(tmp_path):
    """Without the file: neither attributes nor packed weights nor which inputs are constants."""
    path = encoder(tmp_path / "model.onnx")
    graph = read_graph(path)
    events, _ = profile(path, make_inputs(graph, 0), LEVELS.ORT_ENABLE_ALL)
    costs = [cost_of(kind, "", inputs, outputs, (), {}) for _, kind, inputs, outputs, _ in events]
    assert sum(c.flops for c in costs if c) == pytest.approx(graph.flops, rel=0.01)


@pytest.mark.parametrize(
    ("known", "seen", "expected"),
    [
        ([None, f32(8, 4)], [f32(2, 8), f32(8, 4)], 128),  # all seen
        ([None, f32(8, 4)], [f32(2, 8)], 128),  # packed away
        ([None, None], [f32(2, 8)], None),  # an input is missing
        ([None], [f32(2, 8), f32(8, 4)], None),  # one too many
    ],
)
def test_packed_weights_come_from_the_file(known, seen, expected):
    cost = cost_of_profiled(Node("n", "MatMul", "", tuple(known)), seen, [f32(2, 4)])
    assert (cost and cost.flops) == expected
