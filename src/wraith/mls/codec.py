"""Reading and writing the presentation language of RFC 9420: the only module that slices input.

Vectors carry a length of 1, 2 or 4 bytes whose top two bits say which (RFC 9420 §2.1.2). A length
that is longer than needed is refused, so each value has one encoding. A ``MlsReader`` never reads
beyond its end and never allocates what a length merely claims: every shortage is ``DecodeError``
with the name of the field and its position.

Spec: mls §2 [ML-1, ML-2].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Final, Protocol, TypeVar

from wraith.errors import DecodeError
from wraith.types import Buffer

T = TypeVar("T")

VECTOR_BYTES_MAX: Final = (1 << 30) - 1

_U16: Final = Struct(">H")
_U32: Final = Struct(">I")
_U64: Final = Struct(">Q")
_SHORT: Final = tuple(bytes((n,)) for n in range(1 << 6))
_LENGTH_BYTES: Final = (1, 2, 4)
_LENGTH_LEAST: Final = (0, 1 << 6, 1 << 14)


class MlsReader:
    """Takes fields off the front of ``data``. Results are copies; ``data`` is borrowed."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: Buffer) -> None:
        self._data = data if isinstance(data, bytes) else bytes(data)
        self._at = 0
        self._end = len(self._data)

    @property
    def remaining(self) -> int:
        return self._end - self._at

    @property
    def offset(self) -> int:
        """Position in the outermost input."""
        return self._at

    def u8(self, what: str) -> int:
        return self._data[self._advance(1, what)]

    def u16(self, what: str) -> int:
        value: int = _U16.unpack_from(self._data, self._advance(2, what))[0]
        return value

    def u32(self, what: str) -> int:
        value: int = _U32.unpack_from(self._data, self._advance(4, what))[0]
        return value

    def u64(self, what: str) -> int:
        value: int = _U64.unpack_from(self._data, self._advance(8, what))[0]
        return value

    def take(self, n: int, what: str) -> bytes:
        """The next ``n`` bytes."""
        at = self._advance(n, what)
        return self._data[at : at + n]

    def rest(self) -> bytes:
        """All that remains."""
        return self.take(self.remaining, "")

    def since(self, start: int) -> bytes:
        """What was read since ``offset`` was ``start``."""
        return self._data[start : self._at]

    def length(self, what: str) -> int:
        """A vector's length. Refuses the reserved prefix and a length not in its shortest form."""
        at = self._at
        if at == self._end:
            raise DecodeError(what, at)
        first = self._data[at]
        self._at = at + 1
        kind = first >> 6
        if kind == 0:
            return first
        if kind == 3:
            raise DecodeError(what, at)
        n_more = _LENGTH_BYTES[kind] - 1
        value = (first & 0x3F) << (8 * n_more) | int.from_bytes(self.take(n_more, what), "big")
        if value < _LENGTH_LEAST[kind]:
            raise DecodeError(what, at)
        return value

    def opaque(self, what: str, most: int = VECTOR_BYTES_MAX) -> bytes:
        """``opaque what<V>`` of at most ``most`` bytes."""
        at = self._at
        n = self.length(what)
        if n > most:
            raise DecodeError(what, at)
        return self.take(n, what)

    def sub(self, what: str, most: int = VECTOR_BYTES_MAX) -> MlsReader:
        """A reader of the next vector's contents, which this one skips."""
        at = self._at
        n = self.length(what)
        if n > most:
            raise DecodeError(what, at)
        start = self._advance(n, what)
        inner = MlsReader.__new__(MlsReader)
        inner._data, inner._at, inner._end = self._data, start, start + n
        return inner

    def vector(self, read: Callable[[MlsReader], T], what: str, n_max: int) -> tuple[T, ...]:
        """``T what<V>`` of at most ``n_max`` elements."""
        inner = self.sub(what)
        values: list[T] = []
        while inner._at != inner._end:
            if len(values) == n_max:
                raise DecodeError(what, inner._at)
            values.append(read(inner))
        return tuple(values)

    def present(self, what: str) -> bool:
        """The octet of an ``optional<T>``."""
        at = self._at
        value = self.u8(what)
        if value > 1:
            raise DecodeError(what, at)
        return value == 1

    def expect_end(self, what: str) -> None:
        """Bytes left over would give one value two encodings."""
        if self._at != self._end:
            raise DecodeError(what, self._at)

    def refuse(self, what: str) -> DecodeError:
        """The error for a value at the present position that must not be."""
        return DecodeError(what, self._at)

    def _advance(self, n: int, what: str) -> int:
        at = self._at
        if n > self._end - at:
            raise DecodeError(what, at)
        self._at = at + n
        return at


def decode(read: Callable[[MlsReader], T], data: Buffer, what: str) -> T:
    """The value that ``data`` encodes, all of it.

    Raises:
        DecodeError: it encodes none, or something is left over.
    """
    reader = MlsReader(data)
    value = read(reader)
    reader.expect_end(what)
    return value


def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def length(n: int) -> bytes:
    """A vector's length in its shortest form. ``ValueError`` above 2^30 - 1."""
    if 0 <= n < 1 << 6:
        return _SHORT[n]
    if n < 1 << 14:
        return (n | 0x4000).to_bytes(2, "big")
    if n <= VECTOR_BYTES_MAX:
        return (n | 0x80000000).to_bytes(4, "big")
    raise ValueError("a vector has at most 2^30 - 1 bytes")


def opaque(data: bytes) -> bytes:
    """``opaque data<V>``."""
    n = len(data)
    return (_SHORT[n] if n < 1 << 6 else length(n)) + data


def vector(encoded: Iterable[bytes]) -> bytes:
    """``T values<V>`` of elements that are encoded already."""
    return opaque(b"".join(encoded))


def optional(encoded: bytes | None) -> bytes:
    """``optional<T>``."""
    return b"\0" if encoded is None else b"\1" + encoded


class Encodes(Protocol):
    def encode(self) -> bytes: ...


def encode_with(value: Encodes) -> bytes:
    """The encoding of a structure that knows its own."""
    return value.encode()
