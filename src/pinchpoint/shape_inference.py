"""Types of a graph's tensors for sizes that the free dimensions are bound to: one walk over the nodes.

Each node's outputs are inferred by onnx (`infer_node_outputs`), and the small values that follow from shapes are computed
on the way (`shape_values`). onnx's own propagation of values through a whole model is not used: it knows too few
operators, and a graph can make it allocate without bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnx.shape_inference
from onnx import helper, numpy_helper

from pinchpoint.contrib_shapes import stand_ins
from pinchpoint.domain.operator import Tensor
from pinchpoint.errors import BadInput
from pinchpoint.model_file import dim_name, dtype_name, has_payload, opset_of, subgraphs
from pinchpoint.shape_values import Array, evaluate, is_small

CHOOSE = "Choose other sizes for the free dimensions"
LARGEST_SHAPE = 512  # elements of a tensor that says a shape, axes, pads, scales or splits
# Stand-ins that know floats only, and may stand for operators on quantised numbers.
_FLOAT_KINDS = frozenset({"Add", "AveragePool", "Einsum", "GlobalAveragePool", "MatMul"})
_WINDOW_KINDS = frozenset({"Conv", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool"})
OLDEST_OPSET = 7  # older operators have no inference of their own; their successors infer the same


def inferred_types(
    path: Path, model: onnx.ModelProto, sizes: Mapping[str, int], constants: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The types of all tensors of the main graph whose shapes are known once the free dimensions are bound.

    Nodes are taken in the file's order, which ONNX wants to be a topological one. Raises BadInput where the shapes
    contradict each other, at these sizes or at any.
    """
    walk = _walked(model, sizes, constants)
    if walk.conflict:
        if sizes and not _walked(model, {}, constants).conflict:
            raise BadInput(what=f"does not fit {chosen(sizes)}: {walk.conflict}", where=str(path), todo=CHOOSE)
        what = f"the model's shapes contradict each other: {walk.conflict}"
        raise BadInput(what=what, where=str(path), todo="Export it again")
    known = {name: _known(proto) for name, proto in walk.types.items()}
    return {name: tensor for name, tensor in known.items() if tensor is not None} | dict(constants)


def chosen(sizes: Mapping[str, int]) -> str:
    """The sizes in words."""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


@dataclass(slots=True)
class _Walk:
    """What is known so far: types (also partial ones), small values, and the first contradiction."""

    opsets: dict[str, int]
    types: dict[str, onnx.TypeProto] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    conflict: str = ""

    def take(self, node: onnx.NodeProto, original: bool) -> None:
        """Add what follows of the node's outputs."""
        try:
            self.types.update(self._inferred(node, original))
        except onnx.shape_inference.InferenceError as error:
            words = str(error)
            if original and not self.conflict and "[ShapeInferenceError]" in words and "TypeInfer" not in words:
                reason = words.rpartition("[ShapeInferenceError]")[2].strip()
                self.conflict = f"{node.op_type} {node.name!r}: {reason}"
        except Exception:  # noqa: BLE001, S110  # an operator that onnx does not know, or one without a needed input
            pass
        shape = _known(self.types.get(node.input[0])) if node.input else None
        if original and shape and not self.conflict:
            self.conflict = _too_small(node, shape.shape)
        evaluate(self.values, node, shape.shape if shape else None, self.opsets.get("", OLDEST_OPSET))
        for name in node.output:
            if name in self.values and _known(self.types.get(name)) is None:
                value = self.values[name]
                kind = helper.np_dtype_to_tensor_dtype(value.dtype)
                self.types[name] = helper.make_tensor_type_proto(kind, value.shape)

    def _inferred(self, node: onnx.NodeProto, original: bool) -> dict[str, onnx.TypeProto]:
        domain = "" if node.domain == "ai.onnx" else node.domain
        schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=self.opsets.get(domain, 1), domain=domain)
        if not schema.has_type_and_shape_inference_function:
            schema = onnx.defs.get_schema(node.op_type, domain=domain)
        names = self.types if subgraphs(node) else [name for name in node.input if name]
        small = [n for n in set(node.input) & self.values.keys() if self.values[n].size <= LARGEST_SHAPE]
        data = {name: numpy_helper.from_array(self.values[name], name) for name in small}
        opsets = [helper.make_opsetid(imported, version) for imported, version in self.opsets.items()]
        types = {name: self.types[name] for name in names}
        floats = not original and node.op_type in _FLOAT_KINDS
        given = {name: _retyped(proto, onnx.TensorProto.FLOAT) for name, proto in types.items()} if floats else types
        found = onnx.shape_inference.infer_node_outputs(schema, node, given, data, opset_imports=opsets)
        if floats:
            as_first = self.types[node.input[0]].tensor_type.elem_type
            return {name: _retyped(proto, as_first) for name, proto in found.items() if name}
        return {name: proto for name, proto in found.items() if name}


