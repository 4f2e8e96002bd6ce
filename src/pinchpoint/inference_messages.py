"""Messages of the Open Inference Protocol over gRPC (KServe v2, `inference.GRPCInferenceService`), as bytes.

Numbers of fields are those of the protocol's own description (grpc_service.proto of KServe, and of Triton, which adds
statistics and the index of a repository).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pinchpoint.load.protobuf import Message, block, decoded, packed

SERVICE = "/inference.GRPCInferenceService"
METADATA, STATISTICS, INDEX = f"{SERVICE}/ModelMetadata", f"{SERVICE}/ModelStatistics", f"{SERVICE}/RepositoryIndex"
CONFIG = f"{SERVICE}/ModelConfig"
MOST_ELEMENTS = 1 << 22  # of a tensor
MOST_REQUEST_BYTES = 64 << 20
MOST_DIMENSION, MOST_DIMENSIONS = 1 << 16, 64
TEXT = b"text"  # an element of BYTES: any
DURATIONS = {"success": 1, "queue": 3, "compute_input": 4, "compute_infer": 5, "compute_output": 6}
FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
INTEGERS = {
    "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
}  # fmt: skip
READY = "READY"


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a server says of an input; a dimension below 1 is free."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of a repository. `state` is READY, or why it is not, as far as it is told."""

    name: str
    version: str
    state: str


def named(model: str, version: str) -> bytes:
    """The request that asks of a model, whether for metadata or statistics."""
    return block(1, model) + block(2, version)


def inputs_of(answer: bytes) -> tuple[Tensor, ...]:
    """The inputs of ModelMetadataResponse; Malformed where it is none."""
    return tuple(Tensor(each.text(1), each.text(2), each.integers(3)) for each in decoded(answer).messages(4))


def infer(model: str, version: str, inputs: Sequence[Tensor], chance: np.random.Generator) -> bytes:
    """ModelInferRequest with random values; free dimensions are 1. ValueError with the input that cannot be made up."""
    told, raw = [], []
    for each, sizes, values in drawn(inputs, chance):
        told.append(block(5, block(1, each.name) + block(2, each.kind) + packed(3, sizes)))
        raw.append(block(7, values))
    return b"".join([named(model, version), *told, *raw])


def drawn(inputs: Sequence[Tensor], chance: np.random.Generator) -> Iterator[tuple[Tensor, list[int], bytes]]:
    """Each input with its sizes and random values; ValueError with one that is of an unknown datatype, or too large."""
    size = 0
    for each in inputs:
        sizes = [max(length, 1) for length in each.shape]
        possible = len(sizes) <= MOST_DIMENSIONS and max(sizes, default=1) <= MOST_DIMENSION
        count = math.prod(sizes) if possible else MOST_ELEMENTS + 1
        values = _values(each.kind, count, chance) if count <= MOST_ELEMENTS else None
        size += len(values or b"")
        if values is None or size > MOST_REQUEST_BYTES:
            raise ValueError(f"{each.name[:80]!r} ({each.kind[:20]} {list(each.shape[:8])})")
        yield each, sizes, values


def _values(kind: str, count: int, chance: np.random.Generator) -> bytes | None:
    """So many elements as they lie in `raw_input_contents`: little-endian, BF16 the upper half of FP32, BOOL a byte, BYTES each
    behind its length; None for a datatype that the protocol does not have.
    """
    if kind in FLOATS:
        return chance.random(count, np.float32).astype(FLOATS[kind]).tobytes()
    if kind in INTEGERS or kind == "BOOL":
        return chance.integers(0, 2, count).astype(INTEGERS.get(kind, "u1")).tobytes()
    if kind == "BF16":
        return (chance.random(count, np.float32).astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return (len(TEXT).to_bytes(4, "little") + TEXT) * count if kind == "BYTES" else None


def listed(answer: bytes) -> tuple[Listed, ...]:
    """The models of RepositoryIndexResponse; Malformed where it is none."""
    return tuple(map(_listed, decoded(answer).messages(1)))


def _listed(told: Message) -> Listed:
    state, reason = told.text(3).rpartition(".")[2] or READY, told.text(4)
    return Listed(told.text(1), told.text(2), f"{state}: {reason}" if reason and state != READY else state)


def steps_of(answer: bytes) -> tuple[str, ...]:
    """The models that an ensemble runs, by ModelConfigResponse (model_config.proto of Triton); Malformed where it is none."""
    return tuple(each.text(1) for each in decoded(answer).message(1).message(15).messages(1))


def is_decoupled(answer: bytes) -> bool:
    """Whether a request may have any number of responses, by ModelConfigResponse; Malformed where it is none."""
    return bool(decoded(answer).message(1).message(19).integer(1))


def durations(answer: bytes) -> Mapping[str, tuple[int, int]]:
    """What ModelStatisticsResponse counts of its first model: how often, and nanoseconds in all; Malformed where it is none."""
    found = decoded(answer).messages(1)
    told = found[0].message(6) if found else Message({})
    counted = {name: told.message(field) for name, field in DURATIONS.items() if field in told.fields}
    return {name: (each.integer(1), each.integer(2)) for name, each in counted.items()}
