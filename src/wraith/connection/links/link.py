"""One end of a link: the preface, then records, in both directions, without a socket.

::

    UNDECIDED ── 88 bytes proven ──► OPEN ── a length that does not open, discard() ──► DISCARDING
        └────────── not proven, or discard() ───────────────────────────────────────────────┘

A dialled link is open from the start, and its preface leaves in front of its first record. An
accepted one holds what has come until 88 bytes are there, and asks once whether they are good.
What is wrong is never answered and raises nothing: the link reads on and throws away.

Spec: carriers.md [CA-8 to CA-14].
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from wraith.connection.links.preface import PREFACE_BYTES, LinkKeys
from wraith.hotpath import RECORD_HEADER_BYTES, RecordReader, RecordSealer
from wraith.types import Buffer

UNPROVEN_BYTES_MAX: Final = 4_096
"""So much an accepted link holds of what nobody has vouched for, and a discarding one at a time."""
ROOM_BYTES_MIN: Final = 64 * 1024
"""An open link has so much room for the next bytes, always."""
BUFFER_BYTES_MIN: Final = 128 * 1024
BUFFER_BYTES_MAX: Final = 512 * 1024
"""The receive buffer of an open link: it doubles when one read has filled it."""

Runs = list[tuple[memoryview, int]]
"""``(data, segment_bytes)``: packets of that size back to back, the last one possibly shorter."""


class LinkState(Enum):
    """What becomes of bytes that arrive."""

    UNDECIDED = auto()
    OPEN = auto()
    DISCARDING = auto()


class StreamLink:
    """The bytes of one link. Made by ``dialled`` or ``accepted``.

    Attributes:
        state: see the module.
    """

    __slots__ = (
        "state",
        "_buffer",
        "_n_waiting",
        "_preface",
        "_prove",
        "_reader",
        "_rest_at",
        "_sealer",
        "_was_filled",
    )

    def __init__(self) -> None:
        self.state = LinkState.UNDECIDED
        self._sealer: RecordSealer | None = None
        self._reader: RecordReader | None = None
        self._preface = b""
        self._prove: Callable[[bytes], LinkKeys | None] | None = None
        self._buffer = memoryview(bytearray(UNPROVEN_BYTES_MAX))
        #: What is left over of earlier reads lies at ``_rest_at``, so many bytes.
        self._rest_at = 0
        self._n_waiting = 0
        self._was_filled = False

    @classmethod
    def dialled(cls, keys: LinkKeys, preface: bytes) -> StreamLink:
        """The dialler's end; takes over ``keys``, which are wiped."""
        link = cls()
        link._preface = preface
        link._open(keys)
        return link

    @classmethod
    def accepted(cls, prove: Callable[[bytes], LinkKeys | None]) -> StreamLink:
        """The listener's end.

        Args:
            prove: is called once, with exactly the first 88 bytes. Its keys open the link and are
                taken over; ``None`` makes it discard.
        """
        link = cls()
        link._prove = prove
        return link

    @classmethod
    def refused(cls) -> StreamLink:
        """The end of somebody who is not to be let in: it discards from the start."""
        link = cls()
        link.discard()
        return link

    @property
    def is_at_boundary(self) -> bool:
        """No part of a preface or of a record waits for its rest."""
        return self._n_waiting == 0 and (self._reader is None or self._reader.expects_header)

    # --- receiving --------------------------------------------------------------------------

    def receive_room(self) -> memoryview:
        """Where the next bytes go: at least 64 KiB of an open link, at most 4,096 of another.

        Ends the loan of all views that ``received`` has handed out.
        """
        if self._was_filled and len(self._buffer) < BUFFER_BYTES_MAX:
            larger = memoryview(bytearray(2 * len(self._buffer)))
            larger[: self._n_waiting] = self._waiting
            self._buffer = larger
        elif self._rest_at:
            self._buffer[: self._n_waiting] = self._waiting
        self._rest_at, self._was_filled = 0, False
        return self._buffer[self._n_waiting :]

    def received(self, n: int) -> Runs:
        """``n`` bytes were put into ``receive_room()``.

        Returns:
            The packets that are complete now, in order. Lent until the next ``receive_room``.
        """
        n_bytes = self._n_waiting + n
        match self.state:
            case LinkState.DISCARDING:
                return []
            case LinkState.OPEN:
                self._was_filled = n_bytes == len(self._buffer)
                return self._read(n_bytes)
            case LinkState.UNDECIDED:
                self._n_waiting = n_bytes
                return self._decide() if n_bytes >= PREFACE_BYTES else []

    def feed(self, data: Buffer) -> Runs:
        """As ``received``, for carriers whose library hands out bytes: at most 64 KiB a call.

        Raises:
            ValueError: ``data`` is longer.
        """
        if len(data) > ROOM_BYTES_MIN:
            raise ValueError("a link is fed at most 64 KiB at a time")
        source = memoryview(data)
        if self.state is LinkState.UNDECIDED:
            # No more than the proof needs; what follows it has room once the link is open.
            n_missing = min(PREFACE_BYTES - self._n_waiting, len(source))
            self.receive_room()[:n_missing] = source[:n_missing]
            self.received(n_missing)
            source = source[n_missing:]
        if self.state is not LinkState.OPEN or not source:
            return []
        self.receive_room()[: len(source)] = source
        return self.received(len(source))

    @property
    def _waiting(self) -> memoryview:
        return self._buffer[self._rest_at : self._rest_at + self._n_waiting]

    def _decide(self) -> Runs:
        prove, self._prove = self._prove, None
        keys = prove(bytes(self._buffer[:PREFACE_BYTES])) if prove is not None else None
        if keys is None:
            self.discard()
            return []
        behind = bytes(self._buffer[PREFACE_BYTES : self._n_waiting])
        self._open(keys)
        self._buffer[: len(behind)] = behind
        return self._read(len(behind))

    def _open(self, keys: LinkKeys) -> None:
        self._sealer = RecordSealer(keys.key_out.reveal())
        self._reader = RecordReader(keys.key_in.reveal())
        keys.wipe()
        self._buffer = memoryview(bytearray(BUFFER_BYTES_MIN))
        self._rest_at = self._n_waiting = 0
        self.state = LinkState.OPEN

    def _read(self, n_bytes: int) -> Runs:
        reader, buffer = self._reader, self._buffer
        assert reader is not None
        found, self._rest_at = reader.read(buffer[:n_bytes])
        self._n_waiting = n_bytes - self._rest_at
        if not reader.is_open:
            # The packets in front of the wrong length keep their buffer: the views hold it.
            self.discard()
        return [(buffer[at : at + n], segment_bytes) for at, n, segment_bytes in found]

    # --- sending ----------------------------------------------------------------------------

    def frame(self, data: memoryview, segment_bytes: int) -> list[Buffer]:
        """What goes on the wire for a run of packets: buffers to write one after the other.

        Args:
            data: packets of ``segment_bytes``, the last one possibly shorter. Not copied: the
                result lends views of it.

        Returns:
            A header (18 bytes) and a packet in turn; the first header of a dialled link has the
            preface in front. Nothing unless the link is open. Each result is written once, in the
            order of the calls.

        Raises:
            ValueError: a packet has not 33 to 16,384 bytes. Nothing has changed.
        """
        if self._sealer is None or not data:
            return []
        headers = memoryview(self._sealer.seal(len(data), segment_bytes))
        buffers: list[Buffer] = []
        for i, at in enumerate(range(0, len(data), segment_bytes)):
            buffers.append(headers[i * RECORD_HEADER_BYTES : (i + 1) * RECORD_HEADER_BYTES])
            buffers.append(data[at : at + segment_bytes])
        if self._preface:
            buffers[0] = self._preface + bytes(buffers[0])
            self._preface = b""
        return buffers

    # --- the end ----------------------------------------------------------------------------

    def discard(self) -> None:
        """Throws away what comes from now on, and sends nothing. Forgets the keys. Idempotent."""
        if self.state is LinkState.DISCARDING:
            return
        self.state = LinkState.DISCARDING
        for part in (self._sealer, self._reader):
            if part is not None:
                part.close()
        self._sealer = self._reader = self._prove = None
        self._preface = b""
        self._buffer = memoryview(bytearray(UNPROVEN_BYTES_MAX))
        self._rest_at = self._n_waiting = 0
        self._was_filled = False
