"""What one execution of a torch operator must at least cost, from its name and the tensors that it read and wrote.

Conventions are those of `pinchpoint.flop_counts`: 2 for a multiply-add, 1 for an addition or comparison, what a vector kernel
executes for a function. Products, convolutions and attention agree with torch.utils.flop_counter, which counts nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from pinchpoint.accounting import ARITHMETIC, LARGE_TABLE_BYTES
from pinchpoint.domain.operator import BITS, Cost
from pinchpoint.flop_counts import (
    ERF,
    EXP,
    LAYER_NORM,
    LERP,
    LOG,
    POW,
    QUANTIZE,
    RMS_NORM,
    SIGMOID,
    SOFTMAX,
    TANH,
    TRIG,
    kinds,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor that an operator read or wrote: its dtype, shape, bytes in memory, and whether the module holds it."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: float
    weight: bool = False

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Call:
    """One execution: its kind (`addmm`, `quantized.linear`), its tensors, and its whole-number arguments by position.

    `alias` tells that it only looks at the memory of its inputs in another way.
    """

    kind: str
    inputs: Sequence[Seen]
    outputs: Sequence[Seen]
    alias: bool = False
    scalars: Mapping[int, int] = field(default_factory=dict)

    @property
    def bare(self) -> str:
        """The kind without what marks a variant that computes the same: `add_` is `add` in place."""
        return self.kind if self.kind.startswith("_") else self.kind.rstrip("_")


Formula = Callable[[Call], float]


def cost_of(call: Call) -> Cost | None:
    """The compulsory cost; None where the kind is not accounted or its tensors do not settle it."""
    if call.alias:
        return Cost(0.0, 0.0, 0.0, 0.0, 0.0, "none")
    if not call.outputs or any(t.dtype not in BITS for t in (*call.inputs, *call.outputs)):
        return None
    formula = FLOPS.get(call.bare)
    if formula is None:
        return None
    try:
        flops = float(formula(call))
    except (IndexError, ZeroDivisionError, StopIteration):
        return None
    peak = _arithmetic(call) if flops else "none"
    weight = sum(t.nbytes for t in call.inputs if t.weight)
    activation = sum(t.nbytes for t in call.inputs if not t.weight) + sum(t.nbytes for t in call.outputs)
    if call.bare in ROWS and call.inputs:
        return _rows(call, flops, peak)
    if call.bare in TAKEN:
        activation = 2 * sum(t.nbytes for t in call.outputs)
        weight = 0.0
    elif call.bare in FILLED:
        weight, activation = 0.0, sum(t.nbytes for t in call.outputs)
    return Cost(flops if peak != "none" else 0.0, weight, activation, 0.0, 0.0, peak)


def _arithmetic(call: Call) -> str:
    """The peak that judges the FLOPs: that of its data type; int8 where quantised tensors are multiplied."""
    if call.kind.startswith("quantized.") or call.kind == "_int_mm":
        return "int8"
    return next((ARITHMETIC[t.dtype] for t in (*call.outputs, *call.inputs) if t.dtype in ARITHMETIC), "none")


def _rows(call: Call, flops: float, peak: str) -> Cost:
    """Rows of a table at places that the data decide; those of a small table that was just computed are near."""
    table = call.inputs[0]
    indexes = next((t for t in call.inputs[1:] if t.dtype in ("int64", "int32")), None)
    taken, written = min(sum(t.nbytes for t in call.outputs), table.nbytes), sum(t.nbytes for t in call.outputs)
    rest = written + (indexes.nbytes if indexes is not None else 0.0)
    if indexes is not None and (table.weight or table.nbytes >= LARGE_TABLE_BYTES):
        return Cost(flops, 0.0, rest, float(indexes.elements), taken, peak)
    return Cost(flops, 0.0, rest + taken, 0.0, 0.0, peak)


# --- formulas -------------------------------------------------------------------------------------------------------
def _nothing(_call: Call) -> float:
    return 0.0


def _per_output(flops: float) -> Formula:
    return lambda call: flops * call.outputs[0].elements


def _per_input(flops: float) -> Formula:
    return lambda call: flops * call.inputs[0].elements


def _product(position: int) -> Formula:
    """2 multiply-adds for each output along the last axis of the input at this position."""
    return lambda call: (
        2.0 * call.outputs[0].elements * (call.inputs[position].shape[-1] if call.inputs[position].shape else 1)
    )


def _convolution(call: Call) -> float:
    """Each output of a plain one, or each input of a transposed one, meets the filters of its group once."""
    filters = prod(call.inputs[1].shape[1:])
    transposed = "transpose" in call.kind or (call.bare in ("convolution", "_convolution") and call.scalars.get(6) == 1)
    met = call.inputs[0] if transposed else call.outputs[0]
    return 2.0 * met.elements * filters


def _attention(call: Call) -> float:
    """Scores and their product with the values, and the softmax between them."""
    query, key, value = call.inputs[:3]
    scores = prod(query.shape[:-1]) * key.shape[-2]
    return 2.0 * scores * (query.shape[-1] + value.shape[-1]) + SOFTMAX * scores


def _projections(call: Call) -> float:
    """All matrices of a fused layer on each token, and attention between the tokens of each sequence."""
    tokens = call.inputs[0]
    batch, length, width = tokens.shape[-3] if len(tokens.shape) > 2 else 1, tokens.shape[-2], tokens.shape[-1]
    matrices = sum(t.elements for t in call.inputs if t.weight and len(t.shape) == 2)
    return 2.0 * batch * length * matrices + 4.0 * batch * length * length * width


def _recurrent(call: Call) -> float:
    """All matrices of the cells on each step; a layer's input is the first tensor, [steps, batch, ...] either way round."""
    steps = prod(call.inputs[0].shape[:-1])
    return 2.0 * steps * sum(t.elements for t in call.inputs if t.weight and len(t.shape) == 2)


