"""Reading and writing big-endian fields: the only module that slices input by hand.

A ``Reader`` never reads beyond its end: every shortage is ``DecodeError`` with the name of the
field and its position in the whole input. Spec: frames §1.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import Final

from wraith.errors import DecodeError
from wraith.types import Buffer

_U8: Final = Struct("B")
_U16: Final = Struct(">H")
_U32: Final = Struct(">I")
_U64: Final = Struct(">Q")


class Reader:
    """Takes fields off the front of ``data``. Results are copies; ``data`` is borrowed."""

    __slots__ = ("_data", "_at", "_end")

    def __init__(self, data: Buffer, start: int = 0, end: int | None = None) -> None:
        self._data = memoryview(data)
        self._at = start
        self._end = len(self._data) if end is None else end

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

    def record(self, layout: Struct, what: str) -> tuple[int, ...]:
        """Neighbouring integers in one step; ``what`` names them all."""
        return layout.unpack_from(self._data, self._advance(layout.size, what))

    def take(self, n: int, what: str) -> bytes:
        """The next ``n`` bytes."""
        at = self._advance(n, what)
        return bytes(self._data[at : at + n])

    def skip(self, n: int, what: str) -> None:
        """Passes over the next ``n`` bytes."""
        self._advance(n, what)

    def rest(self) -> bytes:
        """All that remains."""
        return self.take(self.remaining, "")

    def sub(self, n: int, what: str) -> Reader:
        """A reader of the next ``n`` bytes, which this one skips."""
        at = self._advance(n, what)
        inner = Reader.__new__(Reader)
        inner._data, inner._at, inner._end = self._data, at, at + n
        return inner

    def expect_end(self, what: str) -> None:
        """Bytes left over would give one value two encodings."""
        if self._at != self._end:
            raise DecodeError(what, self._at)

    def _advance(self, n: int, what: str) -> int:
        at = self._at
        if n > self._end - at:
            raise DecodeError(what, at)
        self._at = at + n
        return at


class Writer:
    """Appends fields. A value that does not fit its field is the caller's defect:
    ``ValueError``."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def u8(self, value: int) -> Writer:
        return self.record(_U8, value)

    def u16(self, value: int) -> Writer:
        return self.record(_U16, value)

    def u32(self, value: int) -> Writer:
        return self.record(_U32, value)

    def u64(self, value: int) -> Writer:
        return self.record(_U64, value)

    def record(self, layout: Struct, *values: int) -> Writer:
        """Neighbouring integers in one step."""
        try:
            self._data += layout.pack(*values)
        except StructError:
            raise ValueError(f"{values} do not fit into {layout.size} bytes") from None
        return self

    def raw(self, data: Buffer, size: int | None = None) -> Writer:
        """Append ``data``, which has ``size`` bytes if that is given."""
        if size is not None and len(data) != size:
            raise ValueError(f"{len(data)} bytes where {size} belong")
        self._data += data
        return self

    def getvalue(self) -> bytes:
        return bytes(self._data)
