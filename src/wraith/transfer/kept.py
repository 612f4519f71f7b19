"""Orders the reading of what an earlier run left and this one has not read, and counts what was
read of it.

Chunks that were verified by this process are not among them. Reading goes through the listing once,
in batches of at most ``BATCH_BYTES``; one batch at a time is under way. Whole files cost four bytes
each here, unfinished ones their ranges.

Spec: transfer §7 [TR-53].
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator

from wraith.content.chunking import Cut, n_whole_chunks, runs_of
from wraith.content.inventory import Inventory
from wraith.transfer.wishes import Piece

BATCH_BYTES = 4 * 1024 * 1024
_BATCH_CHUNKS = n_whole_chunks(BATCH_BYTES)
_BATCH_PIECES_MAX = 256

Ranges = tuple[tuple[int, int], ...]
"""``(first chunk, chunks)``, ascending."""


class Kept:
    """See the module.

    Args:
        inventory: what is there when this process begins. It is copied as far as it is needed.
        read: one bit per entry: those that were read before this began. Empty: none.
    """

    def __init__(self, inventory: Inventory, read: bytes | bytearray = b"") -> None:
        held = (e for e in inventory.held_entries() if not _has_bit(read, e))
        self._entries = array("I", held)
        self._ranges: dict[int, Ranges] = {}
        self._sizes = array("Q", (inventory.size_of(e) for e in self._entries))
        self.unread_bytes = 0
        for entry, size in zip(self._entries, self._sizes, strict=True):
            ranges = tuple(inventory.ranges(entry))
            if not inventory.is_complete(entry):
                self._ranges[entry] = ranges
            self.unread_bytes += sum(Cut(size).n_bytes(first, n) for first, n in ranges)
        self._forgotten = bytearray((len(self._entries) + 7) // 8)
        self._missed: dict[int, int] = {}
        self._answered_to = (0, 0)
        self._pieces = self._all_pieces()
        self._put_back: Piece | None = None

    def next_batch(self) -> tuple[Piece, ...]:
        """What to read next; nothing at the end. Say ``answered`` before the next one."""
        batch: list[Piece] = []
        left = BATCH_BYTES
        while len(batch) < _BATCH_PIECES_MAX:
            piece, self._put_back = self._put_back, None
            if piece is None:
                piece = next(self._pieces, None)
            if piece is None:
                break
            n_bytes = self._bytes_of(piece)
            if batch and n_bytes > left:
                self._put_back = piece
                break
            if not self.is_forgotten(piece.entry):
                batch.append(piece)
                left -= n_bytes
        return tuple(batch)

    def answered(self, batch: tuple[Piece, ...], missed: frozenset[int]) -> None:
        """The batch was read, but for the files of the entries in ``missed``."""
        for piece in batch:
            self._answered_to = (piece.entry, piece.first + piece.n)
            if self.is_forgotten(piece.entry):
                continue
            n_bytes = self._bytes_of(piece)
            if piece.entry in missed:
                self._missed[piece.entry] = self._missed.get(piece.entry, 0) + n_bytes
            else:
                self.unread_bytes -= n_bytes

    def forget(self, entry: int) -> None:
        """Nothing that an earlier run left of this file counts any more."""
        at = self._index(entry)
        if at is None or self.is_forgotten(entry):
            return
        self._forgotten[at >> 3] |= 1 << (at & 7)
        self.unread_bytes -= self._missed.pop(entry, 0)
        for first, n in self._ranges_of(at):
            done = max(first, self._answered_to[1]) if entry == self._answered_to[0] else first
            if entry >= self._answered_to[0] and done < first + n:
                self.unread_bytes -= Cut(self._sizes[at]).n_bytes(done, first + n - done)

    def is_forgotten(self, entry: int) -> bool:
        at = self._index(entry)
        return at is None or _has_bit(self._forgotten, at)

    def _index(self, entry: int) -> int | None:
        at = bisect_left(self._entries, entry)
        return at if at < len(self._entries) and self._entries[at] == entry else None

    def _ranges_of(self, at: int) -> Ranges:
        whole = ((0, Cut(self._sizes[at]).n_chunks),)
        return self._ranges.get(self._entries[at], whole)

    def _bytes_of(self, piece: Piece) -> int:
        at = self._index(piece.entry)
        assert at is not None
        return Cut(self._sizes[at]).n_bytes(piece.first, piece.n)

    def _all_pieces(self) -> Iterator[Piece]:
        for at, entry in enumerate(self._entries):
            for first, n in self._ranges_of(at):
                for run_first, run_n in runs_of(first, n, _BATCH_CHUNKS):
                    yield Piece(entry, run_first, run_n)


def _has_bit(bits: bytes | bytearray, number: int) -> bool:
    return bool(bits) and bool(bits[number >> 3] & (1 << (number & 7)))
