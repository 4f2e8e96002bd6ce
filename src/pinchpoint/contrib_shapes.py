"""Contrib operators as standard ones of the same output shape, so that ONNX's shape inference can pass through them.

Models that ONNX Runtime or Optimum optimised or quantised hold operators of the domain `com.microsoft`, which the onnx
package does not know. The stand-ins serve inference alone: they compute something else.
Shapes: onnxruntime/docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx
from onnx import helper

from pinchpoint.flop_counts import kinds

Shapes = Mapping[str, tuple[int, ...]]
StandIns = Callable[[onnx.NodeProto, Shapes], "list[onnx.NodeProto]"]

CONTRIB = "com.microsoft"


def stand_ins(node: onnx.NodeProto, constants: Shapes) -> list[onnx.NodeProto]:
    """Standard nodes that give `node`'s first outputs their types; the node itself where nothing is known of it.

    `constants` are the shapes of the graph's constants by name.
    """
    rule = _RULES.get(node.op_type)
    known = rule is not None and (node.domain == CONTRIB or node.op_type in _STANDARD)
    if rule is None or not known or not node.output or not node.input:
        return [node]
    try:
        return rule(node, constants) or [node]
    except IndexError:  # fewer inputs than the operator must have
        return [node]


def _like_first(node: onnx.NodeProto, _constants: Shapes) -> list[onnx.NodeProto]:
    """Output 0, and output 3 of the Skip kinds (the sum), are as input 0."""
    kept = [node.output[i] for i in (0, 3) if i < len(node.output) and node.output[i]]
    return [helper.make_node("Identity", [node.input[0]], [name]) for name in kept]


def _like_query(node: onnx.NodeProto, constants: Shapes) -> list[onnx.NodeProto]:
    """Attention over separate queries, keys and values; packed ones are not known."""
    separate = len(node.input) > 1 and node.input[1]
    return _like_first(node, constants)[:1] if separate else []


def _renamed(kind: str, inputs: Sequence[int], keep: Sequence[str]) -> StandIns:
    """The standard operator `kind` on the chosen inputs with the attributes that it knows."""

    def rule(node: onnx.NodeProto, _constants: Shapes) -> list[onnx.NodeProto]:
        chosen = [node.input[i] for i in inputs if i < len(node.input) and node.input[i]]
        made = helper.make_node(kind, chosen, node.output[:1])
        made.attribute.extend(a for a in node.attribute if a.name in keep)
        return [made]

    return rule


def _product(first: int, second: int) -> StandIns:
    """A matrix product, by Einsum since that knows transposition and does not mind integer operands."""

    def rule(node: onnx.NodeProto, _constants: Shapes) -> list[onnx.NodeProto]:
        flags = {a.name: a.i for a in node.attribute}
        if flags.get("transBatchA") or flags.get("transBatchB"):
            return []
        if not flags.get("transA") and not flags.get("transB"):
            return [helper.make_node("MatMul", [node.input[first], node.input[second]], node.output[:1])]
        left = "...ki" if flags.get("transA") else "...ik"
        right = "...jk" if flags.get("transB") else "...kj"
        equation = f"{left},{right}->...ij"
        return [helper.make_node("Einsum", [node.input[first], node.input[second]], node.output[:1], equation=equation)]

    return rule


def _quantised_gemm(node: onnx.NodeProto, constants: Shapes) -> list[onnx.NodeProto]:
    """A product of inputs 0 and 3; in floats unless input 7 scales its output."""
    nodes = _product(0, 3)(node, constants)
    if len(node.input) > 7 and node.input[7]:
        return nodes
    made = f"{node.output[0]}/stand-in"
    nodes[-1].output[0] = made
    return [*nodes, _floats(made, node)]


def _projected(node: onnx.NodeProto, constants: Shapes) -> list[onnx.NodeProto]:
    """Attention and QAttention: [batch, length, width] to [batch, length, width of the values]."""
    wide = constants.get(node.input[1], ()) if len(node.input) > 1 else ()
    sizes = next((list(a.ints) for a in node.attribute if a.name == "qkv_hidden_sizes"), [])
    columns = sizes[-1] if sizes else (wide[1] // 3 if len(wide) == 2 else 0)
    return _times_constant(node, wide[0], columns) if columns else []


def _block_product(node: onnx.NodeProto, _constants: Shapes) -> list[onnx.NodeProto]:
    """Products with block-quantised weights, whose true shape is in the attributes."""
    sizes = {a.name: a.i for a in node.attribute}
    return _times_constant(node, sizes.get("K", 0), sizes.get("N", 0)) if sizes.get("N") else []


def _times_constant(node: onnx.NodeProto, inner: int, columns: int) -> list[onnx.NodeProto]:
    dims, made, product = (f"{node.output[0]}/{part}" for part in ("dims", "stand-in", "product"))
    shape = helper.make_tensor("", onnx.TensorProto.INT64, [2], [inner, columns])
    quantised = node.op_type == "QAttention"
    nodes = [
        helper.make_node("Constant", [], [dims], value=shape),
        helper.make_node("ConstantOfShape", [dims], [made]),
        helper.make_node("MatMul", [node.input[0], made], [product] if quantised else node.output[:1]),
    ]
    return [*nodes, _floats(product, node)] if quantised else nodes


def _floats(value: str, node: onnx.NodeProto) -> onnx.NodeProto:
    """`node`'s first output as `value` in floats."""
    return helper.make_node("Cast", [value], node.output[:1], to=onnx.TensorProto.FLOAT)


