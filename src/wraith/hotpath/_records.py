"""Records of a link: the Python twin of the native sealer and reader. Read ``_python`` first.

A record is a packet with its sealed length in front: 18 bytes, ChaCha20-Poly1305 under the key of
the link and direction, the nonce counts. One call takes what one kernel call sends or brought.
Packets are moved, never read.

Spec: carriers.md [CA-8 to CA-11].
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wraith.types import LINK_PACKET_BYTES_MAX, LINK_PACKET_BYTES_MIN

RECORD_HEADER_BYTES: Final = 18
#: Most records of one ``seal``.
_RECORDS_MAX: Final = 65_536


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


def _new_cipher(key: bytes) -> ChaCha20Poly1305:
    if len(key) != 32:
        raise ValueError("a key has 32 bytes")
    return ChaCha20Poly1305(key)


class RecordSealer:
    """Seals the lengths of what one end of a link sends. ``key`` has 32 bytes."""

    __slots__ = ("_cipher", "_counter")

    def __init__(self, key: bytes) -> None:
        self._cipher = _new_cipher(key)
        self._counter = 0

    def seal(self, data_bytes: int, segment_bytes: int) -> bytes:
        """The headers, 18 bytes each, back to back, of a run of packets.

        Args:
            data_bytes: of all packets together.
            segment_bytes: of each packet but the last, which may be shorter.

        Raises:
            ValueError: a packet has not 33 to 16,384 bytes, or there are more than 65,536 of them.
                Nothing has changed.
        """
        data_bytes, segment_bytes = max(data_bytes, 0), max(segment_bytes, 0)
        whole, rest = divmod(data_bytes, segment_bytes) if segment_bytes else (0, 1)
        if whole + (rest > 0) > _RECORDS_MAX:
            raise ValueError("a run on a link has at most 65536 packets")
        sizes = [segment_bytes] * whole + ([rest] if rest else [])
        if not all(LINK_PACKET_BYTES_MIN <= n <= LINK_PACKET_BYTES_MAX for n in set(sizes)):
            raise ValueError("a packet on a link has 33 to 16384 bytes")
        encrypt, first = self._cipher.encrypt, self._counter
        self._counter += len(sizes)
        return b"".join(
            encrypt(_nonce(first + i), n.to_bytes(2, "big"), None) for i, n in enumerate(sizes)
        )

    def close(self) -> None:
        """Forget the key. The object is of no use afterwards."""
        self._cipher = ChaCha20Poly1305(bytes(32))


class RecordReader:
    """Opens what one end of a link receives. ``key`` has 32 bytes.

    Attributes:
        is_open: False for good once a length did not open or was out of range.
        expects_header: a header comes next; else the rest of a packet.
    """

    __slots__ = ("is_open", "_cipher", "_counter", "_wanted")

    def __init__(self, key: bytes) -> None:
        self._cipher = _new_cipher(key)
        self._counter = 0
        #: Bytes of the packet whose length has been opened; 0: a header comes next.
        self._wanted = 0
        self.is_open = True

    @property
    def expects_header(self) -> bool:
        return self._wanted == 0

    def read(self, buffer: bytearray | memoryview) -> tuple[list[tuple[int, int, int]], int]:
        """Opens the lengths in ``buffer`` and moves the complete packets together at its front.

        Returns:
            The runs ``(at, n_bytes, segment_bytes)`` in order, each of packets that lie back to
            back, the last one possibly shorter; and where what is left over begins. That must come
            first in the ``buffer`` of the next call. Behind a wrong length nothing is read.
        """
        view = memoryview(buffer)
        end, at, to = len(view), 0, 0
        runs: list[tuple[int, int, int]] = []
        while self.is_open:
            n = self._wanted
            if n == 0:
                if end - at < RECORD_HEADER_BYTES:
                    break
                self._wanted = self._open_length(view[at : at + RECORD_HEADER_BYTES])
                self.is_open = self._wanted != 0
                at += RECORD_HEADER_BYTES
                continue
            if end - at < n:
                break
            view[to : to + n] = view[at : at + n]
            _add_packet(runs, to, n)
            at, to, self._wanted = at + n, to + n, 0
        return runs, at if self.is_open else end

    def _open_length(self, sealed: memoryview) -> int:
        """The length that a header holds, or 0 if it is not one."""
        nonce = _nonce(self._counter)
        self._counter += 1
        try:
            length = int.from_bytes(self._cipher.decrypt(nonce, sealed, None), "big")
        except InvalidTag:
            return 0
        return length if LINK_PACKET_BYTES_MIN <= length <= LINK_PACKET_BYTES_MAX else 0

    def close(self) -> None:
        """Forget the key, and read nothing any more."""
        self._cipher = ChaCha20Poly1305(bytes(32))
        self.is_open = False


def _add_packet(runs: list[tuple[int, int, int]], at: int, n_bytes: int) -> None:
    """A packet joins the last run if it is of its size, or ends it by being shorter."""
    if runs:
        begin, n_run, segment_bytes = runs[-1]
        if n_bytes <= segment_bytes and n_run % segment_bytes == 0:
            runs[-1] = begin, n_run + n_bytes, segment_bytes
            return
    runs.append((at, n_bytes, n_bytes))
