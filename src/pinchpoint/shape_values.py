"""Values that follow from shapes: what a graph computes from the sizes of its inputs before any data are looked at.

Exporters write `x[:, :n]` or `view(b, n, h, -1)` as chains of Shape, Gather, Slice and arithmetic on small tensors. Once
the free dimensions are bound these are constants, and shape inference needs them. The operators are evaluated by onnx's
reference implementation, in numpy, one at a time, on tensors of bounded size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator

from pinchpoint.flop_counts import kinds

Array = npt.NDArray[np.generic]

LARGEST_VALUE = 1 << 17  # elements: the positions of the longest contexts

_ARITHMETIC = kinds(
    "Abs Add And Cast Ceil Compress Concat Constant ConstantOfShape CumSum Div Equal Expand Flatten Floor Gather "
    "GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg NonZero Not Or Pow "
    "Range ReduceMax ReduceMin ReduceProd ReduceSum Reshape Round ScatterElements ScatterND Sign Slice Split Sqrt "
    "Squeeze Sub Sum Tile Transpose Unsqueeze Where"
)


def _product_of_last(values: Sequence[Array]) -> float:
    return float(np.prod(np.abs(values[-1].astype(np.float64))))


def _steps(values: Sequence[Array]) -> float:
    start, limit, delta = (float(v.astype(np.float64).reshape(-1)[0]) for v in values)
    return abs((limit - start) / delta) if delta else 0.0


def _broadcast(values: Sequence[Array]) -> float:
    return float(prod(max(1, v.size) for v in values))


# At most so many elements of output, for operators that can make more than they take.
_GROWTH: Mapping[str, Callable[[Sequence[Array]], float]] = {
    "ConstantOfShape": _product_of_last,
    "Expand": lambda values: _product_of_last(values) * max(1, values[0].size),
    "Range": _steps,
    "Tile": lambda values: _product_of_last(values) * values[0].size,
    **dict.fromkeys(kinds("Gather GatherND GatherElements"), _broadcast),
    **dict.fromkeys(kinds("Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mod Mul"), _broadcast),
    **dict.fromkeys(kinds("Or Pow Sub Sum Where"), _broadcast),
}


def is_small(shape: Sequence[int]) -> bool:
    """Whether a tensor of this shape is worth its value."""
    return 0 <= prod(shape) <= LARGEST_VALUE


def evaluate(found: dict[str, Array], node: onnx.NodeProto, shape: tuple[int, ...] | None, opset: int) -> None:
    """Add the values of `node`'s outputs to `found`, where its inputs are in there and all are small.

    `shape` is that of its first input, None if unknown. What cannot be evaluated is left out: damaged nodes, and
    operators that are not arithmetic on shapes.
    """
    if node.domain not in ("", "ai.onnx") or not node.output:
        return
    if node.op_type in ("Shape", "Size"):
        if shape is not None:
            found[node.output[0]] = _shape_or_size(node, shape)
        return
    names = [name for name in node.input if name]
    if node.op_type not in _ARITHMETIC or not all(name in found for name in names):
        return
    values = [found[name] for name in names]
    if any(value.dtype.kind not in "biuf" for value in values):
        return
    try:
        if _GROWTH.get(node.op_type, _total)(values) > LARGEST_VALUE and not _same_size(node, values):
            return
        results = ReferenceEvaluator(node, opsets={"": opset}).run(None, dict(zip(names, values, strict=True)))
    except Exception:  # noqa: BLE001  # the reference implementation raises whatever it meets
        return
    for name, result in zip(node.output, results, strict=False):
        if name and isinstance(result, np.ndarray | np.generic) and result.size <= LARGEST_VALUE:
            found[name] = np.asarray(result)


def _total(values: Sequence[Array]) -> float:
    return float(sum(value.size for value in values))


def _same_size(node: onnx.NodeProto, values: Sequence[Array]) -> bool:
    """Whether an operator that broadcasts has nothing to broadcast."""
    return (
        _GROWTH.get(node.op_type) is _broadcast and len({v.shape for v in values}) == 1 and "Gather" not in node.op_type
    )


def _shape_or_size(node: onnx.NodeProto, shape: tuple[int, ...]) -> Array:
    if node.op_type == "Size":
        return np.array(prod(shape), np.int64)
    bounds = {a.name: int(a.i) for a in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)
