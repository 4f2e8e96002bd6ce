"""Networks of the plants that examples/networks.py does not have, built with its Graph; weights are random."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _networks() -> ModuleType:
    """examples/networks.py as a module; it is no part of a package."""
    spec = importlib.util.spec_from_file_location("plant_networks", EXAMPLES / "networks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


networks = _networks()


def tagger(blocks: int = 4, channels: int = 64, classes: int = 1000, seed: int = 0) -> onnx.ModelProto:
    """A small image classifier on [1, 3, 224, 224]: a stride-4 stem, `blocks` 3x3 convolutions at 56 x 56, one Gemm."""
    graph = networks.Graph("tagger", seed)
    x = graph.input("pixels", (1, 3, 224, 224))
    stem = graph.weight("stem.weight", graph.normal((channels, 3, 4, 4), math.sqrt(2 / 48)))
    x = graph.node("Conv", "stem", x, stem, strides=[4, 4])
    for block in range(blocks):
        weight = graph.weight(
            f"conv{block}.weight", graph.normal((channels, channels, 3, 3), math.sqrt(2 / (9 * channels)))
        )
        x = graph.node("Relu", f"relu{block}", graph.node("Conv", f"conv{block}", x, weight, pads=[1] * 4))
    x = graph.node("Flatten", "flatten", graph.node("GlobalAveragePool", "pool", x))
    graph.node("Gemm", "logits", x, graph.weight("fc.weight", graph.normal((classes, channels), 0.1)), transB=1)
    return graph.close(logits=(1, classes))


def segmenter(mode: str, channels: int = 16, size: int = 64, blocks: int = 4, seed: int = 0) -> onnx.ModelProto:
    """A segmentation head: 3x3 convolutions, then the logits twice as large by Resize of `mode` (cubic, linear)."""
    graph = networks.Graph("segmenter", seed)
    x = graph.input("image", (1, channels, size, size))
    for block in range(blocks):
        weight = graph.weight(
            f"conv{block}.weight", graph.normal((channels, channels, 3, 3), math.sqrt(2 / (9 * channels)))
        )
        x = graph.node("Relu", f"relu{block}", graph.node("Conv", f"conv{block}", x, weight, pads=[1] * 4))
    scales = graph.weight("scales", np.array([1, 1, 2, 2], np.float32))
    graph.node("Resize", "mask", x, "", scales, mode=mode)
    return graph.close(mask=(1, channels, 2 * size, 2 * size))


def one_large_convolution(channels: int = 64, size: int = 56, kernel: int = 9, seed: int = 0) -> onnx.ModelProto:
    """A classifier whose time is one wide convolution, as fast as the arithmetic allows."""
    graph = networks.Graph("one_large_convolution", seed)
    x = graph.input("image", (1, channels, size, size))
    weight = graph.weight("wide.weight", graph.normal((channels, channels, kernel, kernel), 0.02))
    x = graph.node("Relu", "relu", graph.node("Conv", "wide", x, weight, pads=[kernel // 2] * 4))
    graph.node("Flatten", "features", graph.node("GlobalAveragePool", "pool", x))
    return graph.close(features=(1, channels))


def descriptor(pool: str, channels: int = 64, size: int = 28, blocks: int = 4, seed: int = 0) -> onnx.ModelProto:
    """An image descriptor with L2 pooling over 13 x 13 windows: by LpPool (`pool` = lp), or the same sum as
    Mul, AveragePool, Mul, Sqrt (`pool` = average).
    """
    graph = networks.Graph("descriptor", seed)
    x = graph.input("pixels", (1, channels, size, size))
    for block in range(blocks):
        weight = graph.weight(
            f"conv{block}.weight", graph.normal((channels, channels, 3, 3), math.sqrt(2 / (9 * channels)))
        )
        x = graph.node("Relu", f"relu{block}", graph.node("Conv", f"conv{block}", x, weight, pads=[1] * 4))
    window = {"kernel_shape": [13, 13], "strides": [2, 2]}
    if pool == "lp":
        x = graph.node("LpPool", "pooled", x, p=2, **window)
    else:
        square = graph.node("AveragePool", "mean", graph.node("Mul", "square", x, x), **window)
        area = graph.constant("area", 169.0, np.float32)
        x = graph.node("Sqrt", "pooled", graph.node("Mul", "sum", square, area))
    graph.node("Flatten", "descriptor", x)
    return graph.close(descriptor=(1, "width"))


def quantised_by_hand(
    integers: bool, rows: int = 128, size: int = 768, layers: int = 2, seed: int = 0
) -> onnx.ModelProto:
    """MatMuls on whole numbers, in int32 (for which the runtime has only a plain loop) or in float32, which is exact here."""
    graph = networks.Graph("quantised_by_hand", seed)
    x = graph.input("x", (rows, size))
    kind, dtype = (TensorProto.INT32, np.int32) if integers else (TensorProto.FLOAT, np.float32)
    x = graph.node("Cast", "quantised", x, to=kind)
    for layer in range(layers):
        values = graph.random.integers(-8, 8, (size, size)).astype(dtype)
        graph.weights.append(numpy_helper.from_array(values, f"weight{layer}"))
        x = graph.node("MatMul", f"matmul{layer}", x, f"weight{layer}")
    graph.node("Cast", "y", x, to=TensorProto.FLOAT)
    return graph.close(y=(rows, size))


def lstm(unrolled: bool, steps: int = 60, hidden: int = 32, seed: int = 0) -> onnx.ModelProto:
    """An LSTM over [steps, 1, hidden]: one LSTM operator, or about 15 operators a step as a tracing exporter writes it."""
    graph = networks.Graph("lstm", seed)
    x = graph.input("samples", (steps, 1, hidden))
    w = graph.normal((4 * hidden, hidden), 1 / math.sqrt(hidden))
    r = graph.normal((4 * hidden, hidden), 1 / math.sqrt(hidden))
    if not unrolled:
        weights = [graph.weight(name, value[None]) for name, value in (("W", w), ("R", r))]
        graph.nodes.append(helper.make_node("LSTM", [x, *weights], ["", "last"], "lstm", hidden_size=hidden))
        graph.node("Reshape", "state", "last", graph.constant("flat", [1, hidden]))
        return graph.close(state=(1, hidden))
    wx, rh = graph.weight("W", np.ascontiguousarray(w.T)), graph.weight("R", np.ascontiguousarray(r.T))
    h = graph.constant("h0", np.zeros((1, hidden)), np.float32)
    c = graph.constant("c0", np.zeros((1, hidden)), np.float32)
    for step in range(steps):
        h, c = _lstm_step(graph, f"step{step}", x, step, wx, rh, h, c)
    graph.node("Identity", "state", h)
    return graph.close(state=(1, hidden))


def _lstm_step(
    graph: networks.Graph, name: str, x: str, step: int, wx: str, rh: str, h: str, c: str
) -> tuple[str, str]:
    """One step: gates i, o, f, c as ONNX orders them."""
    now = graph.node("Gather", f"{name}.x", x, graph.constant(f"{name}.at", step), axis=0)
    terms = [graph.node("MatMul", f"{name}.{part}", *pair) for part, pair in (("wx", (now, wx)), ("rh", (h, rh)))]
    gates = graph.node("Add", f"{name}.gates", *terms)
    parts = [f"{name}.{gate}" for gate in "iofg"]
    graph.nodes.append(helper.make_node("Split", [gates], parts, f"{name}.split", axis=1))
    i, o, f = (graph.node("Sigmoid", f"{part}.on", part) for part in parts[:3])
    new = graph.node("Mul", f"{name}.new", i, graph.node("Tanh", f"{name}.g.on", parts[3]))
    c = graph.node("Add", f"{name}.c", graph.node("Mul", f"{name}.kept", f, c), new)
    return graph.node("Mul", f"{name}.h", o, graph.node("Tanh", f"{name}.out", c)), c


def decoder(layers: int = 3, hidden: int = 2048, rows: int | str = "batch", seed: int = 0) -> onnx.ModelProto:
    """The feed-forward half of a text decoder, one token at a time: hidden -> 4 hidden -> hidden with a residual."""
    graph = networks.Graph("decoder", seed)
    x = graph.input("token", (rows, hidden))
    for layer in range(layers):
        up = graph.weight(f"up{layer}", graph.normal((hidden, 4 * hidden), 1 / math.sqrt(hidden)))
        down = graph.weight(f"down{layer}", graph.normal((4 * hidden, hidden), 0.5 / math.sqrt(hidden)))
        y = graph.node("Relu", f"relu{layer}", graph.node("MatMul", f"up{layer}.out", x, up))
        y = graph.node("MatMul", f"down{layer}.out", y, down)
        x = graph.node("Add", "next" if layer == layers - 1 else f"residual{layer}", y, x)
    return graph.close(next=(rows, hidden))


def blend(height: int, width: int, layers: int = 4, seed: int = 0) -> onnx.ModelProto:
    """Compositing of large frames: out = clip(frame + mask (layer - frame)) `layers` times, three bytes-only operators each."""
    graph = networks.Graph("blend", seed)
    x = graph.input("frame", (1, 3, height, width))
    y, mask = graph.input("layer", (1, 3, height, width)), graph.input("mask", (1, 3, height, width))
    low, high = graph.constant("low", 0.0, np.float32), graph.constant("high", 1.0, np.float32)
    for layer in range(layers):
        part = graph.node("Mul", f"part{layer}", graph.node("Sub", f"difference{layer}", y, x), mask)
        x = graph.node("Add", f"sum{layer}", x, part)
        x = graph.node("Clip", "out" if layer == layers - 1 else f"clip{layer}", x, low, high)
    return graph.close(out=(1, 3, height, width))


def tables(
    count: int = 8, rows: int = 1_000_000, width: int = 16, lookups: int = 8192, seed: int = 0
) -> onnx.ModelProto:
    """A ranking model's sparse half: `count` tables, each looked up `lookups` times, averaged, and joined by one Gemm."""
    graph = networks.Graph("tables", seed)
    pooled = []
    for number in range(count):
        ids = graph.input(f"ids{number}", (1, lookups), TensorProto.INT64)
        table = graph.weight(f"table{number}", graph.normal((rows, width), 1))
        looked_up = graph.node("Gather", f"rows{number}", table, ids)
        pooled.append(graph.node("ReduceMean", f"pooled{number}", looked_up, axes=[1], keepdims=0))
    x = graph.node("Concat", "features", *pooled, axis=1)
    graph.node("MatMul", "score", x, graph.weight("head", graph.normal((count * width, 1), 0.1)))
    return graph.close(score=(1, 1))


