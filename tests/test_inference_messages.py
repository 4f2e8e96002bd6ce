"""Messages of the Open Inference Protocol, against those of Triton's own client where it is there."""

from __future__ import annotations

import numpy as np
import pytest

from pinchpoint import inference_messages as messages
from pinchpoint.inference_messages import Listed, Tensor
from pinchpoint.load.protobuf import Malformed, block, integer

pytest.importorskip("grpc")
import inference_double as double

DTYPES = {
    "BOOL": "?", "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4",
    "UINT64": "u8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip


def made(*inputs, seed=0, version=""):
    return messages.infer("m", version, inputs, np.random.default_rng(seed))


def test_written_by_hand():
    assert messages.inputs_of(double.METADATA) == (Tensor("x", "FP32", (-1, 3)),)
    assert messages.listed(double.INDEX) == (
        Listed("m", "", "READY"), Listed("bert", "", "LOAD"), Listed("old", "", "UNAVAIL: \x1bnloads"),
    )  # fmt: skip
    assert messages.durations(double.STATISTICS) == {"queue": (7, 3500)}
    assert messages.named("m", "") == b"\x0a\x01m\x12\x00"
    assert made(Tensor("n", "BYTES", (1,)))[-10:] == b"\x3a\x08\x04\0\0\0text"


@pytest.mark.parametrize("kind", DTYPES)
def test_a_request_as_the_protocol_has_it(kind):
    pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
    found = pb2.ModelInferRequest.FromString(made(Tensor("x", kind, (-1, 3)), Tensor("y", kind, ()), version="2"))
    assert (found.model_name, found.model_version) == ("m", "2")
    assert [(each.name, each.datatype, list(each.shape)) for each in found.inputs] == [
        ("x", kind, [1, 3]),
        ("y", kind, []),
    ]
    values = [np.frombuffer(raw, DTYPES[kind]) for raw in found.raw_input_contents]
    assert [len(each) for each in values] == [3, 1]
    assert all(0 <= float(value) <= 1 for each in values for value in each)


def test_texts_and_halves_as_the_client_reads_them():
    pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
    utils = pytest.importorskip("tritonclient.utils")
    found = pb2.ModelInferRequest.FromString(made(Tensor("t", "BYTES", (2, 2)), Tensor("h", "BF16", (5,))))
    assert utils.deserialize_bytes_tensor(found.raw_input_contents[0]).tolist() == [b"text"] * 4
    halves = (np.frombuffer(found.raw_input_contents[1], "<u2").astype("<u4") << 16).view("<f4")
    assert halves.shape == (5,)
    assert 0 <= halves.min() < halves.max() <= 1


def test_answers_as_the_client_writes_them():
    pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
    told = pb2.ModelMetadataResponse(name="m", versions=["1"], platform="p")
    told.inputs.add(name="ä", datatype="INT64", shape=[-1, 1 << 40])
    told.outputs.add(name="y", datatype="FP32", shape=[1])
    assert messages.inputs_of(told.SerializeToString()) == (Tensor("ä", "INT64", (-1, 1 << 40)),)
    index = pb2.RepositoryIndexResponse()
    index.models.add(name="a", version="3", state="READY")
    index.models.add(name="b", state="UNAVAILABLE", reason="unloaded")
    assert messages.listed(index.SerializeToString()) == (
        Listed("a", "3", "READY"), Listed("b", "", "UNAVAILABLE: unloaded"),
    )  # fmt: skip
    config = pb2.ModelConfigResponse()
    for name in ("a", "b", "a"):
        config.config.ensemble_scheduling.step.add(model_name=name, model_version=-1).input_map["x"] = "y"
    assert messages.steps_of(config.SerializeToString()) == ("a", "b", "a")
    assert messages.steps_of(pb2.ModelConfigResponse().SerializeToString()) == ()
    counted = pb2.ModelStatisticsResponse()
    each = counted.model_stats.add(name="m", inference_count=4).inference_stats
    for number, name in enumerate(("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"), 1):
        getattr(each, name).count, getattr(each, name).ns = number, 1 << 40
    assert messages.durations(counted.SerializeToString()) == {
        "success": (1, 1 << 40), "queue": (3, 1 << 40), "compute_input": (4, 1 << 40), "compute_infer": (5, 1 << 40),
        "compute_output": (6, 1 << 40),
    }  # fmt: skip


@pytest.mark.parametrize("tensor", [
    Tensor("x", "FP8", (1,)),
    Tensor("x", "", (1,)),
    Tensor("x", "FP32", (1 << 17,)),
    Tensor("x", "FP32", (1 << 16, 1 << 16)),
    Tensor("x", "FP32", (1,) * 65),
    Tensor("x", "BYTES", (1 << 62,)),
])  # fmt: skip
def test_what_cannot_be_made_up(tensor):
    with pytest.raises(ValueError, match=r"^'x' \("):
        made(tensor)


def test_all_inputs_together_are_bounded():
    with pytest.raises(ValueError, match="'x2'"):
        made(*(Tensor(f"x{number}", "FP64", (2048, 2048)) for number in range(4)))


def test_values_are_drawn_by_the_seed():
    tensor = Tensor("x", "FP32", (8,))
    assert made(tensor, seed=1) == made(tensor, seed=1) != made(tensor, seed=2)


@pytest.mark.parametrize("read", [messages.inputs_of, messages.listed, messages.durations])
@pytest.mark.parametrize("data", [b"\x0a", b"no message", b"\x08\x01" * 70_000])
def test_what_is_no_message(read, data):
    with pytest.raises(Malformed):
        read(data)


def test_a_model_that_nobody_asked_yet_counts_nothing():
    assert messages.durations(b"") == {}
    assert messages.durations(block(1, block(6, b""))) == {}
    assert messages.durations(block(1, block(6, block(3, b"")))) == {"queue": (0, 0)}
    assert messages.durations(block(1, block(6, block(3, integer(1, 2)))))["queue"] == (2, 0)
