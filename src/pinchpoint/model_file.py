"""Opens an ONNX file that nobody vouches for, and parses its structure without its weights.

The payloads of large tensors are skipped in the protobuf wire format (protobuf.dev/programming-guides/encoding) before
anything is parsed: a 2 GB file costs about as much memory and time as its nodes do. Nothing in the file is executed,
and of external data only the size is looked at.
"""

from __future__ import annotations

import mmap
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

from pinchpoint.domain.operator import BITS, Tensor
from pinchpoint.errors import BadInput

PROTOBUF_BYTES = 2**31 - 1  # a protobuf message cannot be larger
STRUCTURE_BYTES = 256 << 20  # what remains without weights; the largest published models have about 10 MB
STRUCTURE_FIELDS = 4_000_000
KEPT_BYTES = 4096  # smaller tensors stay, so that shapes computed from them can be inferred
NESTING = 64

_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}
VARINT_BITS = 70
IR_VERSION_TAG = 8  # field 1, which every writer puts first

# Where tensors lie in the message tree, by field number (onnx/onnx.proto).
_NESTED = {
    ("model", 7): "graph",
    ("model", 25): "function",
    ("function", 7): "node",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("graph", 15): "sparse",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 6): "graph",
    ("attribute", 10): "tensor",
    ("attribute", 11): "graph",
    ("attribute", 22): "sparse",
    ("attribute", 23): "sparse",
    ("sparse", 1): "tensor",
    ("sparse", 2): "tensor",
}
# float, int32, string, int64, raw, double and uint64 data of a tensor; the text of an attribute (compiled blobs).
_PAYLOADS = {*(("tensor", number) for number in (4, 5, 6, 7, 9, 10, 11)), ("attribute", 4)}

