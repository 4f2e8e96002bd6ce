"""Reads a model file as a `Graph`: shapes for chosen sizes, what each operator must cost, and what a request carries.

Weights are not read and nothing is executed (see `model_file`). Shapes come from onnx's inference with the free
dimensions bound; operators whose inputs are all constants are folded, as every runtime does when it loads the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import onnx.inliner

from pinchpoint.accounting import DOMAINS, cost_of
from pinchpoint.domain.operator import BITS, Attribute, Graph, GraphInput, GraphOperator, Node, Tensor
from pinchpoint.errors import BadInput
from pinchpoint.example_inputs import check_inputs, make_inputs
from pinchpoint.free_dims import UNKNOWN_RANK, bound_sizes, roles
from pinchpoint.index_tables import table_rows
from pinchpoint.model_file import (
    dim_name,
    dtype_name,
    graphs_of,
    load_structure,
    onnx_elements,
    opset_of,
    subgraphs,
    tensor_type,
)
from pinchpoint.shape_inference import CHOOSE, chosen, inferred_types

__all__ = ["check_inputs", "free_dims", "make_inputs", "read_graph", "read_inputs", "read_nodes"]

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
RANDOM = frozenset({"RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"})
NO_BINDINGS: Mapping[str, int] = {}


def read_graph(path: Path, bindings: Mapping[str, int] = NO_BINDINGS, batch: int = 1, length: int = 128) -> Graph:
    """The graph of the ONNX file at `path`, its free dimensions bound.

    `bindings` names free dimensions and their sizes; the others become `batch`, 224 (image height and width; 3 for
    channels) or `length` by their role, see `free_dims`. Raises BadInput in one line for a file that is no usable
    model, for an unknown or impossible binding, and for sizes at which the shapes contradict each other. What cannot be
    accounted is named in `unsupported` and is not an error: the runtime decides whether it can run it.
    """
    model = _inlined(load_structure(path))
    parameters, parameter_bytes = _parameters(model)
    inputs = _inputs(model)
    sizes = bound_sizes(str(path), inputs, bindings, batch, length)
    constants = _constants(model.graph)
    types = inferred_types(path, model, sizes, constants)
    generated = _fold(model.graph, types, constants)
    operators, unsupported = _operators(model.graph, types, constants)
    _check_sizes(path, operators, sizes)
    opset = opset_of(model)
    if opset > onnx.defs.onnx_opset_version():
        unsupported.add(f"opset {opset}")
    return Graph(
        inputs=_with_tables(inputs, model.graph, types),
        outputs=tuple(output.name for output in model.graph.output),
        operators=operators,
        parameters=parameters + sum(t.elements for t in generated),
        parameter_bytes=parameter_bytes + sum(t.nbytes for t in generated),
        flops=sum(operator.cost.flops for operator in operators),
        opset=opset,
        unsupported=tuple(sorted(unsupported)),
        dims=tuple(sizes.items()),
    )


def read_inputs(path: Path) -> tuple[GraphInput, ...]:
    """What a request must carry, without binding anything; BadInput as for `read_graph`."""
    model = _inlined(load_structure(path))
    return _with_tables(_inputs(model), model.graph, _constants(model.graph))


def free_dims(source: Path | Graph) -> tuple[tuple[str, str], ...]:
    """The free dimensions in order, each with its role: `batch`, `length` or `image`."""
    return tuple(roles(source.inputs if isinstance(source, Graph) else read_inputs(source)).items())


def read_nodes(path: Path) -> Mapping[str, Node]:
    """The named nodes of a model file, such as one that ONNX Runtime saved after optimising, by name; of sub-graphs too.

    With `accounting.cost_of_profiled` they tell what a profile's events leave out: attributes and packed weights.
    """
    model = load_structure(path)
    found: dict[str, Node] = {}
    constants: dict[str, Tensor] = {}
    for graph in graphs_of(model):
        constants |= _constants(graph)
        for node in graph.node:
            inputs = tuple(constants.get(name) for name in node.input if name)
            found[node.name] = Node(node.name, node.op_type, node.domain, inputs, _attributes(node))
    found.pop("", None)
    return found


# --- the file's own facts ------------------------------------------------------------------------------------------
def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own."""
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception:  # noqa: BLE001  # the inliner raises what its C++ side happens to; calls then stay unsupported
        return model


def _inputs(model: onnx.ModelProto) -> tuple[GraphInput, ...]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return tuple(_input(item) for item in model.graph.input if item.name not in constants)


def _input(item: onnx.ValueInfoProto) -> GraphInput:
    """A non-tensor has its kind as dtype; a tensor of unknown rank has the shape (UNKNOWN_RANK,)."""
    kind = item.type.WhichOneof("value")
    if kind != "tensor_type":
        return GraphInput(item.name, str(kind or "untyped").removesuffix("_type"), (UNKNOWN_RANK,), None)
    tensor = item.type.tensor_type
    if not tensor.HasField("shape"):
        return GraphInput(item.name, dtype_name(tensor.elem_type), (UNKNOWN_RANK,), None)
    shape = tuple(dim_name(item.name, axis, dim) for axis, dim in enumerate(tensor.shape.dim))
    return GraphInput(item.name, dtype_name(tensor.elem_type), shape, None)


