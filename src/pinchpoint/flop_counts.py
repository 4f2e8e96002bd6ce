"""Floating-point operations of one execution of an operator, from shapes: the tables and the formulas.

Conventions (counters differ, so ours are written down):
- 2 for a multiply-add; adding a bias starts the sum and is free; a fused activation counts nothing.
- 1 for an addition, multiplication, division, square root, comparison, minimum, maximum or rounding.
- Functions cost what ONNX Runtime's vector kernels execute for an element (mlas: erf.cpp, tanh.cpp, logistic.cpp):
  `EXP` is a range reduction (7) and a polynomial of degree 6 with its scaling (13); the others alike.
- Moving, casting, indexing and integer or boolean arithmetic are no floating-point operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2, prod

from pinchpoint.domain.operator import Attribute, Tensor

EXP, LOG, TRIG, TANH, SIGMOID, ERF = 20, 20, 20, 23, 26, 49
POW = LOG + 1 + EXP
SOFTMAX = EXP + 4  # maximum, subtract, exponential, sum, divide
LAYER_NORM, RMS_NORM = 7, 4  # mean 1, deviation 1, squares 2, scale 1, affine 2; squares 2, scale 1, weight 1
QUANTIZE, DEQUANTIZE = 4, 2  # divide, round, add the zero point, saturate; subtract, multiply
LERP = 2  # one tap of an interpolation: multiply and add


@dataclass(frozen=True, slots=True)
class Call:
    """One execution of an operator. Left-out optional inputs and weights that a runtime packed are absent."""

    kind: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    constants: Sequence[bool]
    attributes: Mapping[str, Attribute]

    @property
    def out(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    def integer(self, name: str, default: int = 0) -> int:
        """The integer attribute, or the default where it is missing or of another type."""
        value = self.attributes.get(name)
        return value if isinstance(value, int) else default

    def integers(self, name: str) -> tuple[int, ...] | None:
        """The list attribute, or None where it is missing or of another type."""
        value = self.attributes.get(name)
        if value is None or isinstance(value, int | float | str):
            return None
        return tuple(int(item) for item in value)

    def text(self, name: str) -> str:
        """The text attribute, or an empty text."""
        value = self.attributes.get(name)
        return value if isinstance(value, str) else ""


Formula = Callable[[Call], "float | None"]


def kinds(listed: str) -> frozenset[str]:
    """Kinds of operators, listed with blanks between them."""
    return frozenset(listed.split())


def _names(flops: float, names: str) -> dict[str, float]:
    return dict.fromkeys(names.split(), float(flops))


# Flops per element of the first output.
PER_OUTPUT: Mapping[str, float] = {
    **_names(1, "Add Sub Mul Div Neg Abs Sqrt Reciprocal Floor Ceil Round Sign Relu Mod Equal Greater GreaterOrEqual"),
    **_names(1, "Less LessOrEqual IsInf IsNaN Scale MaxRoiPool BiasAdd"),
    **_names(2, "Clip LeakyRelu PRelu ThresholdedRelu Shrink BatchNormalization Affine ImageScaler Range"),
    **_names(3, "Softsign RotaryEmbedding"),
    **_names(4, "HardSigmoid"),
    **_names(5, "HardSwish"),
    **_names(6, "AffineGrid"),
    **_names(EXP, "Exp"),
    **_names(LOG, "Log"),
    **_names(TRIG, "Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh HannWindow HammingWindow BlackmanWindow"),
    **_names(EXP + 3, "Elu"),
    **_names(EXP + 4, "Selu Celu"),
    **_names(EXP + LOG + 1, "Softplus ParametricSoftplus"),
    **_names(EXP + LOG + TANH + 2, "Mish"),
    **_names(SIGMOID, "Sigmoid"),
    **_names(SIGMOID + 2, "Swish ScaledSiLU QuickGelu"),
    **_names(SIGMOID + 3, "SwiGLU"),
    **_names(TANH, "Tanh"),
    **_names(TANH + 2, "ScaledTanh"),
    **_names(TANH + 7, "FastGelu"),
    **_names(ERF, "Erf"),
    **_names(ERF + 4, "Gelu"),
    **_names(ERF + 5, "BiasGelu"),
    **_names(SOFTMAX, "Softmax LogSoftmax"),
    **_names(SOFTMAX + 1, "BiasSoftmax"),
    **_names(LAYER_NORM, "LayerNormalization InstanceNormalization GroupNormalization GroupNorm"),
    **_names(LAYER_NORM + 1, "SkipLayerNormalization SkipGroupNorm"),
    **_names(LAYER_NORM + 2, "EmbedLayerNormalization QEmbedLayerNormalization"),
    **_names(RMS_NORM, "RMSNormalization SimplifiedLayerNormalization BranchwiseRMSNorm LpNormalization"),
    **_names(RMS_NORM + 1, "SkipSimplifiedLayerNormalization MeanVarianceNormalization"),
    **_names(RMS_NORM + SIGMOID + 2, "GatedRMSNorm"),
    **_names(QUANTIZE, "QuantizeLinear"),
    **_names(QUANTIZE + 2, "DynamicQuantizeLinear"),
    **_names(DEQUANTIZE, "DequantizeLinear"),
    **_names(2 * DEQUANTIZE + 1 + QUANTIZE, "QLinearAdd QLinearMul"),
    **_names(3, "QLinearSoftmax"),  # exponentials come from a table
}

# Flops per element of the first input.
PER_INPUT: Mapping[str, float] = {
    **_names(1, "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ArgMax ArgMin CumSum CumProd TopK Hardmax Col2Im"),
    **_names(1, "GlobalAveragePool GlobalMaxPool QLinearGlobalAveragePool QLinearReduceMean"),
    **_names(2, "ReduceL1 ReduceL2 ReduceSumSquare GlobalLpPool"),
    **_names(1 + LOG, "ReduceLogSum"),
    **_names(3 + EXP, "ReduceLogSumExp"),
}

# No floating-point operations; bytes only.
MOVES = kinds(
    "Transpose Concat Slice Split Pad Tile Expand DepthToSpace SpaceToDepth Where OneHot Compress Trilu "
    "ReverseSequence Unique NonZero Cast CastLike BitCast Not And Or Xor BitwiseAnd BitwiseOr BitwiseXor BitwiseNot "
    "BitShift Gather GatherElements GatherND Scatter ScatterElements ScatterND TensorScatter Shape Size ConstantOfShape "
    "EyeLike Crop RandomNormal RandomNormalLike RandomUniform RandomUniformLike Bernoulli Multinomial CenterCropPad MaxUnpool "
    "ReorderInput ReorderOutput MemcpyFromHost MemcpyToHost QLinearConcat QLinearWhere QLinearSigmoid "
    "QLinearLeakyRelu GatherBlockQuantized TorchEmbedding ExpandDims DynamicSlice UnfoldTensor"
)

# An alias of their input at inference: no work and no bytes.
VIEWS = kinds("Reshape Flatten Squeeze Unsqueeze Identity Dropout Optional OptionalGetElement")


def flops_of(call: Call) -> float | None:
    """Floating-point operations of `call`; None where the kind is unknown or the shapes do not settle the count."""
    if call.kind in VIEWS or call.kind in MOVES:
        return 0.0
    formula = _FORMULAS.get(call.kind)
    if formula is not None:
        return formula(call)
    if call.kind in PER_OUTPUT:
        return PER_OUTPUT[call.kind] * call.out.elements
    if call.kind in PER_INPUT and call.inputs:
        return PER_INPUT[call.kind] * call.inputs[0].elements
    return None


# --- matrix products -----------------------------------------------------------------------------------------------
def inner_size(call: Call) -> int | None:
    """The length of the sums of a matrix product: the inner dimension of its first operand."""
    first, out = call.inputs[0].shape, call.out.shape
    if len(first) < 2:
        return prod(first) if first else None
    if call.integer("transA"):
        return first[0] if call.integer("transBatchA") else first[-2]
    if "Gemm" in call.kind and "transA" not in call.attributes and first[0] != out[0] and first[-1] == out[0]:
        return first[0]  # the attributes are not known and the shape is a transposed one
    return first[-1]


def _product(call: Call) -> float | None:
    inner = inner_size(call)
    return None if inner is None else 2.0 * inner * call.out.elements


def _distances(call: Call) -> float | None:
    return 1.5 * (_product(call) or 0) or None


def _einsum(call: Call) -> float | None:
    """Operands are contracted from the left, as ONNX Runtime does; each step multiplies over all its labels."""
    terms, arrow, result = call.text("equation").replace(" ", "").partition("->")
    labels = terms.split(",")
    if not terms or len(labels) != len(call.inputs):
        return None
    sizes: dict[str, int] = {}
    ellipsis = ""
    for position, (label, tensor) in enumerate(zip(labels, call.inputs, strict=True)):
        spread = "".join(chr(0x3B1 + i) for i in reversed(range(len(tensor.shape) - len(label.replace("...", "")))))
        ellipsis = max(ellipsis, spread if "..." in label else "", key=len)
        labels[position] = label.replace("...", spread)
        for name, size in zip(labels[position], tensor.shape, strict=False):
            sizes[name] = max(sizes.get(name, 1), size)
    if not arrow:
        result = "".join(sorted(c for c in sizes if "".join(labels).count(c) == 1 or c in ellipsis))
    return _contractions(labels, result.replace("...", ellipsis), sizes)


def _contractions(labels: list[str], result: str, sizes: Mapping[str, int]) -> float:
    have, flops = set(labels[0]), 0.0
    if len(labels) == 1:
        return float(prod(sizes[c] for c in have)) if have - set(result) else 0.0
    for position, label in enumerate(labels[1:], 1):
        have |= set(label)
        keep = have & set("".join(labels[position + 1 :]) + result)
        flops += prod(sizes[c] for c in have) * (2.0 if have - keep else 1.0)
        have = keep
    return flops


# --- convolutions --------------------------------------------------------------------------------------------------
def kernel_of(call: Call) -> Tensor | None:
    """The weights of a convolution among its inputs; None where the runtime packed them away."""
    rank, out = len(call.out.shape), call.out.shape
    return next((t for t in call.inputs[1:] if len(t.shape) == rank >= 3 and t.shape != out), None)


def packed_kernel(call: Call) -> tuple[int, int] | None:
    """(multiply-adds for each output element or, transposed, each input element; weights), by the attributes alone."""
    window = call.integers("kernel_shape")
    if window is None or not call.inputs:
        return None
    last = "Nhwc" in call.kind or bool(call.integer("channels_last"))
    axis, group = -1 if last else 1, max(1, call.integer("group", 1))
    given, made = call.inputs[0].shape[axis], call.out.shape[axis]
    spread = prod(window)
    if "Transpose" in call.kind:
        return made // group * spread, given * (made // group) * spread
    return given // group * spread, made * (given // group) * spread


def _convolution(call: Call) -> float | None:
    kernel = kernel_of(call)
    each = prod(kernel.shape[1:]) if kernel else (packed_kernel(call) or (None,))[0]
    over = call.inputs[0] if "Transpose" in call.kind else call.out
    return None if each is None else 2.0 * each * over.elements


def _pool(call: Call) -> float:
    window = call.integers("kernel_shape")
    return float(call.inputs[0].elements if window is None else prod(window) * call.out.elements)


def _resize(call: Call) -> float:
    if not call.inputs or call.text("mode") in ("", "nearest"):
        return 0.0
    scaled = sum(a != b for a, b in zip(call.inputs[0].shape, call.out.shape, strict=False))
    return float(LERP * (4 if call.text("mode") == "cubic" else 2) ** scaled * call.out.elements)


def _grid_sample(call: Call) -> float:
    if call.text("mode") == "nearest":
        return 0.0
    taps = 4 if "cubic" in call.text("mode") else 2
    return float(LERP * taps ** (len(call.out.shape) - 2) * call.out.elements)


def _roi_align(call: Call) -> float:
    samples = max(1, call.integer("sampling_ratio", 1)) ** 2
    return float(4 * LERP * samples * call.out.elements)


def _local_response(call: Call) -> float:
    return float((2 * call.integer("size", 5) + POW + 3) * call.out.elements)


# --- recurrent networks --------------------------------------------------------------------------------------------
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1, "DynamicQuantizeLSTM": 4}
GATE_FLOPS = {"LSTM": 3 * SIGMOID + 2 * TANH + 4, "GRU": 2 * SIGMOID + TANH + 5, "RNN": TANH}


def recurrent_weights(call: Call) -> int:
    """Weights of one layer in all directions, without biases: gates x hidden x (inputs + hidden)."""
    steps_batch, wide = prod(call.inputs[0].shape[:2]), call.inputs[0].shape[2]
    hidden = call.out.shape[-1]
    if len(call.out.shape) == 4:
        directions = call.out.elements // max(1, steps_batch * hidden)
    else:  # only the last state is an output: [directions, batch, hidden]
        directions = call.out.shape[1 if call.integer("layout") else 0]
    return directions * GATES[call.kind] * hidden * (wide + hidden)


def _recurrent(call: Call) -> float | None:
    if len(call.inputs[0].shape) != 3 or len(call.out.shape) < 3:
        return None
    steps_batch, wide, hidden = prod(call.inputs[0].shape[:2]), call.inputs[0].shape[2], call.out.shape[-1]
    weights = recurrent_weights(call)
    cells = weights // max(1, GATES[call.kind] * (wide + hidden))
    return float(steps_batch * (2 * weights + GATE_FLOPS.get(call.kind, GATE_FLOPS["LSTM"]) * cells))


# --- attention -----------------------------------------------------------------------------------------------------
def _scores(query: int, out: int, keys: int, rows: int) -> float:
    """Both products, and the softmax over `rows` x `keys` scores. What a causal mask hides is counted all the same."""
    return 2.0 * keys * (query + out) + SOFTMAX * rows * keys


def _attention(call: Call) -> float | None:
    """Separate queries, keys, values: [batch, length, hidden] or [batch, heads, length, size]; rank 5 where packed."""
    query = call.inputs[0]
    if len(query.shape) not in (3, 4, 5):
        return None
    batch, length = query.shape[0], query.shape[2 if len(query.shape) == 4 else 1]
    heads = query.shape[1] if len(query.shape) == 4 else call.integer("q_num_heads") or call.integer("num_heads")
    packed = len(query.shape) == 5 or len(call.inputs) < 2 or len(call.inputs[1].shape) not in (3, 4, 5)
    keys = length if packed else call.inputs[1].shape[2 if len(call.inputs[1].shape) == 4 else 1]
    present = call.outputs[1].shape if len(call.outputs) > 1 else ()
    past = next((t.shape for t in call.inputs[3:] if len(t.shape) == 4 and t.shape[-2:-1] != (length,)), ())
    if len(present) == 4:
        keys = present[2]
    elif len(past) == 4:
        keys += past[2]
    width = call.out.elements if packed or call.kind == "GroupQueryAttention" else query.elements
    return _scores(width, call.out.elements, keys, batch * (heads or 1) * length)


def _projecting_attention(call: Call) -> float | None:
    """Contrib Attention and QAttention: project [batch, length, width] to queries, keys, values first."""
    if len(call.inputs[0].shape) != 3:
        return None
    batch, length, width = call.inputs[0].shape
    present = call.outputs[1].shape if len(call.outputs) > 1 else ()  # [2, batch, heads, keys, size]
    keys, heads = (present[3], present[2]) if len(present) == 5 else (length, call.integer("num_heads", 1))
    values = call.out.shape[-1]
    projected = projected_width(call)
    query = max(0, projected - values) // 2
    project = 2.0 * batch * length * width * projected
    return project + _scores(batch * length * query, call.out.elements, keys, batch * heads * length)


def projected_width(call: Call) -> int:
    """Width of queries, keys and values together: that of the bias; else three times that of the output."""
    bias = max((t.shape[0] for t in call.inputs[1:] if len(t.shape) == 1), default=0)
    width = call.inputs[0].shape[-1]
    weights = next((t.shape[1] for t in call.inputs[1:] if len(t.shape) == 2 and t.shape[0] == width), 0)
    values = call.out.shape[-1]
    return weights or (bias if bias > values else 3 * values)


def is_projecting(call: Call) -> bool:
    """Whether `Attention` is the contrib kind that projects its input (both share the name in profiles)."""
    others = [t.shape for t in call.inputs[1:3]]
    return call.kind == "QAttention" or not (len(others) == 2 and all(len(s) in (3, 4) for s in others))


def _either_attention(call: Call) -> float | None:
    return _projecting_attention(call) if is_projecting(call) else _attention(call)


# --- the rest ------------------------------------------------------------------------------------------------------
def _folded(call: Call) -> float:
    """Sum, Max, Min, Mean over their inputs: one operation for each input after the first."""
    return float((len(call.inputs) - 1 + (call.kind == "Mean")) * call.out.elements)


def _power(call: Call) -> float:
    """A scalar exponent is 2 or 0.5 in real networks, which runtimes treat as a product or a square root."""
    scalar = len(call.inputs) > 1 and call.inputs[1].elements == 1
    return float((1 if scalar else POW) * call.out.elements)


def _spectrum(points: int, transforms: float) -> float:
    """5 N log2 N for a complex transform (the convention of FFTW's benchFFT)."""
    return 5.0 * points * log2(max(2, points)) * transforms


def _fourier(call: Call) -> float:
    shape = call.inputs[0].shape
    points = shape[call.integer("axis", 1 if len(shape) > 1 else 0)]
    return _spectrum(points, call.inputs[0].elements / max(1, points * shape[-1]))


def _short_fourier(call: Call) -> float:
    frames, bins = prod(call.out.shape[:2]), call.out.shape[2]
    onesided = call.integer("onesided", 1)
    return _spectrum(2 * (bins - 1) if onesided else bins, frames / (2 if onesided else 1))


def _determinant(call: Call) -> float:
    shape = call.inputs[0].shape
    return (2 / 3 if call.kind == "Det" else 2.0) * shape[-1] * call.inputs[0].elements


def _suppression(call: Call) -> float:
    """At least one comparison for each score; how many boxes are compared depends on the data."""
    return float(call.inputs[1].elements)


PRODUCTS = kinds(
    "MatMul Gemm MatMulInteger QLinearMatMul FusedMatMul TransposeMatMul FusedGemm FusedMatMulActivation GemmFastGelu "
    "MatMulIntegerToFloat DynamicQuantizeMatMul QGemm MatMulNBits MatMulBnb4 MatMulFpQ4"
)
CONVOLUTIONS = kinds(
    "Conv ConvTranspose ConvInteger QLinearConv FusedConv NhwcConv NhwcFusedConv QLinearConvTranspose DeformConv "
    "ConvTransposeWithDynamicPads"
)
ATTENTIONS = kinds("MultiHeadAttention GroupQueryAttention DecoderMaskedMultiHeadAttention")
INT8_KINDS = kinds(
    "ConvInteger MatMulInteger QLinearConv QLinearConvTranspose QLinearMatMul QGemm QAttention DynamicQuantizeMatMul "
    "MatMulIntegerToFloat DynamicQuantizeLSTM"
)

_FORMULAS: Mapping[str, Formula] = {
    **dict.fromkeys(PRODUCTS, _product),
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(GATES, _recurrent),
    **dict.fromkeys(ATTENTIONS, _attention),
    **dict.fromkeys(("Attention", "QAttention"), _either_attention),
    **dict.fromkeys(("Sum", "Max", "Min", "Mean"), _folded),
    **dict.fromkeys(kinds("MaxPool AveragePool LpPool NhwcMaxPool QLinearAveragePool MaxpoolWithMask"), _pool),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(("Det", "Inverse"), _determinant),
    "CDist": _distances,
    "DFT": _fourier,
    "Einsum": _einsum,
    "GridSample": _grid_sample,
    "LRN": _local_response,
    "NonMaxSuppression": _suppression,
    "Pow": _power,
    "RoiAlign": _roi_align,
    "STFT": _short_fourier,
}
KNOWN = frozenset(_FORMULAS) | PER_OUTPUT.keys() | PER_INPUT.keys() | MOVES | VIEWS