_KNOWN_STARTS = (
    (b"PK\x03\x04", "a zip archive, such as a PyTorch checkpoint"),
    (b"\x80", "a Python pickle, such as a PyTorch checkpoint"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"\x89HDF", "an HDF5 file, such as a Keras model"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<", "an HTML or XML page"),
    (b"{", "JSON text"),
)
_KNOWN_MARKS = ((4, b"ORTM", "an ORT-format model"), (4, b"TFL3", "a TensorFlow Lite model"))
_REMEDIES = {"Git LFS": "Run `git lfs pull`", "ORT-format": "Give the .onnx file that it was made from"}
AGAIN = "Export or download it again"
EXPORT = "Export the model to ONNX, for example with torch.onnx.export"


class _CutShort(Exception):  # a private signal, not an error of the library
    """A field ends past the end of what contains it."""


class _NotProtobuf(Exception):
    """Bytes that are no protobuf message."""


class _TooLarge(Exception):
    """More structure than any model has."""


def load_structure(path: Path) -> onnx.ModelProto:
    """The model without the payloads of its large tensors; BadInput if the file is no usable ONNX model.

    Tensors that lost their payload keep name, type and dimensions. External data are checked to be inside of the
    model's folder and long enough.
    """
    _check_is_file(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            _check_start(path, mapped[:512])
            model = _parsed(path, mapped)
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise BadInput(what=what, where=str(path), todo="Check the file") from None
    if not model.HasField("graph") or not model.opset_import:
        missing = "graph" if not model.HasField("graph") else "operator set; it may be cut short"
        raise BadInput(what=f"not an ONNX model: it has no {missing}", where=str(path), todo=EXPORT)
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise BadInput(what="a damaged ONNX model: a name in it is no text", where=str(path), todo=AGAIN)
    for tensor in external_tensors(model):
        _check_external(path, tensor)
    return model


def _check_is_file(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror or error}"
        raise BadInput(what=what, where=str(path), todo="Check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise BadInput(what="a folder, not a model file", where=str(path), todo="Give the .onnx file in it")
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(what="not a regular file", where=str(path), todo="Give an .onnx file")
    if status.st_size == 0:
        raise BadInput(what="the file is empty", where=str(path), todo=AGAIN)
    if status.st_size > PROTOBUF_BYTES:
        raise BadInput(
            what=f"{status.st_size} bytes; an ONNX file cannot have 2 GB or more",
            where=str(path),
            todo="Save the model with external data",
        )


def _check_start(path: Path, start: bytes) -> None:
    found = next((words for magic, words in _KNOWN_STARTS if start.lstrip().startswith(magic)), None)
    found = found or next((words for at, magic, words in _KNOWN_MARKS if start[at:].startswith(magic)), None)
    if found is None and all(byte >= 32 or byte in b"\t\n\r\f" for byte in start) and start.isascii():
        found = "text"
    if found is not None:
        todo = next((words for mark, words in _REMEDIES.items() if mark in found), EXPORT)
        raise BadInput(what=f"not an ONNX model but {found}", where=str(path), todo=todo)


def _parsed(path: Path, mapped: mmap.mmap) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(bytes(_Wire(mapped).without_payloads(0, len(mapped), "model", 0)))
    except _CutShort:
        if mapped[0] != IR_VERSION_TAG:
            raise BadInput(what="not an ONNX model", where=str(path), todo=EXPORT) from None
        raise BadInput(what="the file is cut short or damaged", where=str(path), todo=AGAIN) from None
    except _TooLarge:
        what = f"more than {STRUCTURE_BYTES >> 20} MiB or {STRUCTURE_FIELDS} fields that are not weights"
        raise BadInput(what=what, where=str(path), todo="Check that this is a model") from None
    except (_NotProtobuf, DecodeError, RecursionError):
        raise BadInput(what="not an ONNX model, or a damaged one", where=str(path), todo=AGAIN) from None
    return model


# --- the wire format -----------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Wire:
    """The mapped file while it is walked. Positions are passed on, since a view would keep the map from closing."""

    data: mmap.mmap
    fields: int = 0
    kept_bytes: int = 0

    def without_payloads(self, at: int, end: int, message: str, depth: int) -> bytearray:
        """The bytes of a message without tensor payloads above KEPT_BYTES, its lengths made to agree."""
        if depth > NESTING:
            raise _NotProtobuf
        kept = bytearray()
        while at < end:
            start = at
            tag, at = self.varint(at, end)
            number, wire = tag >> 3, tag & 7
            length, at = self.varint(at, end) if wire == _LENGTH else (self.scalar_bytes(at, end, wire), at)
            begin, at = at, at + length
            if at > end:
                raise _CutShort
            nested = _NESTED.get((message, number)) if wire == _LENGTH and length > KEPT_BYTES else None
            if nested is not None:
                body = self.without_payloads(begin, at, nested, depth + 1)
                kept += _encoded(tag) + _encoded(len(body)) + body
            elif length <= KEPT_BYTES or (message, number) not in _PAYLOADS:
                self.count(at - start)
                kept += self.data[start:at]
        return kept

    def count(self, kept: int) -> None:
        """Stop at what no model has: it would only cost memory and time."""
        self.fields, self.kept_bytes = self.fields + 1, self.kept_bytes + kept
        if self.fields > STRUCTURE_FIELDS or self.kept_bytes > STRUCTURE_BYTES:
            raise _TooLarge

    def scalar_bytes(self, at: int, end: int, wire: int) -> int:
        """The width of a field without a length."""
        if wire == _VARINT:
            return self.varint(at, end)[1] - at
        if wire not in _FIXED:
            raise _NotProtobuf
        return _FIXED[wire]

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """A number of up to ten bytes at `at`, and where it ends."""
        value = shift = 0
        while shift < VARINT_BITS:
            if at >= end:
                raise _CutShort
            byte = self.data[at]
            value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
            if byte < 0x80:
                return value, at
        raise _NotProtobuf


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# --- what the structure holds --------------------------------------------------------------------------------------
def graphs_of(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """The main graph and all graphs inside of its nodes' attributes, outermost first."""
    found, index = [model.graph], 0
    while index < len(found):
        for node in found[index].node:
            found.extend(subgraphs(node))
        index += 1
    return found


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    found = []
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            found.append(attribute.g)
        found.extend(attribute.graphs)
    return found


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Every name and kind that is looked at later; protobuf gives those that are not UTF-8 as bytes."""
    yield from (imported.domain for imported in model.opset_import)
    for graph in graphs_of(model):
        for item in (*graph.input, *graph.output):
            yield item.name
            yield from (dim.dim_param for dim in item.type.tensor_type.shape.dim)
        for node in graph.node:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
        for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
            yield tensor.name
            yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))


def external_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Every tensor whose payload lies in another file."""
    tensors = [tensor for graph in graphs_of(model) for tensor in graph.initializer]
    attributes = [a for graph in graphs_of(model) for node in graph.node for a in node.attribute]
    tensors += [a.t for a in attributes if a.type == onnx.AttributeProto.TENSOR]
    return [t for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL]


def external_files(path: Path) -> tuple[Path, ...]:
    """The files beside the model that hold its weights, each once; BadInput as for `load_structure`."""
    tensors = external_tensors(load_structure(path))
    locations = (entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location")
    return tuple(path.parent / location for location in dict.fromkeys(locations))


def dtype_name(data_type: int) -> str:
    """The name of an ONNX element type as ONNX Runtime's profile writes it, such as `float` or `int64`."""
    try:
        return str(onnx.TensorProto.DataType.Name(data_type)).lower()
    except ValueError:
        return f"type{data_type}"


def _check_external(path: Path, tensor: onnx.TensorProto) -> None:
    facts = {entry.key: entry.value for entry in tensor.external_data}
    location = facts.get("location", "")
    parts = (*PurePosixPath(location).parts, *PureWindowsPath(location).parts)
    absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).is_absolute()
    if not location or absolute or ".." in parts or "\0" in location:
        raise BadInput(
            what=f"the weights of {tensor.name!r} point outside of the model's folder: {location!r}",
            where=str(path),
            todo="Do not use this file unless you made it; save it again with its data beside it",
        )
    beside = path.parent / location
    try:
        held = beside.stat().st_size
        begin, length = int(facts.get("offset") or 0), int(facts.get("length") or 0)
    except OSError:
        what = f"the model's weights are missing: no file {beside}"
        raise BadInput(what=what, where=str(path), todo=f"Put {location} beside the model") from None
    except ValueError:
        what = f"offset or length of the weights of {tensor.name!r} is no number"
        raise BadInput(what=what, where=str(path), todo="Export the model again") from None
    elements = onnx_elements(tensor)
    needed = begin + max(length, (elements * BITS.get(dtype_name(tensor.data_type), 0) + 7) // 8)
    if min(begin, length, elements) < 0 or needed > held:
        what = f"the weights' file {beside} is too short: {held} bytes, {tensor.name!r} needs {needed}"
        raise BadInput(what=what, where=str(path), todo="Copy or download it again")


def onnx_elements(tensor: onnx.TensorProto) -> int:
    """Elements of a tensor by its dimensions."""
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def tensor_type(tensor: onnx.TensorProto) -> Tensor:
    """The type of a constant of the file."""
    return Tensor(dtype_name(tensor.data_type), tuple(tensor.dims))


def has_payload(tensor: onnx.TensorProto) -> bool:
    """Whether the tensor still has its values: not stripped, not external."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return False
    held = (tensor.raw_data, tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    return onnx_elements(tensor) <= 0 or any(map(len, (*held, tensor.uint64_data, tensor.string_data)))


def dim_name(name: str, axis: int, dim: onnx.TensorShapeProto.Dimension) -> int | str:
    """The size of an input's dimension or, where it is free, its name: `input.axis` if it has none, such as `?` or -1."""
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    given = str(dim.dim_param)
    return given if any(c.isalpha() for c in given) else f"{name}.{axis}"


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operators that the model imports; 0 if it imports none."""
    return max((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
