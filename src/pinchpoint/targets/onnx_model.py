"""A model file for ONNX Runtime, with its weights inside or beside it."""

from __future__ import annotations

import json
import os
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pinchpoint import graphs
from pinchpoint.contracts import Plan
from pinchpoint.domain.operator import Graph, GraphInput
from pinchpoint.domain.target import TargetFacts, TargetSpec
from pinchpoint.domain.workload import Workload
from pinchpoint.errors import BadInput

Feed = dict[str, npt.NDArray[np.generic]]
FEEDS_FOR_TABLES = 32
FEED_BYTES = 128 << 20
INPUT_BYTES = 1 << 30
SHORTER = 4
SIZE = "dim."
UNREADABLE = (  # what numpy, zipfile and json raise at damaged files
    OSError, ValueError, TypeError, EOFError, KeyError, OverflowError, MemoryError, RecursionError, NotImplementedError,
    SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """An `.onnx` file, run by the onnxruntime of the user's interpreter."""

    kind: str = "onnx"

    def recognises(self, uri: str) -> bool:
        """By its name; what is in it is checked in `prepare`."""
        return uri.lower().endswith((".onnx", ".ort")) or (os.path.isfile(uri) and not uri.endswith(".py"))

    def prepare(self, spec: TargetSpec, workload: Workload, folder: Path) -> Plan:
        """Read the graph, make or read its inputs, and write them into `folder`."""
        path = Path(spec.uri)
        sizes = _sizes(spec)
        given = _given_feeds(spec, graphs.read_inputs(path)) if spec.input else []
        if given:
            sizes |= _dims_of(graphs.read_inputs(path), given[0])
        graph = graphs.read_graph(path, bindings=sizes, batch=workload.batch, length=workload.length)
        feeds = given or _made_feeds(graph, workload.seed)
        second, lengths = ([], None) if given else _second_length(path, sizes, workload)
        load = {
            "kind": self.kind,
            "uri": spec.uri,
            "path": str(path.resolve()),
            "settings": {key: value for key, value in spec.settings if not key.startswith(SIZE)},
            "feeds": _written(folder, "input", feeds),
            "second_feeds": _written(folder, "second", second),
        }
        facts = TargetFacts(
            self.kind,
            spec.uri,
            parameters=graph.parameters,
            parameter_bytes=graph.parameter_bytes,
            flops_per_request=graph.flops,
            operators=len(graph.operators),
            input_text=_input_text(feeds[0], spec.input),
            settings=spec.settings,
        )
        return Plan(spec, facts, load, lengths)


def _made_feeds(graph: Graph, seed: int) -> list[Feed]:
    """Random requests: one, or many where inputs index a table, so that its rows do not stay in the cache."""
    first = graphs.make_inputs(graph, seed)
    if all(item.table_rows is None for item in graph.inputs):
        return [first]
    each = max(sum(array.nbytes for array in first.values()), 1)
    count = max(1, min(FEEDS_FOR_TABLES, FEED_BYTES // each))
    return [first, *(graphs.make_inputs(graph, seed + i) for i in range(1, count))]


def _sizes(spec: TargetSpec) -> dict[str, int]:
    """Sizes of free dimensions from `--set dim.NAME=SIZE`."""
    sizes = {}
    for key, value in spec.settings:
        if key.startswith(SIZE):
            if not value.isdigit() or int(value) < 1:
                raise BadInput(
                    what=f"a size is a whole number, not {value!r}", where=f"--set {key}", todo="Give 1 or more"
                )
            sizes[key.removeprefix(SIZE)] = int(value)
    return sizes


def _second_length(path: Path, sizes: dict[str, int], workload: Workload) -> tuple[list[Feed], tuple[int, int] | None]:
    """Inputs of a shorter length, where a length is free: a verdict at one length says little of another."""
    shorter = max(workload.length // SHORTER, 1)
    lengths = {name for name, role in graphs.free_dims(path) if role == "length"} - set(sizes)
    if not lengths or shorter == workload.length:
        return [], None
    try:
        other = graphs.read_graph(path, bindings=sizes, batch=workload.batch, length=shorter)
    except BadInput:
        return [], None  # the graph does not take this length: the first is what it is measured at
    return [graphs.make_inputs(other, workload.seed)], (workload.length, shorter)


def _given_feeds(spec: TargetSpec, inputs: tuple[GraphInput, ...]) -> list[Feed]:
    """The user's own requests from --input, checked against the graph."""
    source = Path(spec.input or "")
    try:
        paths = [source] if source.is_file() else sorted(p for p in source.iterdir() if p.is_file())
    except OSError as error:
        what = "no such file or folder" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise BadInput(what=what, where=str(source), todo="Give .npz, .npy or .json with --input") from None
    if not paths:
        raise BadInput(what="the folder holds no files", where=str(source), todo="Put one .npz file a request into it")
    feeds = [_read_feed(path, inputs) for path in paths[:FEEDS_FOR_TABLES]]
    for path, feed in zip(paths, feeds, strict=False):
        try:
            graphs.check_inputs(inputs, feed)
        except BadInput as error:
            raise BadInput(
                what=error.what, where=f"{path}: {error.where}" if error.where else str(path), todo=error.todo
            ) from None
    return feeds


def _read_feed(path: Path, inputs: tuple[GraphInput, ...]) -> Feed:
    """One request from .npz (by input name), .npy (the only input) or .json (an object of nested lists)."""
    names = [item.name for item in inputs]
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".npy", ".json"):
        raise BadInput(
            what=f"a model takes arrays, not a {suffix or 'nameless'} file",
            where=str(path),
            todo="Give .npz, .npy or .json",
        )
    try:
        if _unpacked_bytes(path) > INPUT_BYTES:
            raise BadInput(what="larger than 1 GB", where=str(path), todo="Give a smaller request")
        if suffix == ".json":
            return _from_json(json.loads(path.read_bytes()), inputs)
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.lib.npyio.NpzFile):
            with stored:
                return {name: stored[name] for name in stored.files}
    except UNREADABLE as error:
        raise BadInput(what=f"cannot be read: {error}", where=str(path), todo="Write it with numpy.savez") from None
    if len(names) != 1:
        raise BadInput(
            what=f"one array, but the model takes {len(names)} inputs: {', '.join(names)}",
            where=str(path),
            todo="Give an .npz with these names",
        )
    return {names[0]: stored}


def _unpacked_bytes(path: Path) -> int:
    """How large the file is once it is read."""
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def _from_json(content: object, inputs: tuple[GraphInput, ...]) -> Feed:
    kinds = {"float": "float32", "double": "float64"}
    if not isinstance(content, dict):
        content = {inputs[0].name: content} if len(inputs) == 1 else {}
    dtypes = {item.name: kinds.get(item.dtype, item.dtype) for item in inputs}
    return {name: np.array(value, dtype=dtypes.get(name)) for name, value in content.items()}


def _dims_of(inputs: tuple[GraphInput, ...], feed: Feed) -> dict[str, int]:
    """What the given arrays bind the free dimensions to."""
    return {
        dim: int(size)
        for item in inputs
        if item.name in feed
        for dim, size in zip(item.shape, feed[item.name].shape, strict=True)
        if isinstance(dim, str)
    }


def _written(folder: Path, name: str, feeds: list[Feed]) -> list[str]:
    paths = []
    for number, feed in enumerate(feeds):
        path = folder / f"{name}-{number:02}.npz"
        with zipfile.ZipFile(path, "w") as archive:  # as savez does, which takes no input of the name `file`
            for key, array in feed.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array)
        paths.append(str(path.resolve()))
    return paths


def _input_text(feed: Feed, given: str | None) -> str:
    if not feed:
        return "none, the model takes none"
    shapes = ", ".join(f"{name}[{','.join(map(str, array.shape))}]" for name, array in feed.items())
    return f"{shapes} from {given}" if given else f"{shapes}, random (--input to set)"


ONNX_MODEL = OnnxModel()
