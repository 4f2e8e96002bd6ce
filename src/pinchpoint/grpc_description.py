"""The same as `self_description` over gRPC: a server's word on a model -> the message that asks it, and what it has counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pinchpoint import inference_messages as messages
from pinchpoint.errors import BadInput, PinchpointError
from pinchpoint.inference_messages import READY, Listed
from pinchpoint.load.addresses import resolved
from pinchpoint.load.engine import Sending
from pinchpoint.load.grpc_greeting import Came, asked, failed
from pinchpoint.load.protobuf import MOST_BYTES, Malformed

PROTOCOL = "Open Inference Protocol"
TIMEOUT_S = 5.0
MOST_SHOWN, LONGEST_NAME = 8, 80
OF_THE_CALL = ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "no word")


def request(sending: Sending, seed: int) -> bytes:
    """ModelInferRequest with random values for the model of the URL, by the server's own metadata.

    BadInput where nobody is there, and where the model is not served or not ready, listing those that are.
    """
    address = sending.address
    if not address.model:
        raise BadInput(what="no model is named", where=address.uri, todo=f"Name one of {_names(_listed(sending))}")
    came = _called(sending, messages.METADATA, messages.named(address.model, address.version))
    if came.code:
        raise _unknown(sending, came)
    try:
        inputs = messages.inputs_of(came.answer)
    except Malformed as error:
        raise _odd(sending, f"its metadata is not that of the protocol ({error})") from None
    try:
        return messages.infer(address.model, address.version, inputs, np.random.default_rng(seed))
    except ValueError as error:
        raise _odd(sending, f"its input {error} cannot be made up") from None


def statistics(sending: Sending) -> Mapping[str, tuple[int, int]]:
    """What a server has counted of the URL's model so far, as Triton does; nothing where it tells nothing."""
    try:
        came = _called(sending, messages.STATISTICS, messages.named(sending.address.model, sending.address.version))
        return {} if came.code else messages.durations(came.answer)
    except (Malformed, BadInput):
        return {}


def _called(sending: Sending, method: str, message: bytes) -> Came:
    address = replace(sending.address, target=method)
    return asked(address, resolved(address), message, sending.headers, TIMEOUT_S, MOST_BYTES)[1]


def _listed(sending: Sending) -> tuple[Listed, ...]:
    """The models of the server, ready or not; none where it does not list them."""
    came = _called(sending, messages.INDEX, b"")
    if came.unreached:
        raise failed(sending.address, came, TIMEOUT_S, sending.headers)
    try:
        return () if came.code else messages.listed(came.answer)
    except Malformed:
        return ()


def _names(found: Sequence[Listed]) -> str:
    """Models for a sentence."""
    names = sorted({each.name[:LONGEST_NAME] for each in found})
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(names[:MOST_SHOWN]) + more if names else "unknown: it lists none"


def _unknown(sending: Sending, came: Came) -> PinchpointError:
    """What is wrong where a server tells nothing of a model."""
    address = sending.address
    if came.code == "UNIMPLEMENTED":
        what, todo = f"it does not speak the {PROTOCOL} over gRPC", "Check the port, or name the method: grpc://"
        return BadInput(what=what, where=address.uri, todo=f"{todo}host:port/package.Service/Method")
    if came.unreached or came.code in OF_THE_CALL:
        return failed(address, came, TIMEOUT_S, sending.headers)
    found = _listed(sending)
    mine = [each for each in found if each.name == address.model]
    mine = [each for each in mine if address.version in ("", each.version)] or mine
    if mine and all(each.state != READY for each in mine):
        what = f"model {address.model!r} is not ready ({mine[0].state[:LONGEST_NAME]})"
        return BadInput(what=what, where=address.uri, todo="Load it, or name another")
    version = f" in version {address.version!r}" if address.version else ""
    what = f"model {address.model!r} is not served here{version}"
    ready = [each for each in found if each.state == READY]
    return BadInput(what=what, where=address.uri, todo=f"Served are {_names(ready)}")


def _odd(sending: Sending, what: str) -> BadInput:
    return BadInput(what=what, where=sending.address.uri, todo="Give a request with --input: the message in bytes")
