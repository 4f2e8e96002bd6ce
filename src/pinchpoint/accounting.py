"""What one execution of an operator must at least cost: FLOPs, bytes and table rows, from shapes alone.

Used on a model file (shapes by inference) and on ONNX Runtime's profile (shapes as executed). The profile shows neither
attributes nor domains, and it leaves out weights that the runtime packed into a layout of its own (Gemm, ConvTranspose,
QLinearConv, LSTM and others): what is missing is deduced from the remaining shapes, or comes from the model file by
`cost_of_profiled`. Bytes are lower bounds: what is used once is read once, and nothing else moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from pinchpoint.domain.operator import BITS, Attribute, Cost, Node, Tensor
from pinchpoint.flop_counts import (
    CONVOLUTIONS,
    GATES,
    INT8_KINDS,
    PRODUCTS,
    VIEWS,
    Call,
    flops_of,
    inner_size,
    is_projecting,
    kernel_of,
    packed_kernel,
    projected_width,
    recurrent_weights,
)

DOMAINS = frozenset({"", "ai.onnx", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"})

# A table of at least this many bytes is looked up outside of a core's own cache (L2 of server cores: 1 to 2 MiB).
LARGE_TABLE_BYTES = 1 << 20

ACCURACY_INT8 = 4  # MatMulNBits' attribute accuracy_level: 1 fp32, 2 fp16, 3 bf16, 4 int8 (ContribOperators.md)

ARITHMETIC = {
    "float": "float32",
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "double": "float64",
    "float64": "float64",
}


@dataclass(frozen=True, slots=True)
class _Traffic:
    weight: float = 0.0
    activation: float = 0.0
    lookups: float = 0.0
    lookup: float = 0.0


def cost_of(
    kind: str,
    domain: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constants: Sequence[bool],
    attributes: Mapping[str, Attribute],
) -> Cost | None:
    """The compulsory cost of one execution; None where the kind is not accounted or the shapes do not settle it.

    `inputs` are those present, in order, without left-out optional ones. `constants` says of each input whether it is a
    parameter; missing entries count as activations. `attributes` may be empty. An empty `domain` means the standard one
    or, as in a profile, that it is not known. FLOP conventions: `pinchpoint.flop_counts`.
    """
    if domain not in DOMAINS or not outputs or any(t.dtype not in BITS for t in (*inputs, *outputs)):
        return None
    flags = tuple(constants[: len(inputs)]) + (False,) * (len(inputs) - len(constants))
    call = Call(kind, tuple(inputs), tuple(outputs), flags, attributes)
    try:
        flops = flops_of(call)
        traffic = None if flops is None else _TRAFFIC.get(kind, _read_all_write_all)(call)
    except (IndexError, ZeroDivisionError):  # shapes of a rank that the operator cannot have
        return None
    if flops is None or traffic is None:
        return None
    peak = _arithmetic(call) if flops else "none"
    judged = float(flops) if peak != "none" else 0.0
    return Cost(judged, traffic.weight, traffic.activation, traffic.lookups, traffic.lookup, peak)


def cost_of_profiled(node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Cost | None:
    """The cost of a profiled execution of `node`: shapes as executed, with attributes and packed weights from the file.

    `inputs` and `outputs` are what the profile's event shows. None as for `cost_of`, or if the two do not fit together.
    """
    complete = _with_packed(node.inputs, inputs)
    if complete is None:
        return None
    constants = tuple(item is not None for item in node.inputs)
    return cost_of(node.kind, node.domain, complete, outputs, constants, node.attributes)


def _with_packed(known: Sequence[Tensor | None], seen: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    """Every input in order: computed ones as seen, constants as seen or, where packed away, as the file has them."""
    spare = len(seen) - sum(item is None for item in known)
    complete: list[Tensor] = []
    left = list(seen)
    for item in known:
        if item is None or (spare > 0 and left and left[0].shape == item.shape):
            if not left:
                return None
            spare -= item is not None
            complete.append(left.pop(0))
        else:
            complete.append(item)
    return tuple(complete) if not left else None


def _arithmetic(call: Call) -> str:
    """The peak that judges the operator's FLOPs: that of its data type; int8 for integer products."""
    if call.kind in INT8_KINDS:
        return "int8"
    if call.kind == "MatMulNBits" and call.integer("accuracy_level") == ACCURACY_INT8:
        return "int8"
    found = [ARITHMETIC[t.dtype] for t in (*call.outputs, *call.inputs) if t.dtype in ARITHMETIC]
    return found[0] if found else "none"


