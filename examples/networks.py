"""Real network architectures as ONNX files with random weights, built offline and always the same.

    python examples/networks.py OUTDIR [NAME ...]

Names are those of the public functions below; without one, `resnet50` and `bert_base` are written. The arithmetic, the
shapes and the memory traffic are those of the trained networks. The answers mean nothing.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17  # the first with LayerNormalization as one operator
IR_VERSION = 8  # the one of opset 17, so that runtimes of that age load the files

Weights: TypeAlias = NDArray[np.float32]
Shape: TypeAlias = tuple[int | str, ...]
Attribute: TypeAlias = int | float | Sequence[int] | TensorProto


@dataclass(slots=True)
class Graph:
    """One network while it is built; `close` turns it into a model. A node and its output share one name."""

    name: str
    seed: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def input(self, name: str, shape: Shape, element: int = TensorProto.FLOAT) -> str:
        """Adds an input of the network; a string in the shape is a free dimension."""
        self.inputs.append(helper.make_tensor_value_info(name, element, shape))
        return name

    def node(self, operator: str, name: str, *inputs: str, **attributes: Attribute) -> str:
        """Adds an operator and returns the name of its output."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def weight(self, name: str, values: Weights) -> str:
        """Adds parameters as raw bytes, which load fastest."""
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def normal(self, shape: tuple[int, ...], deviation: float, mean: float = 0.0) -> Weights:
        """Draws from the normal distribution; the next draw continues the same random sequence."""
        values = self.random.standard_normal(shape, dtype=np.float32)
        values *= np.float32(deviation)
        values += np.float32(mean)
        return values

    def constant(self, name: str, values: ArrayLike, dtype: type = np.int64) -> str:
        """A Constant node: structure, such as a shape, which is no parameter of the network."""
        return self.node("Constant", name, value=numpy_helper.from_array(np.asarray(values, dtype), name))

    def close(self, **outputs: Shape) -> onnx.ModelProto:
        """Gives the model, whose outputs are the named nodes."""
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, infos, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def parameters(model: onnx.ModelProto) -> int:
    """Trainable parameters, as training frameworks count them: running mean and variance are none."""
    statistics = {name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:]}
    return sum(math.prod(weight.dims) for weight in model.graph.initializer if weight.name not in statistics)


# --- ResNet-50 ---------------------------------------------------------------------------------------------------


