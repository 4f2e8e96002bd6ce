"""Finds the tables that an integer input of a graph indexes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from math import prod

import onnx
from onnx import numpy_helper

from pinchpoint.domain.operator import Tensor
from pinchpoint.flop_counts import kinds

# Operators whose output holds the values of their first input, or of any, elsewhere or otherwise typed.
_PASSES = kinds(
    "Cast Reshape Squeeze Unsqueeze Flatten Identity Slice Split Transpose Expand Tile Gather GatherElements GatherND "
    "CastLike Dropout"
)
_PASSES_ANY = frozenset({"Concat", "Where"})

# Contrib operators with (position of the indices, position of their table).
_EMBEDDINGS = {"EmbedLayerNormalization": ((0, 2), (1, 4)), "QEmbedLayerNormalization": ((0, 2), (1, 4))}


def table_rows(graph: onnx.GraphProto, name: str, types: Mapping[str, Tensor]) -> int | None:
    """Rows of the smallest table that the values of input `name` index, unchanged; None if they index none.

    The classes of a OneHot count as rows. Arithmetic on the indices ends the search, and so do tables of unknown size.
    Sub-graphs are not looked into.
    """
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for read in set(node.input):
            readers[read].append(node)
    depths = {tensor.name: _integers(tensor) for tensor in graph.initializer if prod(tensor.dims) == 1}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            depths.update((node.output[0], _integers(a.t)) for a in node.attribute if a.name == "value")
    found: list[int] = []
    waiting, seen = [name], {name}
    while waiting:
        value = waiting.pop()
        for node in readers[value]:
            found.extend(_indexed(node, value, types, depths))
            first = bool(node.input) and node.input[0] == value and node.op_type in _PASSES
            later = node.op_type in _PASSES_ANY and value in node.input[node.op_type == "Where" :]
            passed = [out for out in node.output if out not in seen] if first or later else []
            waiting.extend(passed)
            seen.update(passed)
    return min(found, default=None)


def _integers(tensor: onnx.TensorProto) -> list[int]:
    """The values of an integer tensor; none for others, and for damaged ones."""
    try:
        return [value for value in numpy_helper.to_array(tensor).ravel().tolist() if isinstance(value, int)]
    except Exception:  # noqa: BLE001  # it raises whatever numpy meets
        return []


def _indexed(
    node: onnx.NodeProto, value: str, types: Mapping[str, Tensor], depths: Mapping[str, list[int]]
) -> Iterator[int]:
    """Rows of the tables that `node` looks `value` up in."""
    pairs = _EMBEDDINGS.get(node.op_type, ())
    for index, table in pairs:
        if len(node.input) > table and node.input[index] == value and node.input[table] in types:
            yield types[node.input[table]].shape[0]
    if node.op_type == "OneHot" and len(node.input) > 1 and node.input[0] == value:
        yield from depths.get(node.input[1], ())
    is_index = len(node.input) > 1 and node.input[1] == value and node.input[0] in types
    shape = types[node.input[0]].shape if is_index else ()
    if not shape:
        return
    axis = next((int(a.i) for a in node.attribute if a.name in ("axis", "gather_axis")), 0)
    if node.op_type in ("Gather", "GatherElements", "GatherBlockQuantized") and -len(shape) <= axis < len(shape):
        yield shape[axis]
    elif node.op_type in ("GatherND", "TorchEmbedding"):
        yield shape[0]
