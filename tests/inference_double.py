"""A server of the Open Inference Protocol over gRPC for tests: generic handlers and bytes written by hand."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

SERVICE = "/inference.GRPCInferenceService/"
X = b"\x0a\x01x\x12\x04FP32\x1a\x02\x08\x03"  # a tensor: name "x", datatype "FP32", shape [8, 3]
OPEN = b"\x0a\x01x\x12\x04FP32\x1a\x0b" + b"\xff" * 9 + b"\x01\x03"  # the same with shape [-1, 3]
METADATA = b"\x0a\x01m" + b"\x22\x16" + OPEN  # name "m", inputs [x]
INDEX = (
    b"\x0a\x0a\x0a\x01m\x1a\x05READY"
    + b"\x0a\x12\x0a\x04bert\x1a\x0aState.LOAD"
    + b"\x0a\x17\x0a\x03old\x1a\x07UNAVAIL\x22\x07\x1bnloads"
)
COUNTED = b"\x1a\x05\x08\x07\x10\xac\x1b"  # queue: 7 times, 3500 ns
STATISTICS = b"\x0a\x0c\x0a\x01m\x32\x07" + COUNTED
ANSWER = b"\x0a\x01m"
DECOUPLED = b"\x0a\x05\x9a\x01\x02\x08\x01"  # ModelConfigResponse: its model_transaction_policy (19) is decoupled
RESPONSE = b"\x12\x08" + ANSWER + b"\x2a\x03\x0a\x01y"  # ModelStreamInferResponse: an output "y" of model "m"
LAST = (
    b"\x12\x22" + ANSWER + b"\x22\x1d\x0a\x15triton_final_response\x12\x04\x08\x01\x10\x00"
)  # no output, and a parameter
FAILED = b"\x0a\x04oops"


def aborts(code, words="some words"):
    """A handler that refuses."""
    return lambda _request, context: context.abort(code, words)


def told(request, context):
    """The metadata of model `m`, as a server tells them."""
    if b"\x0a\x01m" not in request[:3]:
        context.abort(grpc.StatusCode.NOT_FOUND, "Request for unknown model: it is not found")
    return METADATA


KNOWN = {
    "ModelMetadata": told, "RepositoryIndex": lambda *_: INDEX, "ModelStatistics": lambda *_: STATISTICS,
    "ModelInfer": lambda *_: ANSWER,
}  # fmt: skip


@contextlib.contextmanager
def serving(credentials=None, port=0, streams=(), **handlers):
    """Serve these methods beside the known ones, None for one that is missing; the place. A method of another service has its
    whole name.
    """
    methods = {**KNOWN, **handlers}

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            name = details.method.removeprefix(SERVICE)
            answer = methods.get(name)
            if answer is None:
                return None
            if name == "ModelStreamInfer":  # as Triton has it: each of the requests that come has several responses
                return grpc.stream_stream_rpc_method_handler(
                    lambda requests, _: (part for each in requests for part in answer(each))
                )
            kind = grpc.unary_stream_rpc_method_handler if name in streams else grpc.unary_unary_rpc_method_handler
            return kind(answer)

    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Handler(),))
    place = f"127.0.0.1:{port}"
    bound = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
    server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        server.stop(0).wait()


def sleeping(port, seconds):
    """Serve as a program until it is told to end; each request sleeps with a lock held."""
    one = threading.Lock()

    def slow(_request, _context):
        with one:
            time.sleep(seconds)
        return ANSWER

    with serving(port=port, ModelInfer=slow):
        threading.Event().wait()
