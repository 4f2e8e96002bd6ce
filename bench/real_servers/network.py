"""The network that the servers run, as an ONNX file of random weights: as much arithmetic as it is given layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUTS, WIDTH, OUTPUTS = 64, 512, 10


def save(path: Path, layers: int) -> None:
    """The network of x [n, 64] -> y [n, 10]; a layer is a product of [64, 512] by [512, 512] for each of n, about 0.4 ms."""
    random = np.random.default_rng(0)
    weights = {
        "first": random.standard_normal((1, WIDTH)),
        "inner": random.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5,
        "last": random.standard_normal((WIDTH, OUTPUTS)),
    }
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([2]), "axes"))
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["column"]),
        helper.make_node("Mul", ["column", "first"], ["h0"]),
    ]
    for layer in range(layers):
        nodes.append(helper.make_node("MatMul", [f"h{layer}", "inner"], [f"p{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"p{layer}"], [f"h{layer + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"h{layers}"], ["mean"], axes=[1], keepdims=0))
    nodes.append(helper.make_node("MatMul", ["mean", "last"], ["y"]))
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", INPUTS), ("y", OUTPUTS))
    )
    graph = helper.make_graph(nodes, "network", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
