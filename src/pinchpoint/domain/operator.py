"""A model's graph as facts: tensors, operators and what one execution of each must at least cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

Attribute = int | float | str | Sequence[int]

# Bits of an element, by the names that ONNX Runtime's profile uses (numpy's are accepted beside them).
BITS = {
    **dict.fromkeys(("int2", "uint2"), 2),
    **dict.fromkeys(("int4", "uint4", "float4e2m1"), 4),
    **dict.fromkeys(
        ("bool", "int8", "uint8", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0"), 8
    ),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 16),
    **dict.fromkeys(("int32", "uint32", "float", "float32"), 32),
    **dict.fromkeys(("int64", "uint64", "double", "float64", "complex64"), 64),
    "complex128": 128,
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """The type of a tensor: a dtype name such as `float`, `int8` or `bool`, and a fully known shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many elements it has; 1 for a scalar."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Its bytes, 4-bit elements packed; ValueError for a dtype without a fixed size, such as `string`."""
        bits = BITS.get(self.dtype)
        if bits is None:
            raise ValueError(f"elements of dtype {self.dtype!r} have no fixed size")
        return (self.elements * bits + 7) // 8


@dataclass(frozen=True, slots=True)
class Cost:
    """The compulsory costs of one execution of an operator: no implementation of it can do with less.

    `flops` counts 2 for each multiply-add; `arithmetic` is the peak that they are judged by: float32, float16,
    bfloat16, float64, int8, or `none` where there are no such operations (flops is 0 then). `weight_bytes` are constant
    inputs read once, `activation_bytes` the other inputs read and the outputs written. `lookups` are rows fetched from
    a table at addresses that depend on the data, `lookup_bytes` their bytes, which are in neither of the other two.
    """

    flops: float
    weight_bytes: float
    activation_bytes: float
    lookups: float
    lookup_bytes: float
    arithmetic: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a model file as far as shapes do not tell: its constant inputs, typed, and its attributes.

    `inputs` holds a Tensor for each constant input and None for each that is computed at run time; left-out optional
    inputs have no entry, as in ONNX Runtime's profile.
    """

    name: str
    kind: str
    domain: str
    inputs: tuple[Tensor | None, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GraphOperator:
    """An operator that runs for each request, with the shapes that the bound dimensions give."""

    name: str
    kind: str
    cost: Cost
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class GraphInput:
    """An input that a request must carry; a `str` in its shape is a free dimension, by name.

    `table_rows` is the number of rows of the (smallest) table that the input's integers index, None if they index none.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    table_rows: int | None


@dataclass(frozen=True, slots=True)
class Graph:
    """A model file, read without its weights.

    `parameters` and `parameter_bytes` count all constants that the file holds (or, by ConstantOfShape, generates).
    `flops` is the sum over `operators` for the free dimensions bound as in `dims`. `unsupported` names the kinds of
    operators whose cost is in no sum: `domain.Kind` outside of the standard domain, `Kind of unknown shape` where only
    their inputs are not known, and `opset N` if it is newer than the installed onnx package knows.
    """

    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    operators: tuple[GraphOperator, ...]
    parameters: int
    parameter_bytes: int
    flops: float
    opset: int
    unsupported: tuple[str, ...]
    dims: tuple[tuple[str, int], ...]
