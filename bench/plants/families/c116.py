"""C116, int8 slower than fp32: weights that are widened again in each request, and conversions around every operator.

The runtime has no int8 kernel for what lies between, so full optimisation leaves the conversions standing.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.plants.contract import Case, expect, story
from bench.plants.families.shared import ONE_THREAD
from bench.plants.graphs import segmenter
from bench.plants.preparing import model

CHANNELS, SIZE, KERNEL = 128, 4, 4


def decoder(blocks: int, *, quantised: bool) -> onnx.ModelProto:
    """Transposed convolutions on small images, their weights in float32, or in int8 with a conversion before each."""
    random = np.random.default_rng(0)
    nodes, constants, name = [], [], "x"
    for block in range(blocks):
        weight = random.integers(-100, 100, (CHANNELS, CHANNELS, KERNEL, KERNEL)).astype(np.int8)
        if quantised:
            constants += [
                numpy_helper.from_array(weight, f"w{block}"),
                numpy_helper.from_array(np.full(CHANNELS, 1e-4, np.float32), f"scale{block}"),
                numpy_helper.from_array(np.zeros(CHANNELS, np.int8), f"zero{block}"),
            ]
            nodes.append(
                helper.make_node(
                    "DequantizeLinear", [f"w{block}", f"scale{block}", f"zero{block}"], [f"f{block}"], axis=1
                )
            )
        else:
            constants.append(numpy_helper.from_array(weight.astype(np.float32) * np.float32(1e-4), f"f{block}"))
        nodes.append(helper.make_node("ConvTranspose", [name, f"f{block}"], [f"y{block}"], pads=[1, 1, 2, 2]))
        name = f"y{block}"
    return _closed(nodes, constants, name, [1, CHANNELS, SIZE, SIZE])


def activations(steps: int, *, quantised: bool) -> onnx.ModelProto:
    """A chain of cheap steps on images, between each two a pair of conversions to int8 and back."""
    constants = [
        numpy_helper.from_array(np.array(0.02, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    nodes, name = [], "x"
    for step in range(steps):
        if quantised:
            nodes.append(helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"q{step}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"q{step}", "scale", "zero"], [f"d{step}"]))
            name = f"d{step}"
        nodes.append(helper.make_node("Abs" if step % 2 else "Neg", [name], [f"y{step}"]))
        name = f"y{step}"
    return _closed(nodes, constants if quantised else [], name, [1, 64, 112, 112])


def products(n: int, size: int) -> onnx.ModelProto:
    """Products with int8 weights that the runtime fuses into kernels of its own."""
    random = np.random.default_rng(0)
    nodes, constants, name = [], [], "x"
    for number in range(n):
        weight = random.integers(-100, 100, (size, size)).astype(np.int8)
        constants += [
            numpy_helper.from_array(weight, f"w{number}"),
            numpy_helper.from_array(np.full(size, 1e-3, np.float32), f"scale{number}"),
            numpy_helper.from_array(np.zeros(size, np.int8), f"zero{number}"),
        ]
        nodes.append(
            helper.make_node(
                "DequantizeLinear", [f"w{number}", f"scale{number}", f"zero{number}"], [f"f{number}"], axis=1
            )
        )
        nodes.append(helper.make_node("MatMul", [name, f"f{number}"], [f"y{number}"]))
        name = f"y{number}"
    return _closed(nodes, constants, name, [1, size])


def _closed(
    nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], name: str, shape: list[int]
) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        nodes, "plant", [given], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)], constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


WIDENED = story(
    "C116",
    "develop",
    "widened",
    fault=Case(
        model(lambda: decoder(8, quantised=True), options=ONE_THREAD),
        expect("C116", where="model"),
        "int8 weights of transposed convolutions, widened to float32 channel by channel in each request",
    ),
    healthy=Case(
        model(lambda: decoder(8, quantised=False), options=ONE_THREAD), expect(absent="C116"), "the weights in float32"
    ),
    lookalike=Case(
        model(lambda: segmenter("cubic"), options=ONE_THREAD),
        expect(where="model", absent="C116"),
        "an operator on a slow path, with nothing in int8",
    ),
)

CONVERTED = story(
    "C116", "test", "converted",
    fault=Case(
        model(lambda: activations(16, quantised=True), options=ONE_THREAD),
        expect("C116", where="model"),
        "conversions around operators that have no int8 kernel",
    ),
    healthy=Case(
        model(lambda: activations(16, quantised=False), options=ONE_THREAD), expect(absent="C116"), "none of them",
    ),
    lookalike=Case(
        model(lambda: products(4, 2048), options=ONE_THREAD),
        expect(where="model", absent="C116"),
        "int8 weights that the runtime multiplies as they are: a quarter of the bytes",
    ),
)  # fmt: skip

PLANTS = (*WIDENED, *CONVERTED)
