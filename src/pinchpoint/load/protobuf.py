"""Protocol Buffers on the wire (protobuf.dev/programming-guides/encoding), as much of it as small messages need.

There is no schema: who asks knows the numbers of the fields. What is decoded comes from a server and is bounded: a message in
bytes and fields, a number in bytes. Only what is asked for is looked into, one level at a time, so no nesting costs anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # types on the wire; groups (3 and 4) are of a time before
FIXED = {FIXED64: 8, FIXED32: 4}
MOST_BYTES = 4 << 20
MOST_FIELDS = 1 << 16
LONGEST_VARINT = 10
WORD = 1 << 64
SIGN = 1 << 63


class Malformed(ValueError):
    """Bytes that are no message, or more than is read of one."""


# --- written ---------------------------------------------------------------------------------------------------------
def _varint(value: int) -> bytes:
    value %= WORD  # a negative one as its two's complement
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def integer(field: int, value: int) -> bytes:
    """A field of any integer type without zigzag, of an enumeration, or of a truth value."""
    return _varint(field << 3 | VARINT) + _varint(value)


def block(field: int, value: bytes | str) -> bytes:
    """A field of text, of bytes, or of an encoded message."""
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | LENGTH) + _varint(len(data)) + data


def packed(field: int, values: Iterable[int]) -> bytes:
    """A repeated field of integers."""
    return block(field, b"".join(map(_varint, values)))


# --- read ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Message:
    """A message's fields by number, in the order in which they came. What is absent is the default, as the format has it.

    Each method raises Malformed where the field is of another kind.
    """

    fields: Mapping[int, tuple[int | bytes, ...]]

    def integer(self, field: int) -> int:
        """The last value of an integer field, which is not negative."""
        found = self.fields.get(field, (0,))[-1]
        if not isinstance(found, int):
            raise Malformed(f"field {field} is no number")
        return found

    def integers(self, field: int) -> tuple[int, ...]:
        """All values of a repeated field of signed integers, packed or not."""
        found: list[int] = []
        for each in self.fields.get(field, ()):
            found += [each] if isinstance(each, int) else _unpacked(each)
        return tuple(each - WORD if each & SIGN else each for each in found)

    def blocks(self, field: int) -> tuple[bytes, ...]:
        """All values of a field of bytes, text or messages."""
        found = self.fields.get(field, ())
        blocks = tuple(each for each in found if isinstance(each, bytes))
        if len(blocks) < len(found):
            raise Malformed(f"field {field} is a number")
        return blocks

    def text(self, field: int) -> str:
        """The last value of a field of text."""
        try:
            return (self.blocks(field) or (b"",))[-1].decode()
        except UnicodeDecodeError:
            raise Malformed(f"field {field} is no text") from None

    def message(self, field: int) -> Message:
        """The message in a field; several that came are one in parts."""
        return decoded(b"".join(self.blocks(field)))

    def messages(self, field: int) -> tuple[Message, ...]:
        """The messages of a repeated field."""
        return tuple(map(decoded, self.blocks(field)))


def decoded(data: bytes, most_bytes: int = MOST_BYTES) -> Message:
    """The fields of an encoded message; Malformed where it is none, or more than is read."""
    if len(data) > most_bytes:
        raise Malformed(f"more than {most_bytes >> 20} MB")
    fields: dict[int, list[int | bytes]] = {}
    at = count = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        value: int | bytes
        if key & 7 == VARINT:
            value, at = _read_varint(data, at)
        else:
            size, at = _read_varint(data, at) if key & 7 == LENGTH else (_fixed(key & 7), at)
            value, at = data[at : at + size], at + size
        count += 1
        if at > len(data) or not key >> 3 or count > MOST_FIELDS:
            raise Malformed("it ends too early, has too many fields, or one without a number")
        fields.setdefault(key >> 3, []).append(value)
    return Message({field: tuple(values) for field, values in fields.items()})


def _fixed(kind: int) -> int:
    if kind not in FIXED:
        raise Malformed(f"no field is of type {kind}")
    return FIXED[kind]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if value >= WORD:
                break
            return value, at + place + 1
    raise Malformed("a number without an end, or too large")


def _unpacked(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _read_varint(data, at)
        found.append(value)
        if len(found) > MOST_FIELDS:
            raise Malformed("too many numbers")
    return found