def resnet50(batch_norm: bool = False, seed: int = 0) -> onnx.ModelProto:
    """ResNet-50 v1.5 (stride in the 3x3 convolution; He et al. 2015), input [batch, 3, 224, 224], output logits.

    As exporters write it by default, BatchNormalization is folded into the convolutions: 25,530,472 parameters.
    `batch_norm=True` keeps its nodes: 25,557,032 parameters, and the same function of the input.
    """
    graph = Graph("resnet50", seed)
    x = graph.input("input", ("batch", 3, 224, 224))
    x = _convolution(graph, "conv1", x, 3, 64, kernel=7, stride=2, batch_norm=batch_norm)
    x = graph.node("Relu", "conv1/Relu", x)
    x = graph.node("MaxPool", "maxpool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _bottleneck(graph, f"layer{stage}.{block}", x, channels, width, stride, batch_norm)
            channels = 4 * width
    x = graph.node("GlobalAveragePool", "avgpool", x)
    x = graph.node("Flatten", "flatten", x, axis=1)
    weight = graph.weight("fc.weight", graph.normal((1000, channels), 2 / math.sqrt(channels)))
    bias = graph.weight("fc.bias", graph.normal((1000,), 0.1))
    graph.node("Gemm", "logits", x, weight, bias, transB=1)
    return graph.close(logits=("batch", 1000))


def _bottleneck(graph: Graph, name: str, x: str, channels: int, width: int, stride: int, batch_norm: bool) -> str:
    """1x1 down, 3x3, 1x1 up by 4, and the shortcut, which is projected where its shape changes."""
    y = _convolution(graph, f"{name}.conv1", x, channels, width, batch_norm=batch_norm)
    y = graph.node("Relu", f"{name}.conv1/Relu", y)
    y = _convolution(graph, f"{name}.conv2", y, width, width, kernel=3, stride=stride, batch_norm=batch_norm)
    y = graph.node("Relu", f"{name}.conv2/Relu", y)
    # 16 residual sums of full strength would grow the activations a thousandfold.
    y = _convolution(graph, f"{name}.conv3", y, width, 4 * width, scale=0.25, batch_norm=batch_norm)
    if channels != 4 * width:
        x = _convolution(
            graph, f"{name}.downsample", x, channels, 4 * width, stride=stride, scale=0.7, batch_norm=batch_norm
        )
    y = graph.node("Add", f"{name}/Add", y, x)
    return graph.node("Relu", f"{name}/Relu", y)


def _convolution(
    graph: Graph,
    name: str,
    x: str,
    inputs: int,
    outputs: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    scale: float = 1.0,
    batch_norm: bool,
) -> str:
    """Conv with He-scaled weights and its BatchNormalization, whose gain is about `scale`, as nodes or folded in."""
    weight = graph.normal((outputs, inputs, kernel, kernel), math.sqrt(2 / (inputs * kernel * kernel)))
    gain, shift = graph.normal((outputs,), 0.1 * scale, scale), graph.normal((outputs,), 0.1)
    mean = graph.normal((outputs,), 0.1)
    variance = graph.random.uniform(0.8, 1.2, outputs).astype(np.float32)
    geometry = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
    if batch_norm:
        y = graph.node("Conv", f"{name}/Conv", x, graph.weight(f"{name}.weight", weight), **geometry)
        return _batch_normalization(graph, name, y, gain, shift, mean, variance)
    factor = gain / np.sqrt(variance + np.float32(1e-5))
    weight *= factor[:, None, None, None]
    bias = graph.weight(f"{name}.bias", shift - mean * factor)
    return graph.node("Conv", f"{name}/Conv", x, graph.weight(f"{name}.weight", weight), bias, **geometry)


def _batch_normalization(graph: Graph, name: str, x: str, *statistics: Weights) -> str:
    parts = zip(("gain", "shift", "mean", "variance"), statistics, strict=True)
    names = [graph.weight(f"{name}.bn.{part}", values) for part, values in parts]
    return graph.node("BatchNormalization", f"{name}/BatchNormalization", x, *names, epsilon=1e-5)


# --- BERT-base ---------------------------------------------------------------------------------------------------


def bert_base(
    layers: int = 12, hidden: int = 768, heads: int = 12, vocabulary: int = 30522, positions: int = 512, seed: int = 0
) -> onnx.ModelProto:
    """BERT-base encoder with pooler (Devlin et al. 2018), 109,482,240 parameters.

    Inputs are int64 [batch, sequence], sequence <= `positions`: `input_ids` below `vocabulary`, `attention_mask` of
    0 and 1, `token_type_ids` of 0 and 1. Outputs are `last_hidden_state` and `pooled`.
    """
    graph = Graph("bert_base", seed)
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids, mask, types = (graph.input(name, ("batch", "sequence"), TensorProto.INT64) for name in names)
    x = _bert_embeddings(graph, ids, types, hidden, vocabulary, positions)
    mask = _additive_mask(graph, mask)
    for layer in range(layers):
        name = f"layer.{layer}"
        y = _attention(graph, f"{name}.attention", x, mask, hidden, heads)
        x = _residual_norm(graph, f"{name}.attention.norm", y, x, hidden)
        y = _linear(graph, f"{name}.intermediate", x, hidden, 4 * hidden)
        y = _gelu(graph, f"{name}.gelu", y)
        y = _linear(graph, f"{name}.output", y, 4 * hidden, hidden)
        norm = "last_hidden_state" if layer == layers - 1 else f"{name}.norm"
        x = _residual_norm(graph, norm, y, x, hidden)
    first = graph.node("Gather", "pooler/Gather", x, graph.constant("pooler/first", 0), axis=1)
    graph.node("Tanh", "pooled", _linear(graph, "pooler", first, hidden, hidden))
    return graph.close(last_hidden_state=("batch", "sequence", hidden), pooled=("batch", hidden))


def _bert_embeddings(graph: Graph, ids: str, types: str, hidden: int, vocabulary: int, positions: int) -> str:
    shape = graph.node("Shape", "embeddings/Shape", ids)
    one, two = graph.constant("embeddings/one", [1]), graph.constant("embeddings/two", [2])
    length = graph.node("Slice", "embeddings/length", shape, one, two)
    every = graph.constant("embeddings/positions", np.arange(positions)[None])
    start = graph.constant("embeddings/start", [0])
    places = graph.node("Slice", "embeddings/Slice", every, start, length, one)
    x = ""
    for name, rows, index in (("word", vocabulary, ids), ("token_type", 2, types), ("position", positions, places)):
        table = graph.weight(f"embeddings.{name}.weight", graph.normal((rows, hidden), 0.02))
        row = graph.node("Gather", f"embeddings.{name}/Gather", table, index)
        x = graph.node("Add", f"embeddings.{name}/Add", x, row) if x else row
    return _norm(graph, "embeddings.norm", x, hidden)


def _additive_mask(graph: Graph, mask: str) -> str:
    """0 where a token counts and the lowest float where it does not, [batch, 1, 1, sequence]."""
    mask = graph.node("Unsqueeze", "mask/Unsqueeze", mask, graph.constant("mask/axes", [1, 2]))
    mask = graph.node("Cast", "mask/Cast", mask, to=TensorProto.FLOAT)
    mask = graph.node("Sub", "mask/Sub", graph.constant("mask/one", 1, np.float32), mask)
    return graph.node("Mul", "mask/Mul", mask, graph.constant("mask/lowest", np.finfo(np.float32).min, np.float32))


def _attention(graph: Graph, name: str, x: str, mask: str, hidden: int, heads: int) -> str:
    split = graph.constant(f"{name}/split", [0, 0, heads, hidden // heads])
    orders = {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
    parts = {}
    for part, order in orders.items():
        y = _linear(graph, f"{name}.{part}", x, hidden, hidden)
        y = graph.node("Reshape", f"{name}.{part}/Reshape", y, split)
        parts[part] = graph.node("Transpose", f"{name}.{part}/Transpose", y, perm=order)
    y = graph.node("MatMul", f"{name}.scores/MatMul", parts["query"], parts["key"])
    y = graph.node("Div", f"{name}/Div", y, graph.constant(f"{name}/scale", math.sqrt(hidden // heads), np.float32))
    y = graph.node("Softmax", f"{name}/Softmax", graph.node("Add", f"{name}/mask", y, mask), axis=-1)
    y = graph.node("MatMul", f"{name}.context/MatMul", y, parts["value"])
    y = graph.node("Transpose", f"{name}/Transpose", y, perm=[0, 2, 1, 3])
    y = graph.node("Reshape", f"{name}/Reshape", y, graph.constant(f"{name}/join", [0, 0, hidden]))
    return _linear(graph, f"{name}.output", y, hidden, hidden)


def _linear(graph: Graph, name: str, x: str, inputs: int, outputs: int) -> str:
    weight = graph.weight(f"{name}.weight", graph.normal((inputs, outputs), 0.02))
    bias = graph.weight(f"{name}.bias", graph.normal((outputs,), 0.02))
    return graph.node("Add", f"{name}/Add", bias, graph.node("MatMul", f"{name}/MatMul", x, weight))


def _gelu(graph: Graph, name: str, x: str) -> str:
    """x/2 (1 + erf(x / sqrt 2)), the exact form."""
    y = graph.node("Div", f"{name}/Div", x, graph.constant(f"{name}/sqrt2", math.sqrt(2), np.float32))
    y = graph.node("Erf", f"{name}/Erf", y)
    y = graph.node("Add", f"{name}/Add", y, graph.constant(f"{name}/one", 1, np.float32))
    y = graph.node("Mul", f"{name}/Mul", x, y)
    return graph.node("Mul", f"{name}/half", y, graph.constant(f"{name}/0.5", 0.5, np.float32))


def _residual_norm(graph: Graph, name: str, y: str, x: str, hidden: int) -> str:
    return _norm(graph, name, graph.node("Add", f"{name}/Add", y, x), hidden)


def _norm(graph: Graph, name: str, x: str, hidden: int) -> str:
    gain = graph.weight(f"{name}.weight", graph.normal((hidden,), 0.02, 1))
    shift = graph.weight(f"{name}.bias", graph.normal((hidden,), 0.02))
    return graph.node("LayerNormalization", name, x, gain, shift, axis=-1, epsilon=1e-12)


# --- Small networks, each with one plain property ----------------------------------------------------------------


def matmuls(n: int = 4, size: int = 4096, split: int = 1, prefix: str = "matmul", seed: int = 0) -> onnx.ModelProto:
    """A chain of `n` MatMuls with size x size weights on [batch, size]: 4 n size^2 bytes, 2 n size^2 FLOP a row.

    With `split` > 1 each MatMul is that many over a share of the columns, then a Concat: the same products, more
    operators. `prefix` begins the names of the nodes and weights.
    """
    graph = Graph("matmuls", seed)
    x = graph.input("x", ("batch", size))
    for layer in range(n):
        name = "y" if layer == n - 1 else f"{prefix}{layer}"
        shares = np.array_split(graph.normal((size, size), 1 / math.sqrt(size)), split, axis=1)
        parts = [name] if split == 1 else [f"{prefix}{layer}.{part}" for part in range(split)]
        for part, share in zip(parts, shares, strict=True):
            graph.node("MatMul", part, x, graph.weight(f"{prefix}{layer}.{part}.weight", np.ascontiguousarray(share)))
        x = name if split == 1 else graph.node("Concat", name, *parts, axis=1)
    return graph.close(y=("batch", size))


def conv3x3(n: int = 6, channels: int = 64, size: int = 56, seed: int = 0) -> onnx.ModelProto:
    """A chain of `n` 3x3 convolutions with Relu on [batch, channels, size, size]: 18 n (channels size)^2 FLOP."""
    graph = Graph("conv3x3", seed)
    x = graph.input("x", ("batch", channels, size, size))
    for layer in range(n):
        weight = graph.normal((channels, channels, 3, 3), math.sqrt(2 / (9 * channels)))
        x = graph.node("Conv", f"conv{layer}", x, graph.weight(f"conv{layer}.weight", weight), pads=[1, 1, 1, 1])
        x = graph.node("Relu", "y" if layer == n - 1 else f"relu{layer}", x)
    return graph.close(y=("batch", channels, size, size))


def tiny_operators(n: int = 600, seed: int = 0) -> onnx.ModelProto:
    """A chain of `n` Mul and Add nodes on [batch, 16] that no optimiser can shorten: each operand is known at run time.

    h -> h sigmoid(x), h -> h + x in turn, which stays below |x| / (1 - sigmoid(x)) and so is finite for any length.
    """
    graph = Graph("tiny_operators", seed)
    x = graph.input("x", ("batch", 16))
    return _mul_add_chain(graph, n, x, graph.node("Sigmoid", "gate", x), 16)


def elementwise(n: int = 8, elements: int = 4_000_000, seed: int = 0) -> onnx.ModelProto:
    """A chain of `n` Mul (by 0.5) and Add (of x) nodes on [batch, elements]: hardly any arithmetic for each byte."""
    graph = Graph("elementwise", seed)
    x = graph.input("x", ("batch", elements))
    return _mul_add_chain(graph, n, x, graph.constant("half", 0.5, np.float32), elements)


def _mul_add_chain(graph: Graph, n: int, x: str, factor: str, width: int) -> onnx.ModelProto:
    h = x
    for step in range(n):
        operator, operand = ("Add", x) if step % 2 else ("Mul", factor)
        h = graph.node(operator, "y" if step == n - 1 else f"{operator.lower()}{step}", h, operand)
    return graph.close(y=("batch", width))


def embedding(rows: int = 1_000_000, width: int = 64, lookups: int = 256, seed: int = 0) -> onnx.ModelProto:
    """A table of rows x width, of which `lookups` rows are gathered and summed; `ids` is int64 [batch, lookups]."""
    graph = Graph("embedding", seed)
    ids = graph.input("ids", ("batch", lookups), TensorProto.INT64)
    table = graph.weight("table", graph.normal((rows, width), 1 / math.sqrt(lookups)))
    x = graph.node("Gather", "gather", table, ids)
    graph.node("ReduceSum", "y", x, graph.constant("axis", [1]), keepdims=0)
    return graph.close(y=("batch", width))


def unoptimised_convnet(n: int = 12, channels: int = 16, size: int = 112, seed: int = 0) -> onnx.ModelProto:
    """`n` blocks of Conv, BatchNormalization and Relu as a careless export leaves them; [batch, channels, size, size].

    Graph optimisation removes the weight normalisation (it reads constants only), BatchNormalization (into the
    weights), Identity, the two Transposes that cancel, and Relu (into Conv); one Conv a block is left.
    """
    graph = Graph("unoptimised_convnet", seed)
    x = graph.input("x", ("batch", channels, size, size))
    for block in range(n):
        name = f"block{block}"
        x = graph.node("Conv", f"{name}/Conv", x, _normalised_weight(graph, name, channels))
        statistics = [graph.normal((channels,), 0.1, mean) for mean in (1, 0, 0)]
        variance = graph.random.uniform(0.8, 1.2, channels).astype(np.float32)
        x = _batch_normalization(graph, name, x, *statistics, variance)
        x = graph.node("Transpose", f"{name}/channels_last", x, perm=[0, 2, 3, 1])
        x = graph.node("Relu", f"{name}/Relu", graph.node("Identity", f"{name}/Identity", x))
        x = graph.node("Transpose", "y" if block == n - 1 else f"{name}/channels_first", x, perm=[0, 3, 1, 2])
    return graph.close(y=("batch", channels, size, size))


def _normalised_weight(graph: Graph, name: str, channels: int) -> str:
    """A 1x1 weight as gain x direction / |direction| (Salimans & Kingma 2016), computed in the graph."""
    direction = graph.weight(f"{name}.direction", graph.normal((channels, channels, 1, 1), 1))
    gain = graph.weight(f"{name}.gain", graph.normal((channels, 1, 1, 1), 0.1, math.sqrt(2)))
    norm = graph.node("ReduceL2", f"{name}/ReduceL2", direction, axes=[1, 2, 3], keepdims=1)
    unit = graph.node("Div", f"{name}/Div", direction, norm)
    return graph.node("Mul", f"{name}/Mul", unit, gain)


# --- Files -------------------------------------------------------------------------------------------------------

NETWORKS: tuple[Callable[[], onnx.ModelProto], ...] = (
    resnet50, bert_base, matmuls, conv3x3, tiny_operators, elementwise, embedding, unoptimised_convnet,
)  # fmt: skip


def write(model: onnx.ModelProto, path: Path) -> None:
    """Checks the model and writes one file; a reader never sees half of it."""
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(model.SerializeToString())
    unfinished.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the named networks and prints what each is and took."""
    builders = {builder.__name__: builder for builder in NETWORKS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", default=["resnet50", "bert_base"])
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in builders]:
        parser.error(f"no network is named {', '.join(unknown)}; there are: {', '.join(builders)}")
    for name in options.names:
        start_s = time.perf_counter()
        model = builders[name]()
        path = options.outdir / f"{name}.onnx"
        write(model, path)
        size_mb, elapsed_s = path.stat().st_size / 1e6, time.perf_counter() - start_s
        print(f"{path}: {parameters(model):,} parameters, {size_mb:.1f} MB, {elapsed_s:.1f} s")


if __name__ == "__main__":
    main()
