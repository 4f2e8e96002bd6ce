"""Values that follow from shapes: what a graph computes from the sizes of its inputs before any data are looked at.

Exporters write `x[:, :n]` or `view(b, n, h, -1)` as chains of Shape, Gather, Slice and arithmetic on small tensors. Once
the free dimensions are bound these are constants, and shape inference needs them. The operators are evaluated by onnx's
reference implementation, in numpy, one at a time, on tensors of bounded size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from math import prod

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from pinchpoint.domain.operator import Tensor
from pinchpoint.flop_counts import kinds
from pinchpoint.model_file import has_payload

Array = npt.NDArray[np.generic]

LARGEST_VALUE = 1 << 17  # elements: the positions of the longest contexts

_ARITHMETIC = kinds(
    "Abs Add And Cast Ceil Compress Concat ConstantOfShape CumSum Div Equal Expand Flatten Floor Gather GatherElements "
    "GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg NonZero Not Or Pow Range ReduceMax "
    "ReduceMin ReduceProd ReduceSum Reshape Round ScatterElements ScatterND Sign Slice Split Sqrt Squeeze Sub Sum Tile "
    "Transpose Unsqueeze Where"
)


def _product_of_last(values: list[Array]) -> float:
    return float(np.prod(np.abs(values[-1].astype(np.float64))))


def _steps(values: list[Array]) -> float:
    start, limit, delta = (float(v.astype(np.float64).reshape(-1)[0]) for v in values)
    return abs((limit - start) / delta) if delta else 0.0


# Elements of the output, for operators that make more than they take.
_GROWTH: Mapping[str, Callable[[list[Array]], float]] = {
    "ConstantOfShape": _product_of_last,
    "Expand": lambda values: _product_of_last(values) * max(1, values[0].size),
    "Range": _steps,
    "Tile": lambda values: _product_of_last(values) * values[0].size,
}


def known_values(graph: onnx.GraphProto, types: Mapping[str, Tensor], opset: int) -> dict[str, Array]:
    """Every small tensor whose value follows from constants and known shapes, by name; constants of the file included."""
    found: dict[str, Array] = {}
    for tensor in graph.initializer:
        if prod(tensor.dims) <= LARGEST_VALUE and has_payload(tensor):
            with contextlib.suppress(Exception):  # a damaged tensor: what depends on it stays unknown
                found[tensor.name] = numpy_helper.to_array(tensor)
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or not node.output:
            continue
        if node.op_type in ("Shape", "Size"):
            seen = types.get(node.input[0]) if node.input else None
            if seen is not None:
                found[node.output[0]] = _shape_or_size(node, seen.shape)
        elif node.op_type == "Constant" or node.op_type in _ARITHMETIC:
            _evaluate(found, node, opset)
    return found


def _shape_or_size(node: onnx.NodeProto, shape: tuple[int, ...]) -> Array:
    if node.op_type == "Size":
        return np.array(prod(shape), np.int64)
    bounds = {a.name: int(a.i) for a in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)


def _evaluate(found: dict[str, Array], node: onnx.NodeProto, opset: int) -> None:
    """Add the outputs of `node` if its inputs are known and small, and it can be evaluated."""
    names = [name for name in node.input if name]
    if not all(name in found for name in names) or (node.op_type != "Constant" and not names):
        return
    values = [found[name] for name in names]
    grown = _GROWTH.get(node.op_type)
    try:
        if grown is not None and grown(values) > LARGEST_VALUE:
            return
        if sum(value.size for value in values) > LARGEST_VALUE:
            return
        results = ReferenceEvaluator(node, opsets={"": opset}).run(None, dict(zip(names, values, strict=True)))
    except Exception:  # noqa: BLE001  # the reference implementation raises whatever numpy or it meets; then it stays unknown
        return
    for name, result in zip(node.output, results, strict=False):
        if isinstance(result, np.ndarray | np.generic) and result.size <= LARGEST_VALUE:
            found[name] = np.asarray(result)
