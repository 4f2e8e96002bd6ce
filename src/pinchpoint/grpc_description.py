"""The same as `self_description` over gRPC: a server's word on a model -> the message that asks it, and what it has counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pinchpoint import inference_messages, prediction_messages
from pinchpoint.errors import BadInput, PinchpointError, TargetFailed
from pinchpoint.inference_messages import READY, Listed
from pinchpoint.load.addresses import INFER, PREDICT, STREAM_INFER, resolved
from pinchpoint.load.grpc_greeting import Came, asked, failed
from pinchpoint.load.grpc_tls import trust
from pinchpoint.load.protobuf import MOST_BYTES, Malformed
from pinchpoint.load.sending import Sending

PROTOCOLS = {INFER: "Open Inference Protocol", PREDICT: "TensorFlow Serving"}
TIMEOUT_S = 5.0
MOST_SHOWN, LONGEST_NAME = 8, 80
OF_THE_CALL = ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "no word")


def request(sending: Sending, seed: int) -> bytes:
    """A request with random values for the model of the URL, by the server's own metadata.

    BadInput where nobody is there, and where the model is not served or not ready, listing those that are.
    """
    address = sending.address
    if not address.model:
        raise BadInput(what="no model is named", where=address.uri, todo=f"Name one of {_names(_listed(sending))}")
    described = _described_prediction if address.target == PREDICT else _described_inference
    try:
        return described(sending, np.random.default_rng(seed))
    except Malformed as error:
        raise _odd(sending, f"its metadata is not that of the protocol ({error})") from None
    except ValueError as error:
        raise _odd(sending, f"its input {error} cannot be made up") from None


def _described_inference(sending: Sending, chance: np.random.Generator) -> bytes:
    model, version = sending.address.model, sending.address.version
    answer = _answer(sending, inference_messages.METADATA, inference_messages.named(model, version))
    return inference_messages.infer(model, version, inference_messages.inputs_of(answer), chance)


def _described_prediction(sending: Sending, chance: np.random.Generator) -> bytes:
    model, version = sending.address.model, sending.address.version
    answer = _answer(sending, prediction_messages.METADATA, prediction_messages.asked(model, version))
    return prediction_messages.predict(model, version, *prediction_messages.inputs_of(answer), chance)


def statistics(sending: Sending, model: str) -> Mapping[str, tuple[int, int]]:
    """What a server has counted of a model so far, as Triton does; nothing where it tells nothing."""
    answer = _told(sending, inference_messages.STATISTICS, model)
    try:
        return inference_messages.durations(answer) if answer is not None else {}
    except Malformed:
        return {}


def is_decoupled(sending: Sending) -> bool:
    """Whether the model of the URL answers in a stream of messages, as far as the server tells it."""
    answer = _told(sending, inference_messages.CONFIG, sending.address.model)
    try:
        return answer is not None and inference_messages.is_decoupled(answer)
    except Malformed:
        return False


def steps(sending: Sending, model: str) -> tuple[str, ...]:
    """The models that an ensemble of Triton runs; none where it is none."""
    answer = _told(sending, inference_messages.CONFIG, model)
    try:
        return inference_messages.steps_of(answer) if answer is not None else ()
    except Malformed:
        return ()


def _told(sending: Sending, method: str, model: str) -> bytes | None:
    """What a server of the protocol says of a model; None where it says nothing."""
    address = sending.address
    if address.target not in (INFER, STREAM_INFER):
        return None
    version = address.version if model == address.model else ""
    try:
        came = _called(sending, method, inference_messages.named(model, version))
    except (BadInput, TargetFailed):
        return None
    return None if came.code else came.answer


def _called(sending: Sending, method: str, message: bytes) -> Came:
    address = replace(sending.address, target=method)
    asking = replace(sending, address=address)
    hosts = resolved(address)
    return asked(asking, trust(asking, hosts, TIMEOUT_S), hosts, message, TIMEOUT_S, MOST_BYTES)[1]


def _answer(sending: Sending, method: str, message: bytes) -> bytes:
    """What a server says of a model. Raises what `_unknown` makes where it says nothing."""
    came = _called(sending, method, message)
    if came.code:
        raise _unknown(sending, came)
    return came.answer


def _listed(sending: Sending) -> tuple[Listed, ...]:
    """The models of the server, ready or not, as far as it tells them: TensorFlow Serving only those that it is asked for."""
    model, version = sending.address.model, sending.address.version
    prediction = sending.address.target == PREDICT
    method = prediction_messages.STATUS if prediction else inference_messages.INDEX
    came = _called(sending, method, prediction_messages.status(model, version) if prediction else b"")
    if came.unreached:
        raise failed(sending, came, TIMEOUT_S)
    try:
        if came.code:
            return ()
        return prediction_messages.listed(model, came.answer) if prediction else inference_messages.listed(came.answer)
    except Malformed:
        return ()


def _names(found: Sequence[Listed]) -> str:
    """Models for a sentence."""
    names = sorted({_shown(each.name) for each in found})
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(names[:MOST_SHOWN]) + more if names else "unknown: it lists none"


def _shown(told: str) -> str:
    """What a server said, fit to be shown."""
    return "".join(c for c in told[:LONGEST_NAME] if c.isprintable())


def _unknown(sending: Sending, came: Came) -> PinchpointError:
    """What is wrong where a server tells nothing of a model."""
    address = sending.address
    if came.code == "UNIMPLEMENTED":
        what = f"it does not speak the protocol ({PROTOCOLS[address.target]})"
        todo = "Check the port, or name the method: grpc://host:port/package.Service/Method"
        return BadInput(what=what, where=address.uri, todo=todo)
    if came.unreached or came.code in OF_THE_CALL:
        return failed(sending, came, TIMEOUT_S)
    found = _listed(sending)
    mine = [each for each in found if each.name == address.model]
    mine = [each for each in mine if address.version in ("", each.version)] or mine
    if mine and all(each.state != READY for each in mine):
        what = f"model {address.model!r} is not ready ({_shown(mine[0].state)})"
        return BadInput(what=what, where=address.uri, todo="Load it, or name another")
    version = f" in version {address.version!r}" if address.version else ""
    what = f"model {address.model!r} is not served here{version}"
    ready = [each for each in found if each.state == READY]
    return BadInput(what=what, where=address.uri, todo=f"Served are {_names(ready)}")


def _odd(sending: Sending, what: str) -> BadInput:
    return BadInput(what=what, where=sending.address.uri, todo="Give a request with --input: the message in bytes")
