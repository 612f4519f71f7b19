"""Bounded reading of TLS and libp2p byte strings; the only place in this room that indexes input.

Must not know any message: it reads integers and length-prefixed parts and refuses what does not
fit. Integers are big endian; ``uvarint`` is the minimal unsigned LEB128 of multiformats.
"""

from __future__ import annotations

from wraith.errors import DecodeError

UVARINT_BYTES_MAX = 9
"""Longest varint that is accepted (63 bits, multiformats ``unsigned-varint``)."""


class Libp2pReader:
    """A cursor over borrowed bytes. Every read raises :class:`DecodeError` instead of running out.

    ``what`` names the message in errors; ``base`` is the offset of the first byte in it.
    """

    __slots__ = ("_at", "_base", "_data", "_end", "what")

    def __init__(self, data: bytes, what: str, base: int = 0) -> None:
        self._data = data
        self._at = 0
        self._end = len(data)
        self._base = base
        self.what = what

    @property
    def remaining(self) -> int:
        return self._end - self._at

    @property
    def at_end(self) -> bool:
        return self._at == self._end

    def error(self) -> DecodeError:
        return DecodeError(self.what, self._base + self._at)

    def take(self, n: int) -> bytes:
        """The next ``n`` bytes, copied."""
        if n < 0 or n > self._end - self._at:
            raise self.error()
        self._at += n
        return self._data[self._at - n : self._at]

    def uint(self, n_bytes: int) -> int:
        return int.from_bytes(self.take(n_bytes), "big")

    def u8(self) -> int:
        return self.uint(1)

    def u16(self) -> int:
        return self.uint(2)

    def uvarint(self) -> int:
        """Minimal LEB128; a padded encoding is refused, so each value has one encoding."""
        value = 0
        for index in range(UVARINT_BYTES_MAX):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if byte == 0 and index:
                    raise self.error()
                return value
        raise self.error()

    def part(self, n_prefix: int, low: int = 0, high: int | None = None) -> bytes:
        """A part behind a length of ``n_prefix`` bytes; its size must be in [``low``, ``high``]."""
        length = self.uint(n_prefix)
        if length < low or (high is not None and length > high):
            raise self.error()
        return self.take(length)

    def sub(self, n_prefix: int, what: str, low: int = 0) -> Libp2pReader:
        """Like :meth:`part`, as a reader of its own that must be read to its end."""
        data = self.part(n_prefix, low)
        return Libp2pReader(data, what, self._base + self._at - len(data))

    def rest(self) -> bytes:
        return self.take(self._end - self._at)

    def end(self) -> None:
        """Refuses trailing bytes."""
        if self._at != self._end:
            raise self.error()


def encode_uvarint(value: int) -> bytes:
    """Minimal LEB128 of ``value`` (0 <= value < 2**63)."""
    if not 0 <= value < 1 << 63:
        raise ValueError("a varint holds 63 bits")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def prefixed(n_prefix: int, data: bytes) -> bytes:
    """``data`` behind its length in ``n_prefix`` bytes."""
    return len(data).to_bytes(n_prefix, "big") + data