def traced_transformer(layers: int = 3, hidden: int = 64, length: int = 256, seed: int = 0) -> onnx.ModelProto:
    """Mixer blocks as an old exporter writes them: LayerNorm and GELU in their parts, Dropout and Identity left in."""
    graph = networks.Graph("traced_transformer", seed)
    x = graph.input("x", (1, length, hidden))
    two, half = graph.constant("two", 2.0, np.float32), graph.constant("half", 0.5, np.float32)
    root, one = graph.constant("root2", math.sqrt(2), np.float32), graph.constant("one", 1.0, np.float32)
    tiny = graph.constant("epsilon", 1e-5, np.float32)
    for layer in range(layers):
        name = f"layer{layer}"
        centred = graph.node("Sub", f"{name}.centred", x, graph.node("ReduceMean", f"{name}.mean", x, axes=[-1]))
        variance = graph.node("ReduceMean", f"{name}.var", graph.node("Pow", f"{name}.square", centred, two), axes=[-1])
        spread = graph.node("Sqrt", f"{name}.spread", graph.node("Add", f"{name}.safe", variance, tiny))
        gain = graph.weight(f"{name}.gain", graph.normal((hidden,), 0.02, 1))
        y = graph.node("Mul", f"{name}.scaled", graph.node("Div", f"{name}.normal", centred, spread), gain)
        y = graph.node("Add", f"{name}.shifted", y, graph.weight(f"{name}.shift", graph.normal((hidden,), 0.02)))
        weight = graph.weight(f"{name}.weight", graph.normal((hidden, hidden), 1 / math.sqrt(hidden)))
        y = graph.node("MatMul", f"{name}.product", y, weight)
        y = graph.node("Add", f"{name}.linear", y, graph.weight(f"{name}.bias", graph.normal((hidden,), 0.02)))
        y = graph.node("Identity", f"{name}.dropout", y)
        bell = graph.node("Erf", f"{name}.erf", graph.node("Div", f"{name}.root", y, root))
        bell = graph.node("Add", f"{name}.bell", bell, one)
        y = graph.node("Mul", f"{name}.gelu", graph.node("Mul", f"{name}.gated", y, bell), half)
        x = graph.node("Add", "y" if layer == layers - 1 else f"{name}.residual", x, y)
    return graph.close(y=(1, length, hidden))
