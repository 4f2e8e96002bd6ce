"""What a torch operator must at least cost, from its name and tensors: figures worked out by hand."""

from __future__ import annotations

import pytest

from pinchpoint.torch_costs import WHOLE, Call, Seen, cost_of


def tensor(*shape, dtype="float32", weight=False):
    size = {"float32": 4, "bfloat16": 2, "int8": 1, "int64": 8, "bool": 1}[dtype]
    count = 1
    for n in shape:
        count *= n
    return Seen(dtype, shape, count * size, weight)


def held(*shape, dtype="float32"):
    return tensor(*shape, dtype=dtype, weight=True)


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "flops", "weight", "activation"),
    [
        ("linear", [tensor(1, 8), held(16, 8), held(16)], [tensor(1, 16)], 2 * 8 * 16, 4 * (128 + 16), 4 * (8 + 16)),
        ("addmm", [held(16), tensor(2, 8), held(8, 16)], [tensor(2, 16)], 2 * 2 * 8 * 16, 4 * 144, 4 * (16 + 32)),
        ("mm", [tensor(2, 8), tensor(8, 4)], [tensor(2, 4)], 128, 0, 4 * (16 + 32 + 8)),
        ("bmm", [tensor(3, 2, 8), tensor(3, 8, 4)], [tensor(3, 2, 4)], 384, 0, 4 * (48 + 96 + 24)),
        (
            "conv2d",
            [tensor(1, 4, 8, 8), held(6, 2, 3, 3)],
            [tensor(1, 6, 8, 8)],
            2 * 6 * 64 * 18,
            4 * 108,
            4 * (256 + 384),
        ),
        ("relu_", [tensor(4, 4)], [tensor(4, 4)], 16, 0, 128),
        ("add", [tensor(4), tensor(4)], [tensor(4)], 4, 0, 48),
        ("layer_norm", [tensor(2, 8), held(8), held(8)], [tensor(2, 8)], 7 * 16, 64, 128),
        ("cat", [tensor(4), tensor(4)], [tensor(8)], 0, 0, 64),
        ("slice", [tensor(100)], [tensor(10)], 0, 0, 80),
        ("zeros", [], [tensor(10)], 0, 0, 40),
    ],
)
def test_an_operator_s_cost(kind, inputs, outputs, flops, weight, activation):
    cost = cost_of(Call(kind, inputs, outputs))
    assert (cost.flops, cost.weight_bytes, cost.activation_bytes) == (flops, weight, activation)
    assert cost.arithmetic == ("float32" if flops else "none")


def test_a_view_costs_nothing():
    cost = cost_of(Call("transpose", [held(8, 8)], [held(8, 8)], alias=True))
    assert (cost.flops, cost.weight_bytes, cost.activation_bytes) == (0, 0, 0)


@pytest.mark.parametrize(
    ("kind", "scalars"), [("conv_transpose2d", {}), ("convolution", {6: 1}), ("_convolution", {6: 1})]
)
def test_a_transposed_convolution_works_for_each_input(kind, scalars):
    call = Call(kind, [tensor(1, 4, 8, 8), held(4, 6, 2, 2)], [tensor(1, 6, 16, 16)], scalars=scalars)
    assert cost_of(call).flops == 2 * 4 * 64 * 24


def test_attention_counts_both_products_and_the_softmax():
    q, k = tensor(1, 2, 3, 16), tensor(1, 2, 5, 16)
    assert cost_of(Call("scaled_dot_product_attention", [q, k, k], [q])).flops == 2 * 2 * 15 * 32 + 24 * 30


def test_rows_of_a_table_are_look_ups():
    call = Call("embedding", [held(1000, 8), tensor(3, dtype="int64")], [tensor(3, 8)])
    cost = cost_of(call)
    assert (cost.lookups, cost.lookup_bytes, cost.weight_bytes, cost.activation_bytes) == (3, 96, 0, 96 + 24)


def test_a_quantised_product_is_judged_by_int8_and_reads_its_packed_weight():
    cost = cost_of(Call("quantized.linear_dynamic", [tensor(2, 8), held(16, 8, dtype="int8")], [tensor(2, 16)]))
    assert (cost.flops, cost.weight_bytes, cost.arithmetic) == (2 * 2 * 8 * 16, 128, "int8")


def test_bfloat16_is_judged_by_its_own_peak():
    x, w = tensor(1, 8, dtype="bfloat16"), held(16, 8, dtype="bfloat16")
    assert cost_of(Call("linear", [x, w], [tensor(1, 16, dtype="bfloat16")])).arithmetic == "bfloat16"


@pytest.mark.parametrize(
    "call",
    [
        Call("frobnicate", [tensor(4)], [tensor(4)]),
        Call("mylib.add", [tensor(4)], [tensor(4)]),
        Call("relu", [tensor(4)], []),
        Call("relu", [Seen("float8_e4m3fn", (4,), 4)], [tensor(4)]),
        Call("addmm", [tensor(4)], [tensor(4)]),
    ],
)
def test_what_is_not_known_has_no_cost(call):
    assert cost_of(call) is None


def test_composites_that_are_timed_whole_are_named():
    assert {"linear", "conv2d", "matmul", "reshape"} <= set(WHOLE)
    assert "einsum" not in WHOLE
