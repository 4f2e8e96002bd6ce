"""Micro-models whose cost is known by construction: what a runtime is calibrated with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
Array = npt.NDArray[np.generic]


def matmul(rows: int, inner: int, columns: int, weights: int = 1, seed: int = 0) -> tuple[bytes, dict[str, Array]]:
    """`weights` independent products x[rows, inner] @ w[inner, columns]: 2 rows inner columns FLOPs each."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((inner, columns), dtype=np.float32)
    nodes = [helper.make_node("MatMul", ["x", f"w{i}"], [f"y{i}"], f"matmul{i}") for i in range(weights)]
    constants = [numpy_helper.from_array(w + np.float32(i), f"w{i}") for i in range(weights)]
    x = rng.standard_normal((rows, inner), dtype=np.float32)
    return _model(nodes, {"x": x}, [f"y{i}" for i in range(weights)], constants), {"x": x}


def matmul_int8(rows: int, inner: int, columns: int, seed: int = 0) -> tuple[bytes, dict[str, Array]]:
    """One product of uint8 by int8 into int32."""
    rng = np.random.default_rng(seed)
    w = rng.integers(-127, 127, (inner, columns), dtype=np.int8)
    x = rng.integers(0, 255, (rows, inner), dtype=np.uint8)
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"], "matmul")
    return _model([node], {"x": x}, ["y"], [numpy_helper.from_array(w, "w")]), {"x": x}


def convolution(channels: int, size: int, seed: int = 0) -> tuple[bytes, dict[str, Array]]:
    """One 3x3 convolution of a square image: 18 channels^2 size^2 FLOPs."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((channels, channels, 3, 3), dtype=np.float32)
    x = rng.standard_normal((1, channels, size, size), dtype=np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1])
    return _model([node], {"x": x}, ["y"], [numpy_helper.from_array(w, "w")]), {"x": x}


def addition(elements: int, seed: int = 0) -> tuple[bytes, dict[str, Array]]:
    """Y = a + b: reads and writes 12 bytes an element."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {name: rng.standard_normal(elements, dtype=np.float32) for name in ("a", "b")}
    return _model([helper.make_node("Add", ["a", "b"], ["y"], "add")], feeds, ["y"], []), feeds


def reduction(elements: int, seed: int = 0) -> tuple[bytes, dict[str, Array]]:
    """The maximum of each of 64 rows: reads 4 bytes an element and writes nearly nothing."""
    block = np.random.default_rng(seed).standard_normal(1 << 16, dtype=np.float32)
    x = np.resize(block, (64, elements // 64))
    node = helper.make_node("ReduceMax", ["x"], ["y"], "reduce", axes=[1], keepdims=0)
    return _model([node], {"x": x}, ["y"], []), {"x": x}


def chain(operators: int) -> tuple[bytes, dict[str, Array]]:
    """`operators` additions of 16 elements, each on the last and an input, so that none can be folded away."""
    x = np.full(16, 0.5, dtype=np.float32)
    names = ["x", *(f"t{i}" for i in range(operators))]
    nodes = [
        helper.make_node("Add" if i % 2 else "Sub", [names[i], "x"], [names[i + 1]], f"op{i}") for i in range(operators)
    ]
    return _model(nodes, {"x": x}, [names[-1]], []), {"x": x}


def lookup(rows: int, width: int, lookups: int, seed: int = 0) -> tuple[bytes, dict[str, Array]]:
    """Gather `lookups` random rows of `width` floats from a table of `rows`."""
    rng = np.random.default_rng(seed)
    table = np.ones((rows, width), dtype=np.float32)
    ids = rng.integers(0, rows, lookups, dtype=np.int64)
    node = helper.make_node("Gather", ["table", "ids"], ["y"], "gather")
    return _model([node], {"ids": ids}, ["y"], [numpy_helper.from_array(table, "table")]), {"ids": ids}


def write(folder: Path, name: str, made: tuple[bytes, dict[str, Array]]) -> tuple[Path, Path]:
    """Write a micro-model and its inputs; returns both paths."""
    model, feeds = folder / f"{name}.onnx", folder / f"{name}.npz"
    model.write_bytes(made[0])
    np.savez(model.with_suffix(".npz"), **made[1])  # type: ignore[arg-type]  # numpy types savez by its flag
    return model, feeds


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Array],
    outputs: Sequence[str],
    constants: Sequence[onnx.TensorProto],
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "micro",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        list(constants),
    )
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    encoded: bytes = model.SerializeToString()
    return encoded