def _packed_linear(call: Call) -> float:
    weight = next(t for t in call.inputs if t.weight)
    return 2.0 * prod(call.inputs[0].shape[:-1]) * weight.elements


def _named(formula: Formula, names: str) -> dict[str, Formula]:
    return dict.fromkeys(names.split(), formula)


MOVES = (
    "clone copy _to_copy to contiguous cat stack concat index_select index gather take_along_dim embedding pad constant_pad_nd "
    "where masked_fill repeat repeat_interleave flip roll tril triu select slice narrow split chunk reflection_pad2d "
    "reflection_pad1d replication_pad2d pixel_shuffle pixel_unshuffle channel_shuffle im2col col2im scatter index_put "
    "slice_scatter select_scatter fill zero zeros ones full empty empty_like zeros_like ones_like full_like new_zeros "
    "new_ones new_full new_empty arange eye scalar_tensor lift_fresh lift_fresh_copy detach alias dropout native_dropout "
    "bitwise_and bitwise_or bitwise_not bitwise_xor logical_and logical_or logical_not logical_xor one_hot nonzero "
    "item _local_scalar_dense "
    "_reshape_copy reshape flatten view permute transpose expand squeeze unsqueeze unfold movedim t numpy_T type_as float half "
    "bfloat16 double dequantize empty_strided new_empty_strided _unsafe_view tensor_split unbind unflatten expand_as view_as "
    "reshape_as swapaxes detach_copy type _reshape_alias as_strided empty.memory_format any all isnan isinf "
    "_assert_async _assert_tensor_metadata sym_size randn rand randint bernoulli multinomial"
)

