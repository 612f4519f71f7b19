"""Chunk records between the data stream and the disk, and what the sender hears of them.

Whole batches go to the disk, two at a time; a chunk that comes alone waits a few milliseconds for
company. What is held and not written is bounded by ``HELD_BYTES_MAX``: beyond that nothing is
read, and flow control stops the sender. It verifies nothing and keeps no inventory.

Spec: transfer §5 [TR-45].
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection

from wraith.content.chunking import Cut
from wraith.transfer.chunk_records import OVERHEAD_BYTES, ChunkRecord, ChunkRecordParser
from wraith.types import Buffer

WRITE_BYTES_MIN = 4 * 1024 * 1024
WRITE_BYTES_MAX = 6 * 1024 * 1024
WRITES_MAX = 2
HELD_BYTES_MAX = 16 * 1024 * 1024
FLUSH_AFTER_S = 0.005
"""A slow link's chunk waits at most this long for company before it is written."""

PROGRESS_EVERY_S = 0.1
PROGRESS_EVERY_BYTES = 8 * 1024 * 1024


class Batch:
    """Records that go to the disk in one wish, which takes their buffers; numbers stay here:
    ``(entry, first chunk, chunks, bytes)`` of neighbours; each chunk by itself where its length
    does not follow from its number. ``n_bytes`` is payload, ``wire_bytes``
    what it took of the stream, ``held_bytes`` what it takes in memory."""

    __slots__ = ("held_bytes", "n_bytes", "notes", "wire_bytes")

    def __init__(self, records: Collection[ChunkRecord], sizes: array[int]) -> None:
        self.notes: list[tuple[int, int, int, int]] = []
        entry = first = -1
        n = n_bytes = self.n_bytes = 0
        for record in records:
            follows = record.entry == entry and record.chunk == first + n
            if not follows or not Cut(sizes[entry]).is_known:
                if n:
                    self.notes.append((entry, first, n, n_bytes))
                entry, first, n, n_bytes = record.entry, record.chunk, 0, 0
            n += 1
            n_bytes += record.length
            self.n_bytes += record.length
        if n:
            self.notes.append((entry, first, n, n_bytes))
        self.held_bytes = sum(record.held_bytes for record in records)
        self.wire_bytes = self.n_bytes + OVERHEAD_BYTES * len(records)


class Intake:
    """See the module. It lives as long as the receiver; ``begin`` starts it on a connection."""

    def __init__(self) -> None:
        self.n_writing = 0
        self.flush_at: float | None = None
        self._writing_bytes = 0
        self._parser: ChunkRecordParser | None = None
        self._batch: deque[ChunkRecord] = deque()
        self._batch_bytes = 0
        self._batch_held = 0

    @property
    def is_empty(self) -> bool:
        """Nothing waits and nothing is being written."""
        return not self._batch and not self.n_writing

    def room(self) -> int:
        """How many bytes of the stream it takes now. [TR-45] [TR-105]"""
        held = self._batch_held + self._writing_bytes
        if self._parser is not None:
            held += self._parser.held_bytes
        return max(0, HELD_BYTES_MAX - held)

    def begin(self, sizes: array[int]) -> None:
        """A new data stream begins."""
        self._parser = ChunkRecordParser(sizes)

    def parse(self, data: Buffer) -> list[ChunkRecord]:
        """The records that ``data`` completes. Raises ``DecodeError``."""
        assert self._parser is not None
        return self._parser.feed(data)

    def add(self, record: ChunkRecord) -> None:
        """Takes a record that is wanted."""
        self._batch.append(record)
        self._batch_bytes += record.length
        self._batch_held += record.held_bytes

    def has_enough(self, now: float) -> bool:
        """A write is worth while; otherwise the flush timer runs."""
        if not self._batch:
            return False
        if self.flush_at is None:
            self.flush_at = now + FLUSH_AFTER_S
        return self._has_much

    def next_batch(self, *, all_of_it: bool, at_once: bool = False) -> tuple[ChunkRecord, ...]:
        """What to write next; nothing while two writes are under way (unless ``at_once``), or
        while there is little (unless ``all_of_it``). Say ``written`` when it is done."""
        if not self._batch or (self.n_writing >= WRITES_MAX and not at_once):
            return ()
        if not self._has_much and not all_of_it:
            return ()
        records: list[ChunkRecord] = []
        n_bytes = n_held = 0
        while self._batch and n_bytes + self._batch[0].length <= WRITE_BYTES_MAX:
            record = self._batch.popleft()
            records.append(record)
            n_bytes += record.length
            n_held += record.held_bytes
        self._batch_bytes -= n_bytes
        self._batch_held -= n_held
        self._writing_bytes += n_held
        self.n_writing += 1
        return tuple(records)

    @property
    def _has_much(self) -> bool:
        """Enough for a write, or so many small records that they take as much memory."""
        return self._batch_bytes >= WRITE_BYTES_MIN or self._batch_held >= 2 * WRITE_BYTES_MIN

    def set_flush(self, now: float) -> None:
        """After a round of writes: when to look again by time alone."""
        # While two writes are under way the end of one looks again.
        waits = self._batch and self.n_writing < WRITES_MAX
        self.flush_at = now + FLUSH_AFTER_S if waits else None

    def written(self, held_bytes: int) -> None:
        self.n_writing -= 1
        self._writing_bytes -= held_bytes

    def end(self, failed: Collection[int] | None) -> None:
        """The data stream is gone. Half a record goes; whole ones, but those of files that have
        ``failed``, stay for a last round of ``next_batch`` (with ``None`` they go too)."""
        self._parser = None
        self.flush_at = None
        kept = [] if failed is None else [r for r in self._batch if r.entry not in failed]
        self._batch = deque(kept)
        self._batch_bytes = sum(record.length for record in kept)
        self._batch_held = sum(record.held_bytes for record in kept)


class Reports:
    """When the sender is told how far things are: after so many bytes, and while there is
    something new after so much time. One connection's."""

    def __init__(self) -> None:
        self.consumed = 0
        self.due_at: float | None = None
        self._told_consumed = 0
        self._told_verified = -1

    def consume(self, n_bytes: int, now: float) -> bool:
        """So much of the data stream is dealt with; true when the sender must hear of it now, so
        that it need not wait."""
        self.consumed += n_bytes
        if self.consumed - self._told_consumed >= PROGRESS_EVERY_BYTES:
            return True
        if self.due_at is None:
            self.due_at = now + PROGRESS_EVERY_S
        return False

    def tell(self, verified: int) -> tuple[bool, bool]:
        """``(worth telling the peer, worth an event here)``; notes that both are done."""
        self.due_at = None
        is_new = verified != self._told_verified
        is_news = is_new or self.consumed != self._told_consumed
        self._told_verified, self._told_consumed = verified, self.consumed
        return is_news, is_new
