"""The few protobuf fields that libp2p needs: varints and length-delimited bytes.

Must not grow into a protobuf library: no groups, no fixed-width values in what we write, and a
bounded number of fields in what we read. Unknown fields are kept, so that a caller can ignore them.
"""

from __future__ import annotations

from wraith.errors import DecodeError
from wraith.libp2p.reader import Libp2pReader, encode_uvarint

FIELDS_MAX = 1024
"""Fields that one message may hold; identify messages of real peers have fewer than a hundred."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def encode_varint_field(number: int, value: int) -> bytes:
    return encode_uvarint(number << 3 | _VARINT) + encode_uvarint(value)


def encode_bytes_field(number: int, value: bytes) -> bytes:
    return encode_uvarint(number << 3 | _BYTES) + encode_uvarint(len(value)) + value


def decode_fields(data: bytes, what: str) -> list[tuple[int, int | bytes]]:
    """``(field number, value)`` in order of appearance. Raises :class:`DecodeError`."""
    reader = Libp2pReader(data, what)
    fields: list[tuple[int, int | bytes]] = []
    while not reader.at_end:
        key = reader.uvarint()
        number, wire_type = key >> 3, key & 7
        if number == 0 or len(fields) >= FIELDS_MAX:
            raise reader.error()
        match wire_type:
            case 0:
                fields.append((number, reader.uvarint()))
            case 1:
                fields.append((number, reader.take(8)))
            case 2:
                fields.append((number, reader.take(reader.uvarint())))
            case 5:
                fields.append((number, reader.take(4)))
            case _:
                raise reader.error()
    return fields


def bytes_of(fields: list[tuple[int, int | bytes]], number: int, what: str) -> list[bytes]:
    """All values of one length-delimited field; a value of another type is refused."""
    found = []
    for field_number, value in fields:
        if field_number == number:
            if not isinstance(value, bytes):
                raise DecodeError(what)
            found.append(value)
    return found
