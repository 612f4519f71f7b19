"""Chunk records of the data stream: ``file u32 ‖ chunk u32 ‖ length u32 ‖ bytes ‖ digest 32``.

Records follow each other back to back, across files, with nothing between them.

The digest follows its bytes, so a sender can hash while the first of them are on their way. This
module cuts and joins; it verifies nothing (that happens in a worker, on whole batches).

Spec: transfer §5 [TR-35].
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass

from wraith.content.chunking import DIGEST_BYTES, Cut, chunks_of
from wraith.errors import DecodeError
from wraith.types import Buffer

_HEADER = struct.Struct(">III")
HEADER_BYTES = _HEADER.size
OVERHEAD_BYTES = HEADER_BYTES + DIGEST_BYTES
PIECE_COST_BYTES = 256
"""Bytes that a piece of a received chunk takes in memory beside its data, rounded up."""

JOINED_BYTES = 256
"""Pieces below this are copied together, into buffers of up to ``JOINED_BYTES_MAX``."""

JOINED_BYTES_MAX = 16_384
SMALL_BYTES = 16_384
"""Chunks up to here are copied together; larger ones are handed on as they are."""

SMALL_BUFFER_BYTES = 262_144
"""A buffer of chunks that were copied together is handed on when it has as much as this."""


@dataclass(slots=True)
class ChunkRecord:
    """One received chunk, not verified. ``parts`` are borrowed slices of received buffers."""

    entry: int
    chunk: int
    length: int
    parts: list[memoryview]
    digest: bytes = b""

    @property
    def held_bytes(self) -> int:
        """What it takes in memory: its bytes, and what each piece costs beside them."""
        return self.length + PIECE_COST_BYTES * (len(self.parts) + 1)


class ChunkRecordWriter:
    """Builds wire-ready buffers from chunks and their digests."""

    def __init__(self) -> None:
        self._buffers: list[bytes | memoryview] = []
        self._small = bytearray()

    def add(self, entry: int, first: int, data: bytes, digests: bytes) -> None:
        """Appends consecutive chunks from ``first`` on, of which only the last may be short;
        ``digests`` are theirs, joined. ``data`` is kept, not copied, if large."""
        for i, chunk in enumerate(chunks_of(data)):
            self._add(entry, first + i, chunk, digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES])

    def _add(self, entry: int, chunk: int, data: bytes | memoryview, digest: bytes) -> None:
        small = self._small
        small += _HEADER.pack(entry, chunk, len(data))
        if len(data) > SMALL_BYTES:
            self._buffers.append(bytes(small))
            self._buffers.append(data)
            small.clear()
        else:
            small += data
        small += digest
        if len(small) >= SMALL_BUFFER_BYTES:
            self._buffers.append(bytes(small))
            small.clear()

    def finish(self) -> list[bytes | memoryview]:
        """All buffers, in order; the views are of ``bytes``."""
        if self._small:
            self._buffers.append(bytes(self._small))
            self._small.clear()
        buffers, self._buffers = self._buffers, []
        return buffers


class ChunkRecordParser:
    """Cuts the data stream into records without copying their bytes."""

    def __init__(self, sizes: array[int]) -> None:
        self._sizes = sizes
        self._head = bytearray()
        self._record: ChunkRecord | None = None
        self._left = 0
        self._joined = bytearray()
        #: What the unfinished record takes in memory, its pieces included. [TR-105]
        self.held_bytes = 0

    def feed(self, data: Buffer) -> list[ChunkRecord]:
        """The records that ``data`` completes. ``data`` must not change afterwards.

        Raises:
            DecodeError: a record for something that is not in the listing, or of a length that
                this chunk does not have. [TR-35]
        """
        view = memoryview(data)
        records: list[ChunkRecord] = []
        at, end = 0, len(view)
        while at < end:
            record = self._record
            if record is None:
                at, header = self._field(view, at, HEADER_BYTES)
                if header is not None:
                    self._begin(header)
            elif self._left:
                stop = min(end, at + self._left)
                self._keep(record, view[at:stop])
                self._left -= stop - at
                at = stop
                if not self._left:
                    self._join(record)
            else:
                at, digest = self._field(view, at, DIGEST_BYTES)
                if digest is not None:
                    record.digest = digest
                    self._record = None
                    self.held_bytes = 0
                    records.append(record)
        return records

    def _keep(self, record: ChunkRecord, piece: memoryview) -> None:
        """Small pieces are copied together: each would cost more than it holds."""
        self.held_bytes += len(piece)
        if len(piece) < JOINED_BYTES:
            self._joined += piece
            if len(self._joined) < JOINED_BYTES_MAX:
                return
            self._join(record)
            return
        self._join(record)
        record.parts.append(piece)
        self.held_bytes += PIECE_COST_BYTES

    def _join(self, record: ChunkRecord) -> None:
        """What was copied together becomes a piece of the record."""
        if self._joined:
            record.parts.append(memoryview(bytes(self._joined)))
            self._joined.clear()
            self.held_bytes += PIECE_COST_BYTES

    @property
    def is_between_records(self) -> bool:
        """Whether the stream may end here."""
        return self._record is None and not self._head

    def _field(self, view: memoryview, at: int, n: int) -> tuple[int, bytes | None]:
        """Where reading goes on, and the field of ``n`` bytes once all of it is here."""
        head = self._head
        stop = min(len(view), at + n - len(head))
        if not head and stop - at == n:  # nearly always: it lies in one piece
            return stop, bytes(view[at:stop])
        head += view[at:stop]
        if len(head) < n:
            return stop, None
        field = bytes(head)
        head.clear()
        return stop, field

    def _begin(self, header: bytes) -> None:
        entry, chunk, length = _HEADER.unpack(header)
        if entry >= len(self._sizes):
            raise DecodeError("chunk record: file", 0)
        cut = Cut(self._sizes[entry])
        if chunk >= cut.n_chunks:
            raise DecodeError("chunk record: chunk", 4)
        if not cut.may_have(chunk, length):
            raise DecodeError("chunk record: length", 8)
        self._record = ChunkRecord(entry, chunk, length, [])
        self._left = length
