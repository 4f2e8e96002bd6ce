"""Messages of TensorFlow Serving over gRPC (`tensorflow.serving.PredictionService`), as bytes.

Numbers of fields are those of tensorflow_serving/apis and of TensorFlow's tensor.proto, types.proto and meta_graph.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pinchpoint.inference_messages import READY, TEXT, Listed, Tensor, drawn
from pinchpoint.load.protobuf import WORD, Malformed, Message, block, decoded, integer

METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
FIELD, USUAL = "signature_def", "serving_default"
KINDS = {1: "FP32", 2: "FP64", 3: "INT32", 4: "UINT8", 5: "INT16", 6: "INT8", 7: "BYTES", 9: "INT64", 10: "BOOL", 14: "BF16",
         17: "UINT16", 19: "FP16", 22: "UINT32", 23: "UINT64"}  # fmt: skip
TYPES = {kind: number for number, kind in KINDS.items()}
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: READY, 40: "UNLOADING", 50: "END"}


def spec(model: str, version: str, signature: str = "") -> bytes:
    """ModelSpec: a model, its version (a number, or a label) and the signature that is meant."""
    chosen = b""
    if version:
        number = version.isascii() and version.isdigit() and int(version) < WORD
        chosen = block(2, integer(1, int(version))) if number else block(4, version)
    return block(1, model) + chosen + (block(3, signature) if signature else b"")


def asked(model: str, version: str) -> bytes:
    """The request that asks what a model takes."""
    return block(1, spec(model, version)) + block(2, FIELD)


def status(model: str, version: str) -> bytes:
    """The request that asks whether a model is there."""
    return block(1, spec(model, version))


def inputs_of(answer: bytes) -> tuple[str, tuple[Tensor, ...]]:
    """The signature that is asked, and its inputs, of GetModelMetadataResponse; Malformed where it is none."""
    told = [each.message(2) for each in decoded(answer).messages(2) if each.text(1) == FIELD]
    signatures = [each for any_ in told for each in any_.message(2).messages(1)]
    known = {each.text(1): each.message(2) for each in signatures if each.message(2).messages(1)}
    if not known:
        raise Malformed("it has no signature with inputs")
    name = USUAL if USUAL in known else min(known)
    return name, tuple(_tensor(each) for each in known[name].messages(1))


def _tensor(entry: Message) -> Tensor:
    told = entry.message(2)
    number, shape = told.integer(2), told.message(3)
    sizes = tuple((each.integers(1) or (0,))[-1] for each in shape.messages(2))
    return Tensor(entry.text(1), KINDS.get(number, f"type {number}"), sizes)


def predict(model: str, version: str, signature: str, inputs: Sequence[Tensor], chance: np.random.Generator) -> bytes:
    """PredictRequest with random values; ValueError with the input that cannot be made up."""
    parts = [block(1, spec(model, version, signature))]
    for each, sizes, values in drawn(inputs, chance):
        shape = b"".join(block(2, integer(1, size)) for size in sizes)
        count = len(values) // (4 + len(TEXT))
        content = block(8, TEXT) * count if each.kind == "BYTES" else block(4, values)
        tensor = integer(1, TYPES[each.kind]) + block(2, shape) + content
        parts.append(block(2, block(1, each.name) + block(2, tensor)))
    return b"".join(parts)


def listed(model: str, answer: bytes) -> tuple[Listed, ...]:
    """The versions of a model by GetModelStatusResponse, and whether they are ready; Malformed where it is none."""
    found = decoded(answer).messages(1)
    return tuple(Listed(model, str(each.integer(1)), STATES.get(each.integer(2), "UNKNOWN")) for each in found)