FLOPS: Mapping[str, Formula] = {
    **_named(_nothing, MOVES),
    **_named(
        _product(0),
        "mm bmm matmul linear mv dot vdot inner _int_mm mkldnn_linear mkldnn._linear_pointwise mkl._mkl_linear",
    ),
    **_named(_product(1), "addmm baddbmm addbmm addmv _addmm_activation"),
    **_named(
        _convolution,
        "convolution _convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d "
        "mkldnn_convolution thnn_conv2d _slow_conv2d_forward slow_conv3d slow_conv_transpose2d conv_depthwise3d "
        "mkldnn._convolution_pointwise",
    ),
    **_named(
        _attention,
        "scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_attention_math",
    ),
    **_named(_projections, "_transformer_encoder_layer_fwd _native_multi_head_attention"),
    **_named(_recurrent, "lstm gru rnn_tanh rnn_relu mkldnn_rnn_layer quantized_lstm quantized_gru"),
    **_named(_packed_linear, "quantized.linear_dynamic quantized.linear quantized.linear_relu quantized.linear_relu_dynamic"),
    **_named(
        _per_output(1),
        "add sub mul div rsub neg abs sqrt rsqrt reciprocal floor ceil round trunc sign relu maximum minimum eq ne gt ge lt le "
        "square remainder fmod floor_divide true_divide _foreach_add add_relu copysign",
    ),
    **_named(
        _per_output(2),
        "clamp clamp_min clamp_max leaky_relu prelu _prelu_kernel hardtanh relu6 threshold addcmul addcdiv lerp batch_norm "
        "native_batch_norm _native_batch_norm_legit_no_training _native_batch_norm_legit cudnn_batch_norm frac",
    ),
    **_named(_per_output(4), "hardsigmoid"),
    **_named(_per_output(5), "hardswish"),
    **_named(_per_output(EXP), "exp exp2 expm1"),
    **_named(_per_output(LOG), "log log2 log10 log1p"),
    **_named(_per_output(TRIG), "sin cos tan asin acos atan sinh cosh asinh acosh atanh atan2"),
    **_named(_per_output(EXP + 3), "elu celu selu"),
    **_named(_per_output(EXP + LOG + 1), "softplus log_sigmoid logsigmoid log_sigmoid_forward"),
    **_named(_per_output(EXP + LOG + TANH + 2), "mish"),
    **_named(_per_output(SIGMOID), "sigmoid"),
    **_named(_per_output(SIGMOID + 2), "silu"),
    **_named(_per_output(SIGMOID + 3), "glu"),
    **_named(_per_output(TANH), "tanh"),
    **_named(_per_output(ERF), "erf erfc"),
    **_named(_per_output(ERF + 4), "gelu"),
    **_named(_per_output(SOFTMAX), "softmax _softmax log_softmax _log_softmax _safe_softmax"),
    **_named(_per_output(LAYER_NORM), "layer_norm native_layer_norm group_norm native_group_norm instance_norm"),
    **_named(_per_output(RMS_NORM), "rms_norm _fused_rms_norm normalize"),
    **_named(_per_output(POW), "pow float_power"),
    **_named(_per_output(4 * LERP), "upsample_bilinear2d _upsample_bilinear2d_aa grid_sampler grid_sampler_2d"),
    **_named(_per_output(2 * LERP), "upsample_linear1d"),
    **_named(_per_output(16 * LERP), "upsample_bicubic2d"),
    **_named(_nothing, "upsample_nearest1d upsample_nearest2d upsample_nearest3d"),
    **_named(_per_output(QUANTIZE), "quantize_per_tensor quantize_per_channel quantize_per_tensor_dynamic"),
    **_named(
        _per_input(1),
        "sum mean amax amin max min prod cumsum cumprod argmax argmin topk sort argsort avg_pool1d avg_pool2d avg_pool3d "
        "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices adaptive_avg_pool1d "
        "adaptive_avg_pool2d "
        "_adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool3d adaptive_max_pool2d nansum mkldnn_max_pool2d",
    ),
    **_named(_per_input(2), "norm linalg_vector_norm linalg_norm var std"),
    **_named(_per_input(3), "var_mean std_mean"),
    **_named(_per_input(3 + EXP), "logsumexp"),
    **_named(_per_input(1), "embedding_bag _embedding_bag _embedding_bag_forward_only"),
}  # fmt: skip

# Rows are read at places that the data decide.
ROWS = kinds(
    "embedding embedding_bag _embedding_bag _embedding_bag_forward_only index_select gather index take_along_dim"
)
# Only what they give is read of their input.
TAKEN = kinds("select slice narrow split chunk tensor_split unbind flip roll tril triu")
# Nothing is read.
FILLED = kinds(
    "fill zero zeros ones full empty_like zeros_like ones_like full_like new_zeros new_ones new_full arange eye scalar_tensor"
)
WHOLE = tuple(sorted(FLOPS))