# --- bytes ---------------------------------------------------------------------------------------------------------
def _read_all_write_all(call: Call) -> _Traffic:
    weight = sum(t.nbytes for t, constant in zip(call.inputs, call.constants, strict=True) if constant)
    read = sum(t.nbytes for t, constant in zip(call.inputs, call.constants, strict=True) if not constant)
    return _Traffic(weight, read + _written(call))


def _written(call: Call) -> float:
    return float(sum(t.nbytes for t in call.outputs))


def _nothing(_call: Call) -> _Traffic:
    return _Traffic()


def _only_written(call: Call) -> _Traffic:
    return _Traffic(activation=_written(call))


def _with_hidden_weights(hidden: Callable[[Call], float]) -> Callable[[Call], _Traffic]:
    """As usual, and the bytes of weights that the runtime packed away."""

    def traffic(call: Call) -> _Traffic:
        visible = _read_all_write_all(call)
        return replace(visible, weight=visible.weight + hidden(call))

    return traffic


def _item_bytes(call: Call) -> float:
    """Bytes of a weight that is not to be seen: 1 for integer kinds, else as the data's."""
    return 1.0 if call.kind in INT8_KINDS else BITS[call.inputs[0].dtype] / 8


def _hidden_product(call: Call) -> float:
    inner, columns = inner_size(call) or 0, call.out.shape[-1] if call.out.shape else 1
    if call.kind in ("MatMulNBits", "MatMulBnb4", "MatMulFpQ4"):
        held = inner * columns * call.integer("bits", 4) / 8
        seen = any(t.nbytes * 2 >= held for t in call.inputs[1:])
        return 0.0 if seen else held
    if call.kind == "MatMul" and len(call.inputs) > 1:
        return 0.0
    want = sorted((inner, columns))
    if any(sorted(t.shape[-2:]) == want for t in call.inputs[1:] if len(t.shape) > 1):
        return 0.0
    return inner * columns * _item_bytes(call)


def _hidden_kernel(call: Call) -> float:
    packed = None if kernel_of(call) else packed_kernel(call)
    return packed[1] * _item_bytes(call) if packed else 0.0


def _hidden_recurrent(call: Call) -> float:
    gates = GATES[call.kind] * call.out.shape[-1]
    seen = sum(t.elements for t in call.inputs[1:] if len(t.shape) == 3 and gates in t.shape[1:])
    return max(0, recurrent_weights(call) - seen) * _item_bytes(call)


def _hidden_projection(call: Call) -> float:
    if not is_projecting(call):
        return 0.0
    width = call.inputs[0].shape[-1]
    seen = any(len(t.shape) == 2 and t.shape[0] == width for t in call.inputs[1:])
    return 0.0 if seen else width * projected_width(call) * _item_bytes(call)


# --- parts of a tensor ---------------------------------------------------------------------------------------------
def _gather(call: Call) -> _Traffic:
    """Rows at addresses that the data decide are lookups; constant positions read just what they take."""
    data, index = call.inputs[0], call.inputs[1]
    table, fixed = call.constants[0], call.constants[1]
    rest = _written(call) + (0.0 if fixed else index.nbytes)
    taken = call.out.elements * BITS[data.dtype] / 8
    if not fixed and (table or data.nbytes >= LARGE_TABLE_BYTES):
        small = sum(t.nbytes for t in call.inputs[2:]) * min(1.0, call.out.elements / max(1, data.elements))
        return _Traffic(small, rest, _rows(call), taken)
    return _Traffic(taken if table else 0.0, rest + (0.0 if table else taken))


