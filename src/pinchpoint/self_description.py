"""A server's URL -> the request that it expects, from what it says of itself; nothing of it is believed but shapes and names.

The Open Inference Protocol (KServe v2: Triton, MLServer, KServe) tells the inputs of a model at `/v2/models/NAME`; so a URL that
names a model is enough; over gRPC, `grpc_description` reads the same. Services that describe themselves by OpenAPI tell their
routes.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np

from pinchpoint import grpc_description, inference_messages
from pinchpoint.driving import LoadOptions, understood
from pinchpoint.errors import BadInput
from pinchpoint.load.addresses import OF_MODELS, STREAM_INFER, Address
from pinchpoint.load.engine import Met, told
from pinchpoint.load.fetching import fetched, first_fetched
from pinchpoint.load.sending import Sending

SCHEMES = {"oip+http": "http", "oip+https": "https", "triton+http": "http", "triton+https": "https"}
MODEL = re.compile(r"^/v2/models/(?P<model>[^/]+)(?P<version>/versions/[^/]+)?(?:/infer)?/?$")
ONLY_A_NAME = re.compile(r"^/(?P<model>[^/]+)/?$")
FILE, MESSAGE = "random-values.json", "random-values.bin"
MOST_ELEMENTS = 1 << 22
MOST_DIMENSION = 1 << 16  # that a free dimension could not be taken as
MOST_SHOWN, MOST_STEPS, MOST_ROUTES = 8, 16, 6
FLOATS = frozenset({"FP32", "FP64"})  # the shorter ones are taken in the binary form only
INTEGERS = re.compile(r"U?INT(8|16|32|64)")
PROTOCOL = "Open Inference Protocol"
DECOUPLED = f"{PROTOCOL} (decoupled)"
BINARY, LENGTH_OF_HEAD = "binary_tensor_data", "Inference-Header-Content-Length"  # an extension of the protocol
COUNTED = ("success", "queue", "compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True, slots=True)
class Described:
    """What to send where, and by which protocol; the protocol is empty where the URL is taken as it is."""

    options: LoadOptions
    protocol: str = ""
    model: str = ""


def described(options: LoadOptions, folder: Path, seed: int) -> Described:
    """The options with path, method and a request body of random values where the server's own metadata tells them.

    The body is written into `folder`. BadInput where a model is named that is not served, listing those that are.
    """
    scheme, _, rest = options.url.partition("://")
    if scheme.lower() in OF_MODELS:
        return _of_grpc(options, folder, seed)
    explicit = scheme in SCHEMES
    options = replace(options, url=f"{SCHEMES.get(scheme, scheme)}://{rest}")
    if not options.url.startswith(("http://", "https://")):
        return Described(options)
    sending = understood(options)[1]
    path, where = unquote(sending.address.target.partition("?")[0]), sending.address.uri
    named = MODEL.match(path) or (ONLY_A_NAME.match(path) if explicit else None)
    if named is None and not explicit:
        return Described(options)
    if named is None:
        raise BadInput(what="no model is named", where=where, todo=f"Name one of {_served(sending)}")
    model, version = named["model"], named.groupdict().get("version") or ""
    place = f"/v2/models/{quote(model)}{version}"
    metadata = first_fetched(sending, place)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("inputs"), list):
        if options.input:
            return Described(_to(options, f"{place}/infer"))
        what = f"model {model!r} is not served here, or tells nothing of its inputs"
        raise BadInput(what=what, where=where, todo=f"Served are {_served(sending)}; or give --input")
    if _is_decoupled(sending, place):
        return Described(_as_events(options, folder, place, metadata["inputs"], seed, where), DECOUPLED, model)
    asked = _to(options, f"{place}/infer")
    if not asked.input and _takes_binary(sending):
        asked = _with_binary(asked, folder, metadata["inputs"], seed, where)
    elif not asked.input:
        asked = _with_text(asked, folder, request_of(metadata["inputs"], random.Random(seed), where))  # noqa: S311  # values, not secrets
    return Described(asked, PROTOCOL, model)


def _with_text(asked: LoadOptions, folder: Path, body: Mapping[str, object]) -> LoadOptions:
    """The options with a request of JSON."""
    (folder / FILE).write_text(json.dumps(body), "utf-8")
    return replace(asked, input=(str(folder / FILE),))


def _is_decoupled(sending: Sending, place: str) -> bool:
    """Whether a request may have any number of responses, by Triton's configuration of a model."""
    config = fetched(sending, f"{place}/config")
    policy = config.get("model_transaction_policy") if isinstance(config, dict) else None
    return isinstance(policy, dict) and policy.get("decoupled") is True


