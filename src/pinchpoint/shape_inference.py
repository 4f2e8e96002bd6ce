"""Types of a graph's tensors, by onnx's shape inference, for sizes that the free dimensions are bound to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import numpy_helper

from pinchpoint.contrib_shapes import stand_ins
from pinchpoint.domain.operator import Tensor
from pinchpoint.errors import BadInput
from pinchpoint.model_file import dim_name, dtype_name, has_payload, opset_of, tensor_type
from pinchpoint.shape_values import known_values

CHOOSE = "Choose other sizes for the free dimensions"
FREE_INITIALIZERS = 4  # the first IR version whose initializers need not be inputs
ROUNDS = 64  # each settles shapes that hang on values that hang on shapes; real models need one or two


def inferred_types(
    path: Path, model: onnx.ModelProto, sizes: Mapping[str, int], constants: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The types of all tensors of the main graph whose shapes are known once the free dimensions are bound.

    Raises BadInput where the shapes contradict each other, at these sizes or at any.
    """
    types, conflict = _types(_bound_copy(model, sizes, constants), constants)
    if conflict is None:
        return types
    if sizes and _types(_bound_copy(model, {}, constants), constants)[1] is None:
        raise BadInput(what=f"does not fit {chosen(sizes)}: {conflict}", where=str(path), todo=CHOOSE)
    what = f"the model's shapes contradict each other: {conflict}"
    raise BadInput(what=what, where=str(path), todo="Export it again")


def chosen(sizes: Mapping[str, int]) -> str:
    """The sizes in words."""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _types(copy: onnx.ModelProto, constants: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str | None]:
    """Infer, settle the values that follow from the shapes, and infer again until nothing more becomes known."""
    settled = 0
    types: dict[str, Tensor] = {}
    for _ in range(ROUNDS):
        inferred, conflict = _inferred(copy)
        types = dict(constants)
        for item in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
            tensor = _known(item)
            if tensor is not None:
                types.setdefault(item.name, tensor)
        for tensor in copy.graph.initializer:
            types.setdefault(tensor.name, tensor_type(tensor))
        complete = all(node.output[0] in types for node in copy.graph.node if node.output and node.output[0])
        if conflict or complete:
            return types, conflict
        values = known_values(copy.graph, types, opset_of(copy))
        if len(values) <= settled:
            break
        settled = len(values)
        nodes = [node for node in copy.graph.node if not all(name in values for name in node.output)]
        held = {tensor.name for tensor in copy.graph.initializer}
        del copy.graph.node[:]
        copy.graph.node.extend(nodes)
        copy.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in values.items() if n not in held)
    return types, None


def _known(item: onnx.ValueInfoProto) -> Tensor | None:
    if not item.type.HasField("tensor_type") or not item.type.tensor_type.HasField("shape"):
        return None
    dims = item.type.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return Tensor(dtype_name(item.type.tensor_type.elem_type), tuple(int(dim.dim_value) for dim in dims))


def _bound_copy(model: onnx.ModelProto, sizes: Mapping[str, int], constants: Mapping[str, Tensor]) -> onnx.ModelProto:
    """The model for inference: inputs bound, no stale annotations, constants without payload typed as inputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = max(copy.ir_version, FREE_INITIALIZERS)
    graph = copy.graph
    given = {tensor.name for tensor in graph.initializer}
    for item in (i for i in graph.input if i.name not in given and i.type.HasField("tensor_type")):
        for axis, dim in enumerate(item.type.tensor_type.shape.dim):
            name = dim_name(item.name, axis, dim)
            if isinstance(name, str) and name in sizes:
                dim.dim_value = sizes[name]
    del graph.value_info[:]
    for output in graph.output:
        output.ClearField("type")
    _type_only(graph)
    shapes = {name: tensor.shape for name, tensor in constants.items()}
    nodes = [stand_in for node in graph.node for stand_in in stand_ins(node, shapes)]
    del graph.node[:]
    graph.node.extend(nodes)
    known = {imported.domain for imported in copy.opset_import}
    for domain in sorted({node.domain for node in graph.node} - known):
        copy.opset_import.add(domain=domain, version=1)
    return copy


def _type_only(graph: onnx.GraphProto) -> None:
    """Replace initializers and Constant nodes without their payload by inputs of the same type."""
    empty = [t for t in graph.initializer if not has_payload(t)]
    full = [t for t in graph.initializer if has_payload(t)]
    nodes = []
    for node in graph.node:
        values = [a.t for a in node.attribute if a.name == "value" and node.op_type == "Constant"]
        held = [tensor for tensor in values if node.output and not has_payload(tensor)]
        for tensor in held:
            tensor.name = node.output[0]
            empty.append(tensor)
        nodes.extend([] if held else [node])
    declared = {item.name for item in graph.input}
    typed = [onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in empty if t.name not in declared]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(full)
    graph.node.extend(nodes)
    graph.input.extend(typed)


def _inferred(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str | None]:
    """The model with inferred shapes, and the contradiction that inference ran into, if any.

    Complaints about types are none: they follow from operators that onnx does not know.
    """
    infer = onnx.shape_inference.infer_shapes
    try:
        return infer(model, strict_mode=True, data_prop=True), None
    except Exception as error:  # noqa: BLE001  # onnx raises its own error, RuntimeError, ValueError, DecodeError...
        words = str(error)
    _, _, tail = words.partition("(op_type:")
    kind, _, reason = tail.partition("[ShapeInferenceError]")
    name = kind.partition(")")[0].replace(", node name:", "")
    conflict = f"{name}: {reason}" if reason and "TypeInfer" not in tail else None
    for data_prop in (True, False):
        try:
            return infer(model, strict_mode=False, data_prop=data_prop), conflict
        except Exception:  # noqa: BLE001, S112  # as above; without any inference only constants have shapes
            continue
    return model, conflict