def _too_small(node: onnx.NodeProto, shape: tuple[int, ...]) -> str:
    """In words, where a window is larger than its padded input, which onnx lets pass; else an empty text."""
    lists = {a.name: list(a.ints) for a in node.attribute}
    window, automatic = (
        lists.get("kernel_shape"),
        any(a.name == "auto_pad" and a.s != b"NOTSET" for a in node.attribute),
    )
    if node.op_type not in _WINDOW_KINDS or not window or automatic or len(shape) != len(window) + 2:
        return ""
    pads = lists.get("pads") or [0] * (2 * len(window))
    spread = lists.get("dilations") or [1] * len(window)
    for size, *rest in zip(shape[2:], window, spread, pads, pads[len(window) :], strict=False):
        kernel, dilation, before, after = rest
        if size + before + after < (kernel - 1) * dilation + 1:
            return f"{node.op_type} {node.name!r}: its window of {kernel} is larger than its input of {size}"
    return ""


def _retyped(proto: onnx.TypeProto, elem_type: int) -> onnx.TypeProto:
    changed = onnx.TypeProto()
    changed.CopyFrom(proto)
    changed.tensor_type.elem_type = elem_type
    return changed


def _walked(model: onnx.ModelProto, sizes: Mapping[str, int], constants: Mapping[str, Tensor]) -> _Walk:
    newest = onnx.defs.onnx_opset_version()
    opsets = {o.domain: int(o.version) for o in model.opset_import if o.domain != "ai.onnx"}
    walk = _Walk(opsets | {"": min(max(opset_of(model), OLDEST_OPSET), newest)})
    for item in model.graph.input:
        walk.types[item.name] = _bound(item, sizes)
    for name, tensor in constants.items():
        kind = onnx.TensorProto.DataType.Value(tensor.dtype.upper()) if not tensor.dtype.startswith("type") else 0
        walk.types[name] = helper.make_tensor_type_proto(kind, tensor.shape)
    for tensor in model.graph.initializer:
        if is_small(tensor.dims) and has_payload(tensor):
            evaluate(walk.values, helper.make_node("Constant", [], [tensor.name], value=tensor), None, OLDEST_OPSET)
    shapes = {name: tensor.shape for name, tensor in constants.items()}
    for node in model.graph.node:
        if node.op_type == "Constant" and any(a.name == "value" and not has_payload(a.t) for a in node.attribute):
            continue
        for stand_in in stand_ins(node, shapes):
            walk.take(stand_in, original=stand_in is node)
    return walk


def _bound(item: onnx.ValueInfoProto, sizes: Mapping[str, int]) -> onnx.TypeProto:
    proto = onnx.TypeProto()
    proto.CopyFrom(item.type)
    if proto.HasField("tensor_type"):
        for axis, dim in enumerate(proto.tensor_type.shape.dim):
            name = dim_name(item.name, axis, dim)
            if isinstance(name, str):
                dim.ClearField("dim_value")
                if name in sizes:
                    dim.dim_value = sizes[name]
    return proto


def _known(proto: onnx.TypeProto | None) -> Tensor | None:
    """The type as a Tensor, if it is one of a fully known shape."""
    if proto is None or not proto.HasField("tensor_type") or not proto.tensor_type.HasField("shape"):
        return None
    dims = proto.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return Tensor(dtype_name(proto.tensor_type.elem_type), tuple(int(dim.dim_value) for dim in dims))