def _as_events(
    options: LoadOptions, folder: Path, place: str, inputs: Sequence[Any], seed: int, where: str
) -> LoadOptions:
    """The options for Triton's `generate_stream`, which answers by events and takes each input as a list; BadInput for a request
    that is given, since it may be one of `infer`, which refuses such a model.
    """
    if options.input:
        what = "this model answers in a stream of messages (decoupled), which infer does not do"
        todo = f"Ask it over gRPC, as in triton+grpc://host:8001/NAME, or name {place}/generate_stream"
        raise BadInput(what=what, where=where, todo=todo)
    chance = random.Random(seed)  # noqa: S311  # values, not secrets
    tensors = (_tensor(each, chance, where) for each in inputs)
    body = {str(each["name"]): each["data"] for each in tensors}
    return _with_text(_to(options, f"{place}/generate_stream"), folder, body)


def _takes_binary(sending: Sending) -> bool:
    """Whether a server takes tensors as bytes behind the JSON, as the clients of Triton send them."""
    told = fetched(sending, "/v2")
    extensions = told.get("extensions") if isinstance(told, dict) else None
    return isinstance(extensions, list) and BINARY in extensions


def _with_binary(asked: LoadOptions, folder: Path, inputs: Sequence[Any], seed: int, where: str) -> LoadOptions:
    """The options with such a request; its outputs come as bytes too."""
    tensors = [
        inference_messages.Tensor(name, kind, tuple(shape)) for name, kind, shape in map(partial(_told, where), inputs)
    ]
    try:
        drawn = list(inference_messages.drawn(tensors, np.random.default_rng(seed)))
    except ValueError as error:
        todo = "Give a request with --input"
        raise BadInput(what=f"its input {error} cannot be made up", where=where, todo=todo) from None
    told = [
        {"name": each.name, "datatype": each.kind, "shape": sizes, "parameters": {"binary_data_size": len(values)}}
        for each, sizes, values in drawn
    ]
    head = json.dumps({"inputs": told, "parameters": {"binary_data_output": True}}).encode()
    (folder / MESSAGE).write_bytes(head + b"".join(values for _, _, values in drawn))
    length = f"{LENGTH_OF_HEAD}: {len(head)}"
    return replace(asked, input=(str(folder / MESSAGE),), header=(*asked.header, length))


def _of_grpc(options: LoadOptions, folder: Path, seed: int) -> Described:
    """The same for a URL that names a protocol of gRPC; its requests are messages in bytes."""
    sending = understood(options)[1]
    if not options.input:
        (folder / MESSAGE).write_bytes(grpc_description.request(sending, seed))
        options = replace(options, input=(str(folder / MESSAGE),))
    protocol, model = grpc_description.PROTOCOLS[sending.address.target], sending.address.model
    if grpc_description.is_decoupled(sending):
        return Described(_as_a_stream(options, sending.address), f"{protocol} (gRPC, decoupled)", model)
    return Described(options, f"{protocol} (gRPC)", model)


def _as_a_stream(options: LoadOptions, address: Address) -> LoadOptions:
    """The options with the method that answers by several messages."""
    parts = urlsplit(options.url)
    place = parts.netloc if parts.port else f"{parts.netloc.rstrip(':')}:{address.port}"
    scheme = "grpcs" if address.tls else "grpc"
    return replace(options, url=f"{scheme}://{place}{STREAM_INFER}")


def _to(options: LoadOptions, path: str) -> LoadOptions:
    parts = urlsplit(options.url)
    return replace(options, url=parts._replace(path=path).geturl(), method=options.method or "POST")


def request_of(inputs: Sequence[Any], chance: random.Random, where: str) -> Mapping[str, object]:
    """A request of the Open Inference Protocol with random values for these inputs; free dimensions are 1."""
    return {"inputs": [_tensor(each, chance, where) for each in inputs]}


def _tensor(told: Any, chance: random.Random, where: str) -> Mapping[str, object]:  # noqa: ANN401  # of a server's JSON
    name, kind, shape = _told(where, told)
    sizes = [max(each, 1) for each in shape]
    count, make = math.prod(sizes), _values(kind, chance)
    if make is None or count > MOST_ELEMENTS:
        what = f"its input {name!r} ({kind} {shape}) cannot be made up as JSON"
        raise BadInput(what=what, where=where, todo="Give a request with --input")
    return {"name": name, "datatype": kind, "shape": sizes, "data": [make() for _ in range(count)]}


