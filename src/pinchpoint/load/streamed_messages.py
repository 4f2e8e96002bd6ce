"""A call that is answered by several messages, as decoupled models of Triton do: what they say, and how they are kept."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from pinchpoint.load.protobuf import decoded
from pinchpoint.load.wire import MOST_BYTES

FRAME = struct.Struct(">BI")  # before each message, as gRPC sends it: whether it is compressed, and its length
ERROR, RESPONSE, OUTPUTS = 1, 2, 5  # fields of ModelStreamInferResponse, and of the ModelInferResponse in it


def error_of(answer: bytes) -> str:
    """What went wrong, where a message tells of an error; Malformed where it is none of ModelStreamInfer."""
    return decoded(answer, MOST_BYTES).text(ERROR)


def holds_outputs(answer: bytes) -> bool:
    """Whether it is more than the word that a request is over; Malformed where it is none of ModelStreamInfer."""
    responses = decoded(answer, MOST_BYTES).blocks(RESPONSE)
    return any(OUTPUTS in decoded(each, MOST_BYTES).fields for each in responses)


def framed(answers: Iterable[bytes]) -> bytes:
    """Messages as one."""
    return b"".join(FRAME.pack(0, len(each)) + each for each in answers)


def unframed(data: bytes) -> Iterator[bytes]:
    """The messages of `framed`."""
    at = 0
    while at < len(data):
        begin = at + FRAME.size
        at = begin + FRAME.unpack_from(data, at)[1]
        yield data[begin:at]
