"""The wire format against the vectors of its documentation, against the protobuf library, and against bytes that are no message."""

from __future__ import annotations

import random

import pytest

from pinchpoint.load import protobuf
from pinchpoint.load.protobuf import Malformed, block, decoded, integer, packed


# protobuf.dev/programming-guides/encoding
@pytest.mark.parametrize(
    ("written", "data"),
    [
        (integer(1, 150), "08 96 01"),
        (block(2, "testing"), "12 07 74 65 73 74 69 6e 67"),
        (block(3, integer(1, 150)), "1a 03 08 96 01"),
        (packed(6, [3, 270, 86942]), "32 06 03 8e 02 9e a7 05"),
        (integer(1, -2), "08 fe ff ff ff ff ff ff ff ff 01"),
        (integer(16, 0), "80 01 00"),
    ],
)
def test_as_documented(written, data):
    assert written == bytes.fromhex(data)


def test_what_was_written_is_read():
    data = (
        integer(1, 150)
        + block(2, "häuser")
        + packed(3, [1, -1])
        + integer(3, 7)
        + block(4, integer(1, 5))
        + block(4, b"")
    )
    found = decoded(data + bytes.fromhex("2d 01 02 03 04") + bytes.fromhex("31 01 02 03 04 05 06 07 08"))
    assert (found.integer(1), found.text(2), found.integers(3)) == (150, "häuser", (1, -1, 7))
    assert [each.integer(1) for each in found.messages(4)] == [5, 0]
    assert (found.blocks(5), found.blocks(6)) == ((b"\1\2\3\4",), (b"\1\2\3\4\5\6\7\x08",))


def test_what_is_absent_is_the_default():
    found = decoded(b"")
    assert (found.integer(1), found.text(1), found.integers(1), found.messages(1)) == (0, "", (), ())
    assert found.message(1).integer(1) == 0


def test_a_message_in_parts_is_one():
    found = decoded(block(1, integer(1, 4)) + block(1, integer(2, 5)) + block(1, integer(1, 6))).message(1)
    assert (found.integer(1), found.integer(2)) == (6, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # no value
        b"\x08\x80",  # a number without an end
        b"\x08" + b"\xff" * 11,
        b"\x08" + b"\xff" * 9 + b"\x02",  # of more than 64 bits
        b"\x0a\x05abc",  # shorter than it says
        b"\x0a" + b"\xff" * 9 + b"\x01",
        b"\x0d\x01\x02",
        b"\x00\x01",  # field 0
        b"\x0b\x08\x01\x0c",  # a group
        b"\x0e",
        b"\x08\x01" * (protobuf.MOST_FIELDS + 1),
        bytes(protobuf.MOST_BYTES + 1),
    ],
)
def test_what_is_no_message(data):
    with pytest.raises(Malformed):
        decoded(data)


def test_a_field_of_another_kind():
    found = decoded(integer(1, 3) + block(2, b"\xff"))
    for read in (found.text, found.blocks, found.message, found.messages):
        with pytest.raises(Malformed):
            read(1)
    for read in (found.text, found.integer, found.integers, found.message):
        with pytest.raises(Malformed):
            read(2)


def test_any_bytes_are_a_message_or_none():
    """Nothing else is raised, and both come about."""
    chance, messages = random.Random(1), 0
    for _ in range(3000):
        try:
            found = decoded(chance.randbytes(chance.randrange(24)))
            for field in found.fields:
                found.integers(field)
                found.messages(field)
        except Malformed:
            continue
        assert all(field > 0 for field in found.fields)
        messages += 1
    assert 0 < messages < 3000


def test_nesting_costs_nothing_until_it_is_asked_for():
    data = b""
    for _ in range(400):
        data = block(1, data)
    assert len(decoded(data).blocks(1)) == 1


def test_the_library_reads_what_was_written():
    struct_pb2 = pytest.importorskip("google.protobuf.struct_pb2")
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    theirs = descriptor_pb2.FileDescriptorProto(name="ä", dependency=["a", "b"], public_dependency=[0, 300])
    theirs.message_type.add(name="M").field.add(name="f", number=1 << 20, label=2)
    ours = decoded(theirs.SerializeToString())
    assert (ours.text(1), [each.decode() for each in ours.blocks(3)], ours.integers(10)) == ("ä", ["a", "b"], (0, 300))
    assert ours.message(4).message(2).integer(3) == 1 << 20
    assert descriptor_pb2.FileDescriptorProto.FromString(
        block(1, "ä") + block(4, block(1, "M") + block(2, block(1, "f") + integer(3, 1 << 20) + integer(4, 2)))
        + block(3, "a") + block(3, b"b") + packed(10, [0, 300])
    ) == theirs  # fmt: skip
    assert struct_pb2.ListValue.FromString(block(1, integer(4, 1)) + block(1, block(3, "t")))[1] == "t"