def _told(where: str, told: Any) -> tuple[str, str, list[int]]:  # noqa: ANN401  # of a server's JSON
    """Name, datatype and shape of an input."""
    told = told if isinstance(told, dict) else {}
    name, kind, shape = told.get("name"), told.get("datatype"), told.get("shape")
    if not isinstance(name, str) or not isinstance(kind, str) or not _is_shape(shape):
        raise BadInput(what="its metadata is not that of the protocol", where=where, todo="Give a request with --input")
    return name, kind, shape


def _is_shape(found: Any) -> bool:  # noqa: ANN401  # of a server's JSON
    return isinstance(found, list) and all(type(each) is int and each <= MOST_DIMENSION for each in found)


def _values(kind: str, chance: random.Random) -> Callable[[], object] | None:
    """What draws a value of a datatype; None for one that has no JSON."""
    if kind in FLOATS:
        return lambda: round(chance.random(), 4)
    if INTEGERS.fullmatch(kind):
        return lambda: chance.randint(0, 1)
    return {"BOOL": lambda: chance.random() < 0.5, "BYTES": lambda: "text"}.get(kind)  # a coin


def _served(sending: Sending) -> str:
    """The models that are served, for a sentence."""
    index = fetched(sending, "/v2/repository/index", "POST", b"{}")
    names = [str(each.get("name")) for each in index if isinstance(each, dict)] if isinstance(index, list) else []
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(sorted(names)[:MOST_SHOWN]) + more if names else "unknown: it lists none"


def statistics(sending: Sending, model: str) -> Mapping[str, tuple[int, int]]:
    """What a server has counted of a model so far: how often, and nanoseconds in all (Triton's extension of the protocol)."""
    if sending.address.kind == "grpc":
        return grpc_description.statistics(sending, model)
    found = fetched(sending, f"/v2/models/{quote(model)}/stats")
    listed = found.get("model_stats") if isinstance(found, dict) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    told = first.get("inference_stats") if isinstance(first, dict) else None
    counted = {}
    for name in COUNTED:
        each = told.get(name) if isinstance(told, dict) else None
        count, ns = (each.get("count"), each.get("ns")) if isinstance(each, dict) else (None, None)
        if type(count) is int and type(ns) is int:
            counted[name] = count, ns
    return counted


def steps(sending: Sending, model: str) -> tuple[str, ...]:
    """The models that an ensemble of Triton runs, by its configuration; none where it is none."""
    if sending.address.kind == "grpc":
        return grpc_description.steps(sending, model)[:MOST_STEPS]
    config = fetched(sending, f"/v2/models/{quote(model)}/config")
    scheduled = config.get("ensemble_scheduling") if isinstance(config, dict) else None
    listed = scheduled.get("step") if isinstance(scheduled, dict) else None
    names = (each.get("model_name") for each in listed if isinstance(each, dict)) if isinstance(listed, list) else ()
    return tuple(each for each in names if isinstance(each, str) and each)[:MOST_STEPS]


def accepted(met: Met, sending: Sending) -> None:
    """Nothing where the server answered with what was asked for; BadInput where it answered otherwise."""
    status = met.greeted.status
    if status and not 200 <= status < 300:  # RFC 9110, 15
        what = f"the first request was answered with {status} {told(sending, met.greeted.reason)}".strip()
        known = routes(sending)
        listed = f"It serves {', '.join(known[:MOST_ROUTES])}: give" if known else "Give"
        asked = f"{listed} the path, --method and --input that it expects"
        todo = asked if status < 500 else "The error is the server's own: see its log"
        raise BadInput(what=what, where=sending.address.uri, todo=todo)


def routes(sending: Sending) -> tuple[str, ...]:
    """The routes that a service describes by OpenAPI, those that take a body first; none where it does not."""
    found = fetched(sending, "/openapi.json")
    paths = found.get("paths") if isinstance(found, dict) else None
    if not isinstance(paths, dict):
        return ()
    return tuple(sorted(_routes(paths), key=lambda route: (not route.startswith("POST"), route)))


def _routes(paths: Mapping[str, object]) -> Iterator[str]:
    for path, methods in paths.items():
        if isinstance(methods, dict):
            yield from (f"{method.upper()} {path}" for method in methods if method in ("post", "put", "get"))
