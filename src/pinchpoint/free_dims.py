"""Free dimensions of a model's inputs: what each is probably for, and the size it gets."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from operator import add, floordiv, mul, sub

from pinchpoint.domain.operator import GraphInput
from pinchpoint.errors import BadInput

IMAGE_SIZE, CHANNELS = 224, 3  # the sizes of ImageNet classifiers; detectors accept them
UNKNOWN_RANK = "..."
LARGEST_SIZE = 2**31 - 1

_BATCH_NAMES = frozenset({"n", "b", "bs"})
_SEQUENCE_WORDS = ("seq", "len", "time", "token", "frame", "step")
_NOT_IMAGE_WORDS = ("past", "cache", "key", "value", "mask", "state")
_STATE_WORDS = ("state", "hidden", "cell")
_STATE_NAMES = frozenset({"h", "c", "h0", "c0", "hn", "cn"})
_IMAGE_CHANNELS = (1, 3, 4)
_IMAGE_DTYPES = frozenset({"float", "float16", "bfloat16", "double", "uint8", "int8"})
_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: floordiv,
    ast.FloorDiv: floordiv,
}


def roles(inputs: Sequence[GraphInput]) -> dict[str, str]:
    """The role of each free dimension, in order: `batch`, `image` (height, width or channels) or `length`.

    batch: named so; the first of an input of rank 2 or more that is not named like a sequence; the second of a recurrent
    state. image: of a rank-4 input whose other dimensions look like an image. All others are lengths. A name that occurs
    twice has one role.
    """
    found: dict[str, str] = {}
    for item in inputs:
        for axis, dim in enumerate(item.shape):
            if isinstance(dim, str) and dim != UNKNOWN_RANK:
                role = _role(item, axis, dim)
                if found.get(dim, "length") == "length":
                    found[dim] = role
    return found


def _role(item: GraphInput, axis: int, dim: str) -> str:
    name = dim.lower()
    if "batch" in name or name in _BATCH_NAMES:
        return "batch"
    if axis == 0 and len(item.shape) >= 2 and not any(word in name for word in _SEQUENCE_WORDS):
        return "batch"
    if axis == 1 and len(item.shape) == 3 and isinstance(item.shape[0], int) and _is_state(item.name.lower()):
        return "batch"
    return "image" if axis in _image_axes(item) else "length"


def _is_state(name: str) -> bool:
    """Whether an input is named like the state of a recurrent network, [layers, batch, hidden]."""
    return name in _STATE_NAMES or any(word in name for word in _STATE_WORDS)


def _image_axes(item: GraphInput) -> tuple[int, ...]:
    """The axes of an image's channels, height and width that may be free: NCHW, or NHWC by its last dimension."""
    names = " ".join(str(part) for part in (item.name, *item.shape)).lower()
    if len(item.shape) != 4 or item.dtype not in _IMAGE_DTYPES or any(word in names for word in _NOT_IMAGE_WORDS):
        return ()
    _, second, third, last = item.shape
    if last in _IMAGE_CHANNELS and second not in _IMAGE_CHANNELS:
        return (1, 2)
    both_free = isinstance(third, str) and isinstance(last, str)
    return (1, 2, 3) if second in _IMAGE_CHANNELS or isinstance(second, str) or both_free else ()


def bound_sizes(
    where: str, inputs: Sequence[GraphInput], bindings: Mapping[str, int], batch: int, length: int
) -> dict[str, int]:
    """A size for each free dimension, in order: the given one, or by role; names that are sums of others are computed.

    Raises BadInput for a binding of a name that is not free, and for sizes that are no positive 32-bit integers.
    """
    kinds = roles(inputs)
    unknown = sorted(set(bindings) - set(kinds))
    if unknown:
        free = ", ".join(kinds) or "none"
        raise BadInput(what=f"no free dimension {unknown[0]!r}", where=where, todo=f"Free dimensions are: {free}")
    for name, size in (*bindings.items(), ("batch", batch), ("length", length)):
        if not 0 < size <= LARGEST_SIZE and not (size == 0 and name in bindings):
            raise BadInput(what=f"{name}={size} is no possible size", where=where, todo="Give a positive number")
    channels = {i.shape[1] for i in inputs if 1 in _image_axes(i) and len(_image_axes(i)) == len("CHW")}
    sizes = {}
    for name, role in kinds.items():
        by_role = {"batch": batch, "length": length, "image": CHANNELS if name in channels else IMAGE_SIZE}[role]
        sizes[name] = bindings.get(name, by_role)
    computed = {name: _computed(name, sizes) for name in sizes if name not in bindings}
    return sizes | {name: size for name, size in computed.items() if size is not None}


def _computed(name: str, sizes: Mapping[str, int]) -> int | None:
    """The size of a dimension whose name says how it follows from others; None if it does not."""
    others = {other: size for other, size in sizes.items() if other != name}
    if "total" in name.lower():  # keys of a decoder: those of the past and those of the new tokens
        parts = {o.lower(): s for o, s in others.items() if "total" not in o.lower()}
        past = [s for o, s in parts.items() if "past" in o]
        new = [s for o, s in parts.items() if "past" not in o and "seq" in o]
        return past[0] + new[0] if past and new else None
    if name.isidentifier() or len(name) > 200:
        return None
    try:
        return _value(ast.parse(name, mode="eval").body, others)
    except (SyntaxError, ValueError, KeyError, ZeroDivisionError, RecursionError):
        return None


def _value(tree: ast.expr, sizes: Mapping[str, int]) -> int:
    """A sum, difference, product or quotient of dimensions and numbers; ValueError or KeyError for anything else."""
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return tree.value
    if isinstance(tree, ast.Name):
        return sizes[tree.id]
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        return _OPERATORS[type(tree.op)](_value(tree.left, sizes), _value(tree.right, sizes))
    raise ValueError(ast.dump(tree))