def _integer_product(node: onnx.NodeProto, _constants: Shapes) -> list[onnx.NodeProto]:
    made = f"{node.output[0]}/stand-in"
    return [helper.make_node("MatMulInteger", node.input[:2], [made]), _floats(made, node)]


def _embedded(node: onnx.NodeProto, _constants: Shapes) -> list[onnx.NodeProto]:
    """EmbedLayerNormalization: the rows of the word table, input 2, for the identifiers, input 0."""
    if node.op_type.startswith("Q"):
        made = f"{node.output[0]}/stand-in"
        return [helper.make_node("Gather", [node.input[2], node.input[0]], [made]), _floats(made, node)]
    return [helper.make_node("Gather", [node.input[2], node.input[0]], node.output[:1])]


def _joined(node: onnx.NodeProto, _constants: Shapes) -> list[onnx.NodeProto]:
    made = helper.make_node("Concat", node.input[2::3], node.output[:1])
    made.attribute.extend(a for a in node.attribute if a.name == "axis")
    return [made]


_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides")
# In the standard domain: internal ones of ONNX Runtime, and those that onnx infers no shape for.
_STANDARD = kinds("SimplifiedLayerNormalization GroupNormalization MeanVarianceNormalization")

_RULES: Mapping[str, StandIns] = {
    **dict.fromkeys(
        kinds(
            "Gelu FastGelu BiasGelu QuickGelu SkipLayerNormalization SkipSimplifiedLayerNormalization GroupNorm "
            "SimplifiedLayerNormalization GroupNormalization MeanVarianceNormalization RotaryEmbedding "
            "QLinearLeakyRelu QLinearSigmoid QLinearSoftmax"
        ),
        _like_first,
    ),
    **dict.fromkeys(("MultiHeadAttention", "GroupQueryAttention", "DecoderMaskedMultiHeadAttention"), _like_query),
    **dict.fromkeys(("Attention", "QAttention"), _projected),
    **dict.fromkeys(("EmbedLayerNormalization", "QEmbedLayerNormalization"), _embedded),
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul", "DynamicQuantizeMatMul", "GemmFastGelu"), _product(0, 1)),
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4"), _block_product),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _renamed("Add", (0, 3), ())),
    "DequantizeLinear": _renamed("DequantizeLinear", (0, 1, 2), ("axis",)),
    "FusedConv": _renamed("Conv", (0, 1, 2), _WINDOW),
    "FusedGemm": _renamed("Gemm", (0, 1, 2), ("transA", "transB")),
    "MatMulIntegerToFloat": _integer_product,
    "QGemm": _quantised_gemm,
    "QLinearAveragePool": _renamed("AveragePool", (0,), _POOL),
    "QLinearConcat": _joined,
    "QLinearGlobalAveragePool": _renamed("GlobalAveragePool", (0,), ()),
    "QuantizeLinear": _renamed("QuantizeLinear", (0, 1, 2), ("axis",)),
}
