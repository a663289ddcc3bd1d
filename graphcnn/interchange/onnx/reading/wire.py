"""What a file costs before it is parsed: its fields are gone through, and nothing of it is kept.

Protocol Buffers make an object of 100 bytes and more of each message, which a file can ask for with two
bytes, and a number of eight bytes of each byte of a packed field; and they follow messages within messages.
See https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from graphcnn.errors import FileError

LARGEST: Final = 2**31 - 1
"""Protocol Buffers hold no more bytes."""
DEEPEST: Final = 24
MOST_FIELDS: Final = 400_000
MOST_MESSAGES: Final = 150_000
MOST_PACKED: Final = 8 * 2**20
"""Bytes of numbers that are written with a variable length; each takes up to eight in memory."""

_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5

Fields: TypeAlias = dict[int, Any]
"""By number: the fields of a message within, or whether what is within is packed numbers."""


def check_wire(content: bytes, root: Any) -> None:
    """Raise FileError for a file that would cost far more than its size, or that ends within a field.

    root: the descriptor of the message that the file holds.
    """
    if len(content) > LARGEST:
        raise FileError(f"it has {len(content)} bytes, and Protocol Buffers hold {LARGEST}")
    known: dict[str, Fields] = {}
    fields = messages = packed = 0
    position, end, within = 0, len(content), _fields(root, known)
    outer: list[tuple[int, Fields]] = []
    while True:
        if position == end:
            if not outer:
                return
            end, within = outer.pop()
            continue
        fields += 1
        if fields > MOST_FIELDS:
            raise FileError(f"it has more than {MOST_FIELDS} fields")
        tag, position = _varint(content, position, end)
        kind = tag & 7
        if kind == _VARINT:
            _, position = _varint(content, position, end)
        elif kind == _LENGTH:
            length, position = _varint(content, position, end)
            if length > end - position:
                raise FileError(
                    f"a field at byte {position} is {length} bytes long, {end - position} are left"
                )
            inside = within.get(tag >> 3)
            if inside is True:
                packed += length
                if packed > MOST_PACKED:
                    raise FileError(f"more than {MOST_PACKED} bytes are numbers of variable length")
            elif inside is not None:
                messages += 1
                if messages > MOST_MESSAGES:
                    raise FileError(f"it has more than {MOST_MESSAGES} messages")
                if len(outer) == DEEPEST:
                    raise FileError(f"its messages lie within each other more than {DEEPEST} deep")
                outer.append((end, within))
                end, within = position + length, inside
                continue
            position += length
        elif kind in (_EIGHT, _FOUR):
            position += 8 if kind == _EIGHT else 4
            if position > end:
                raise FileError("it ends within a number")
        else:
            raise FileError(f"the field at byte {position} is of the kind {kind}, which ONNX does not use")


def _varint(content: bytes, position: int, end: int) -> tuple[int, int]:
    """Return a number of variable length, and the position after it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise FileError(f"there is no whole number before byte {position}")


def _fields(descriptor: Any, known: dict[str, Fields]) -> Fields:
    """Return the fields of a message that hold messages or packed numbers, each message once."""
    if descriptor.full_name in known:
        return known[descriptor.full_name]
    found: Fields = known.setdefault(descriptor.full_name, {})
    for field in descriptor.fields:
        if field.message_type is not None:
            found[field.number] = _fields(field.message_type, known)
        elif field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
            found[field.number] = True
    return found
