"""Random requests for a model, and the check of requests that a user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx

from pinchpoint.domain.operator import BITS, Graph, GraphInput
from pinchpoint.errors import BadInput
from pinchpoint.free_dims import UNKNOWN_RANK

Array = npt.NDArray[np.generic]

REQUEST_BYTES = 4 << 30
SMALL_INTEGERS = 2  # 0 and 1 are within nearly every range that an integer can be meant for
IMAGE_RANK = 3
USE_INPUT = "Give real requests with --input"


def make_inputs(graph: Graph, seed: int) -> dict[str, Array]:
    """A random request for the sizes that the graph was read with; the same seed gives the same request.

    Floats are standard normal and never denormal. Integers that index a table span all of its rows. Masks are all ones.
    8-bit images span their range; other integers are 0 or 1. Raises BadInput for what cannot be made up: strings,
    sequences, tensors of unknown rank, and requests above 4 GiB.
    """
    rng = np.random.default_rng(seed)
    sizes = dict(graph.dims)
    shapes = {item.name: _bound(item, sizes) for item in graph.inputs}
    total = sum(prod(max(1, size) for size in shapes[item.name]) * BITS[item.dtype] // 8 for item in graph.inputs)
    if total > REQUEST_BYTES:
        what = f"a request would have {total} bytes; {REQUEST_BYTES >> 30} GiB is the limit"
        raise BadInput(what=what, where="inputs", todo="Choose smaller sizes")
    return {item.name: _values(item, shapes[item.name], rng) for item in graph.inputs}


def _bound(item: GraphInput, sizes: Mapping[str, int]) -> tuple[int, ...]:
    if numpy_dtype(item.dtype) is None or UNKNOWN_RANK in item.shape:
        kind = "unknown rank" if item.dtype in BITS else f"type {item.dtype}"
        what = f"input {item.name!r} is of {kind}, which cannot be made up"
        raise BadInput(what=what, where="inputs", todo=USE_INPUT)
    return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in item.shape)


def _values(item: GraphInput, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    dtype = numpy_dtype(item.dtype) or np.dtype(np.float32)
    if "mask" in item.name.lower():
        return np.ones(shape, dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape, np.bool_)
    if item.dtype.startswith("complex"):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    if "int" not in item.dtype:
        return _normal(shape, dtype, rng)
    if BITS[item.dtype] == 8 and len(shape) >= IMAGE_RANK and item.table_rows is None:
        return rng.integers(0, 256, shape, np.uint8).astype(dtype)
    above = SMALL_INTEGERS if item.table_rows is None else max(1, item.table_rows)
    width: type[np.integer[Any]] = np.int64 if dtype.itemsize > 4 else np.int32
    return rng.integers(0, min(above, np.iinfo(width).max), shape, width).astype(dtype, copy=False)


def _normal(shape: tuple[int, ...], dtype: np.dtype[np.generic], rng: np.random.Generator) -> Array:
    """Standard normal numbers; those too small to be normal ones of `dtype` become its smallest normal one."""
    wide = np.float64 if dtype == np.float64 else np.float32
    values = rng.standard_normal(shape, dtype=wide)
    info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]  # its stubs lack it
    smallest = wide(info.smallest_normal)
    return np.where(np.abs(values) < smallest, smallest, values).astype(dtype, copy=False)


def numpy_dtype(name: str) -> np.dtype[np.generic] | None:
    """The numpy dtype of an ONNX element type, those of ml_dtypes included; None where there is none."""
    if name not in BITS:
        return None
    try:
        found: np.dtype[np.generic] = onnx.helper.tensor_dtype_to_np_dtype(
            onnx.TensorProto.DataType.Value(name.upper())
        )
    except (KeyError, ValueError):
        return None
    return found


def check_inputs(graph: Graph | Sequence[GraphInput], given: Mapping[str, Array]) -> None:
    """BadInput, in one line with what was expected, unless `given` is a request that the model accepts.

    Checked are names, dtypes, ranks, fixed dimensions, and that a free dimension has the same size wherever it occurs.
    """
    inputs = graph.inputs if isinstance(graph, Graph) else tuple(graph)
    names = {item.name for item in inputs}
    wanted = ", ".join(item.name for item in inputs)
    unknown, missing = sorted(set(given) - names), [item.name for item in inputs if item.name not in given]
    if missing or unknown:
        what = f"input {missing[0]!r} is missing" if missing else f"the model has no input {unknown[0]!r}"
        what = f"{what}; given are {', '.join(given) or 'none'}"
        raise BadInput(what=what, where="inputs", todo=f"Expected are {wanted}")
    sizes: dict[str, int] = {}
    for item in inputs:
        problem = _problem(item, given[item.name], sizes)
        if problem:
            shape = ",".join(map(str, item.shape))
            todo = f"Expected {item.dtype}[{shape}]"
            raise BadInput(what=f"input {item.name!r} {problem}", where="inputs", todo=todo)


def _problem(item: GraphInput, array: Array, sizes: dict[str, int]) -> str:
    """What is wrong with an input, or an empty text; notes the sizes of free dimensions."""
    dtype, shape = _onnx_name(array.dtype), ",".join(map(str, array.shape))
    if item.dtype in (*BITS, "string") and dtype != item.dtype:
        return f"is {dtype}[{shape}]"
    if UNKNOWN_RANK in item.shape:
        return ""
    if len(array.shape) != len(item.shape):
        return f"is {dtype}[{shape}], of rank {len(array.shape)}"
    for dim, size in zip(item.shape, array.shape, strict=True):
        expected = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
        if size != expected:
            return f"is {dtype}[{shape}]" + (f", but {dim} is {expected} elsewhere" if isinstance(dim, str) else "")
    return ""


def _onnx_name(dtype: np.dtype[Any]) -> str:
    if dtype.kind in "OUS":
        return "string"
    try:
        return str(onnx.TensorProto.DataType.Name(onnx.helper.np_dtype_to_tensor_dtype(dtype))).lower()
    except (KeyError, ValueError):
        return dtype.name
