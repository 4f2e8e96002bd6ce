"""Messages of TensorFlow Serving: bytes that its own generated classes wrote, and requests that they read."""

from __future__ import annotations

import numpy as np
import pytest

from pinchpoint import prediction_messages as messages
from pinchpoint.inference_messages import Listed, Tensor
from pinchpoint.load.protobuf import Malformed, block, decoded

# By tensorflow-serving-api 2.21: model "m" in version 3 with the signatures __saved_model_init_op, other and serving_default, the
# last one with x (DT_FLOAT [-1, 3]) and t (DT_STRING [2]).
METADATA = bytes.fromhex(
    "0a070a016d1202080312c9010a0d7369676e61747572655f64656612b7010a36747970652e676f6f676c65617069732e636f6d2f74656e736f72666c6f"
    "772e73657276696e672e5369676e61747572654465664d6170127d0a220a155f5f73617665645f6d6f64656c5f696e69745f6f70120912070a017a1202"
    "10130a120a056f7468657212090a070a017a120210130a430a0f73657276696e675f64656661756c7412300a1f0a0178121a0a03783a3010011a11120b"
    "08ffffffffffffffffff01120208030a0d0a0174120810071a0412020802"
)
LOADING = bytes.fromhex("0a06080210141a00")  # version 2 is LOADING
INPUTS = (Tensor("x", "FP32", (-1, 3)), Tensor("t", "BYTES", (2,)))


def made(*inputs, version="", signature="s"):
    return messages.predict("m", version, signature, inputs, np.random.default_rng(0))


def test_what_a_server_says_of_itself():
    assert messages.inputs_of(METADATA) == ("serving_default", INPUTS)
    assert messages.listed("m", LOADING) == (Listed("m", "2", "LOADING"),)


def test_the_only_signature_is_asked():
    entry = block(1, "other") + block(2, block(1, block(1, "z") + block(2, b"\x10\x13\x1a\x02\x18\x01")))
    told = block(2, block(1, "signature_def") + block(2, block(2, block(1, entry))))
    assert messages.inputs_of(told) == ("other", (Tensor("z", "FP16", ()),))


@pytest.mark.parametrize(
    "data", [b"", b"no message", block(2, block(1, "signature_def") + block(2, b"")), block(2, b"\x0a")]
)
def test_what_names_no_inputs(data):
    with pytest.raises(Malformed):
        messages.inputs_of(data)


@pytest.mark.parametrize(("version", "told"), [
    ("", b""), ("3", b"\x12\x02\x08\x03"), ("stable", b"\x22\x06stable"), ("9" * 30, b"\x22\x1e" + b"9" * 30),
])  # fmt: skip
def test_a_version_is_a_number_or_a_label(version, told):
    assert messages.spec("m", version) == b"\x0a\x01m" + told
    assert messages.status("m", version) == block(1, b"\x0a\x01m" + told)
    assert messages.asked("m", version) == block(1, b"\x0a\x01m" + told) + b"\x12\x0dsignature_def"


@pytest.mark.parametrize(("kind", "size"), [
    ("FP16", 2), ("BF16", 2), ("FP32", 4), ("FP64", 8), ("BOOL", 1), ("INT8", 1), ("UINT16", 2), ("INT32", 4), ("UINT64", 8),
])  # fmt: skip
def test_a_request_holds_its_tensors_as_they_lie_in_memory(kind, size):
    found = decoded(made(Tensor("x", kind, (-1, 3)), version="3"))
    assert found.blocks(1) == (b"\x0a\x01m\x12\x02\x08\x03\x1a\x01s",)
    (entry,) = found.messages(2)
    tensor = entry.message(2)
    assert (entry.text(1), messages.KINDS[tensor.integer(1)]) == ("x", kind)
    assert [each.integer(1) for each in tensor.message(2).messages(2)] == [1, 3]
    assert len(tensor.blocks(4)[0]) == 3 * size


def test_texts_are_values_of_their_own():
    (entry,) = decoded(made(Tensor("t", "BYTES", (2, 2)))).messages(2)
    assert (entry.message(2).blocks(8), entry.message(2).blocks(4)) == ((b"text",) * 4, ())


def test_what_cannot_be_made_up():
    with pytest.raises(ValueError, match=r"'x' \(type 8 \[1\]\)"):
        made(Tensor("x", "type 8", (1,)))