def _rows(call: Call) -> float:
    data, index = call.inputs[0].shape, call.inputs[1]
    if call.kind == "GatherElements":
        return float(index.elements)
    if call.kind == "GatherND":
        return index.elements / max(1, index.shape[-1])
    axis = call.attributes.get("axis", call.attributes.get("gather_axis"))
    if not isinstance(axis, int):
        fits = (a for a in range(len(data)) if data[:a] + index.shape + data[a + 1 :] == call.out.shape)
        axis = next(fits, 0)
    return float(prod(data[: axis % len(data)]) * index.elements)


def _selected(call: Call) -> _Traffic:
    """Slice, Split and their like read only what they take; further inputs are positions."""
    others = sum(t.nbytes for t, constant in zip(call.inputs[1:], call.constants[1:], strict=True) if not constant)
    taken = min(_written(call), float(call.inputs[0].nbytes))
    if call.constants[0]:
        return _Traffic(taken, _written(call) + others)
    return _Traffic(0.0, taken + _written(call) + others)


def _embedding(call: Call) -> _Traffic:
    """Word rows are lookups; positions are the first rows in order, segments a row or two."""
    ids = call.inputs[0]
    tables = [t for t in call.inputs if len(t.shape) == 2 and t.shape[1] == call.out.shape[-1] and t is not ids]
    if not tables or len(ids.shape) != 2:
        return _read_all_write_all(call)
    row = tables[0].nbytes / tables[0].shape[0]
    others = sum(t.nbytes * min(1.0, ids.shape[1] / t.shape[0]) for t in tables[1:])
    vectors = sum(t.nbytes for t in call.inputs if len(t.shape) == 1)
    integers = sum(t.nbytes for t in call.inputs if t.dtype.startswith("int") and len(t.shape) == 2)
    return _Traffic(others + vectors, _written(call) + integers, float(ids.elements), ids.elements * row)


def _rotary(call: Call) -> _Traffic:
    """Of the caches of cosines and sines, [positions, size / 2], only the rows of this request's positions are read."""
    length = call.inputs[0].shape[2 if len(call.inputs[0].shape) == 4 else 1]
    weight = activation = 0.0
    for tensor, constant in zip(call.inputs, call.constants, strict=True):
        cache = len(tensor.shape) == 2 and tensor.dtype in ARITHMETIC
        read = tensor.nbytes * (min(1.0, length / max(1, tensor.shape[0])) if cache else 1.0)
        weight, activation = (weight + read, activation) if constant else (weight, activation + read)
    return _Traffic(weight, activation + _written(call))


_TRAFFIC: Mapping[str, Callable[[Call], _Traffic]] = {
    **dict.fromkeys(VIEWS, _nothing),
    **dict.fromkeys(("Shape", "Size", "ConstantOfShape", "EyeLike", "Range"), _only_written),
    **dict.fromkeys(("RandomNormalLike", "RandomUniformLike"), _only_written),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "GatherBlockQuantized"), _gather),
    **dict.fromkeys(("Slice", "Split", "Compress", "CenterCropPad", "Crop", "DynamicSlice", "Trilu"), _selected),
    **dict.fromkeys(("EmbedLayerNormalization", "QEmbedLayerNormalization"), _embedding),
    **dict.fromkeys(("RotaryEmbedding", "GroupQueryAttention"), _rotary),
    **dict.fromkeys(PRODUCTS, _with_hidden_weights(_hidden_product)),
    **dict.fromkeys(CONVOLUTIONS, _with_hidden_weights(_hidden_kernel)),
    **dict.fromkeys(GATES, _with_hidden_weights(_hidden_recurrent)),
    **dict.fromkeys(("Attention", "QAttention"), _with_hidden_weights(_hidden_projection)),
}