def _constants(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Types of the constants that the file holds: initializers and Constant nodes."""
    found = {tensor.name: tensor_type(tensor) for tensor in graph.initializer}
    for sparse in graph.sparse_initializer:
        found[sparse.values.name] = Tensor(dtype_name(sparse.values.data_type), tuple(sparse.dims))
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in DOMAINS and node.output:
            found.update((node.output[0], tensor) for tensor in _held(node))
    return found


def _held(node: onnx.NodeProto) -> Iterator[Tensor]:
    """The tensor of a Constant node."""
    for attribute in node.attribute:
        if attribute.name == "value":
            yield tensor_type(attribute.t)
        elif attribute.name == "sparse_value":
            yield Tensor(dtype_name(attribute.sparse_tensor.values.data_type), tuple(attribute.sparse_tensor.dims))
        elif attribute.name in ("value_float", "value_int"):
            yield Tensor("float" if attribute.name == "value_float" else "int64", ())
        elif attribute.name in ("value_floats", "value_ints"):
            count = len(attribute.floats) + len(attribute.ints)
            yield Tensor("float" if attribute.name == "value_floats" else "int64", (count,))


def _parameters(model: onnx.ModelProto) -> tuple[int, int]:
    """Elements and bytes of all constants, sub-graphs included; sparse ones as stored."""
    count = size = 0
    for graph in graphs_of(model):
        stored = [tensor_type(t) for t in graph.initializer]
        sparse = list(graph.sparse_initializer)
        for node in graph.node:
            if node.op_type == "Constant":
                sparse += [a.sparse_tensor for a in node.attribute if a.name == "sparse_value"]
                stored += [] if any(a.name == "sparse_value" for a in node.attribute) else _held(node)
        count += sum(t.elements for t in stored) + sum(onnx_elements(s.values) for s in sparse)
        stored += [tensor_type(part) for s in sparse for part in (s.values, s.indices)]
        size += sum(t.nbytes for t in stored if t.dtype in BITS)
    return count, size


# --- operators -----------------------------------------------------------------------------------------------------
def _fold(graph: onnx.GraphProto, types: dict[str, Tensor], constants: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Add what can be computed at load to `constants`; returns generated floats, which act as weights.

    A dequantised constant keeps its stored type, since a kernel need read no more than what is stored.
    """
    generated = []
    for node in graph.node:
        names = [name for name in node.input if name]
        if not names or not all(name in constants for name in names) or subgraphs(node):
            continue
        if node.op_type in RANDOM or node.domain not in DOMAINS:
            continue
        for name in node.output:
            if name in types:
                stored = types[name]
                if node.op_type == "DequantizeLinear":
                    stored = replace(stored, dtype=constants[names[0]].dtype)
                constants[name] = types[name] = stored
                if node.op_type == "ConstantOfShape" and stored.dtype in ("float", "float16", "bfloat16", "double"):
                    generated.append(stored)
    return tuple(generated)


def _operators(
    graph: onnx.GraphProto, types: Mapping[str, Tensor], constants: Mapping[str, Tensor]
) -> tuple[tuple[GraphOperator, ...], set[str]]:
    """The operators that run for each request, and the kinds of those that cannot be accounted."""
    found, unsupported = [], set()
    for index, node in enumerate(graph.node):
        outputs = [name for name in node.output if name]
        if node.op_type == "Constant" or (outputs and all(name in constants for name in outputs)):
            continue
        operator = _operator(node, index, types, constants)
        if operator is None:
            kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
            shaped = all(name in types for name in node.input if name)
            unsupported.add(kind if shaped or node.op_type in CONTROL_FLOW else f"{kind} of unknown shape")
        else:
            found.append(operator)
    return tuple(found), unsupported


def _operator(
    node: onnx.NodeProto, index: int, types: Mapping[str, Tensor], constants: Mapping[str, Tensor]
) -> GraphOperator | None:
    names = [name for name in node.input if name]
    inputs = tuple(types[name] for name in names if name in types)
    outputs = tuple(types[name] for name in node.output if name in types)
    if len(inputs) != len(names) or not outputs or not (node.output[0] in types or not node.output[0]):
        return None
    flags = tuple(name in constants for name in names)
    cost = cost_of(node.op_type, node.domain, inputs, outputs, flags, _attributes(node))
    if cost is None:
        return None
    return GraphOperator(node.name or f"{node.op_type}_{index}", node.op_type, cost, inputs, outputs)


def _attributes(node: onnx.NodeProto) -> dict[str, Attribute]:
    """Attributes that are numbers, texts or lists of integers."""
    found: dict[str, Attribute] = {}
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.INT:
            found[attribute.name] = int(attribute.i)
        elif attribute.type == onnx.AttributeProto.FLOAT:
            found[attribute.name] = float(attribute.f)
        elif attribute.type == onnx.AttributeProto.STRING:
            found[attribute.name] = attribute.s.decode(errors="replace")
        elif attribute.type == onnx.AttributeProto.INTS:
            found[attribute.name] = tuple(attribute.ints)
    return found


def _check_sizes(path: Path, operators: Sequence[GraphOperator], sizes: Mapping[str, int]) -> None:
    """What inference lets pass: windows larger than their image, and reshapes that change the number of elements."""
    for operator in operators:
        shrunk = any(size < 0 for tensor in operator.outputs for size in tensor.shape)
        changed = operator.kind == "Reshape" and operator.inputs[0].elements != operator.outputs[0].elements
        if shrunk or changed:
            seen = " to ".join(str(list(t.shape)) for t in (operator.inputs[0], operator.outputs[0]))
            what = f"does not fit {chosen(sizes) or 'its own shapes'}: {operator.kind} {operator.name!r} from {seen}"
            raise BadInput(what=what, where=str(path), todo=CHOOSE if sizes else "Export it again")


# --- inputs --------------------------------------------------------------------------------------------------------
def _with_tables(
    inputs: Sequence[GraphInput], graph: onnx.GraphProto, types: Mapping[str, Tensor]
) -> tuple[GraphInput, ...]:
    return tuple(
        replace(item, table_rows=table_rows(graph, item.name, types)) if "int" in item.dtype else item
        for item in inputs
    )
