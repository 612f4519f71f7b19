"""Knows what of a listing is there: whole files as one bit each, others as ranges of chunks.

Both ends keep one: the receiver of what it has verified, the sender of what the receiver has. Its
size follows the number of *unfinished* files, of which there are few at any time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from wraith.content.chunking import CHUNK_BYTES, UNKNOWN_SIZE, Cut
from wraith.content.ranges import RangeSet


class Inventory:
    """Counts every chunk once, however often it is added."""

    def __init__(self, sizes: array[int]) -> None:
        self._sizes = sizes
        self._complete = bytearray((len(sizes) + 7) // 8)
        self._partial: dict[int, RangeSet] = {}
        self._final_size: dict[int, int] = {}
        self._loose: dict[int, int] = {}
        self.verified_bytes = 0
        self.n_complete = 0
        self.n_wanted = sum(1 for size in sizes if size)

    def size_of(self, entry: int) -> int:
        """Its size; for one of unknown size the final one as soon as that is known."""
        return self._final_size.get(entry, self._sizes[entry])

    def cut(self, entry: int) -> Cut:
        """How it is cut, by ``size_of``."""
        return Cut(self.size_of(entry))

    def set_final_size(self, entry: int, size: int) -> bool:
        """Learns the size of an entry that had none; true if that completes it."""
        self._final_size[entry] = size
        return self._settle(entry)

    def add(self, entry: int, first: int, n: int, n_bytes: int | None = None) -> bool:
        """Notes ``n`` verified chunks from ``first``; true if that completes the file.

        Args:
            n_bytes: what they have. It counts for an entry that the listing gives no size, where it
                does not follow from ``n``.
        """
        if self.is_complete(entry):
            return False
        held = self._partial.setdefault(entry, RangeSet(packed=True))
        cut = self.cut(entry)
        tail = cut.n_chunks - 1
        had_tail = tail in held
        n_new = held.add(first, first + n)
        if n_bytes is not None and self._sizes[entry] == UNKNOWN_SIZE:
            if n_new:
                self._loose[entry] = self._loose.get(entry, 0) + n_bytes
                self.verified_bytes += n_bytes
        else:
            self.verified_bytes += n_new * CHUNK_BYTES
            if not had_tail and tail in held:
                self.verified_bytes -= CHUNK_BYTES - cut.length(tail)
        return self._settle(entry)

    def add_whole(self, entry: int, size: int) -> None:
        """An earlier run has finished this file: one that the listing gives no size is whole, and
        has this one. Of others every chunk was noted by itself."""
        if self._sizes[entry] == UNKNOWN_SIZE:
            self.drop(entry)
            self.set_final_size(entry, size)
            self.add(entry, 0, Cut(size).n_chunks)

    def add_file(self, entry: int) -> None:
        """Notes that a whole file of known size is there."""
        if self._sizes[entry] and not self.is_complete(entry):
            self.add(entry, 0, self.cut(entry).n_chunks)

    def drop(self, entry: int) -> None:
        """Forgets everything about a file."""
        size = self.size_of(entry)
        if self.is_complete(entry):
            self._complete[entry >> 3] &= ~(1 << (entry & 7))
            self.n_complete -= 1
            self.verified_bytes -= size
            self._loose.pop(entry, None)
        elif (held := self._partial.pop(entry, None)) is not None:
            loose = self._loose.pop(entry, None)
            self.verified_bytes -= _n_bytes(Cut(size), held) if loose is None else loose

    def keep_whole_chunks(self, entry: int, on_disk: int) -> None:
        """Of a file of which only so many bytes are there nothing stays but the full chunks: how
        short a last one is that the listing gives no size is noted nowhere."""
        ranges = self.ranges(entry)
        self.drop(entry)
        for first, n in ranges:
            kept = min(first + n, on_disk // CHUNK_BYTES) - first
            if kept > 0:
                self.add(entry, first, kept, kept * CHUNK_BYTES)

    def forget(self, entry: int, chunks: Iterable[int]) -> int:
        """Takes some chunks of a file out again; returns how many bytes went."""
        cut = self.cut(entry)
        gone = sorted({c for c in chunks if self.holds(entry, c)})
        n_bytes = sum(cut.length(c) for c in gone)
        left = RangeSet(((a, a + n) for a, n in self.ranges(entry)), packed=True)
        for chunk in gone:
            left.remove(chunk, chunk + 1)
        if self._sizes[entry] == UNKNOWN_SIZE:
            self._loose[entry] = self._loose.get(entry, self.size_of(entry)) - n_bytes
        if self.is_complete(entry) and gone:
            self._complete[entry >> 3] &= ~(1 << (entry & 7))
            self.n_complete -= 1
        if gone:
            self._partial[entry] = left
        self.verified_bytes -= n_bytes
        return n_bytes

    def is_complete(self, entry: int) -> bool:
        return bool(self._complete[entry >> 3] & (1 << (entry & 7)))

    def holds(self, entry: int, chunk: int) -> bool:
        if self.is_complete(entry):
            return True
        held = self._partial.get(entry)
        return held is not None and chunk in held

    def holds_any(self, entry: int) -> bool:
        """Something of it is there."""
        return self.is_complete(entry) or entry in self._partial

    def ranges(self, entry: int) -> list[tuple[int, int]]:
        """``(first, n)`` of what is there, ascending."""
        if self.is_complete(entry):
            return [(0, self.cut(entry).n_chunks)]
        return [(a, b - a) for a, b in self._partial.get(entry, ())]

    def missing(self, entry: int) -> list[tuple[int, int]]:
        """``(first, n)`` of what is not there, ascending. For a file of known size."""
        if self.is_complete(entry):
            return []
        total = self.cut(entry).n_chunks
        held = self._partial.get(entry)
        gaps = held.gaps(0, total) if held is not None else [(0, total)] if total else []
        return [(a, b - a) for a, b in gaps]

    def held_entries(self) -> Iterator[int]:
        """Entries of which something is there, ascending."""
        partial = sorted(entry for entry, held in self._partial.items() if held)
        at = 0
        for i, bits in enumerate(self._complete):
            upper = (i + 1) * 8
            here = [i * 8 + k for k in range(8) if bits & (1 << k)] if bits else []
            while at < len(partial) and partial[at] < upper:
                here.append(partial[at])
                at += 1
            yield from sorted(here)

    @property
    def is_everything(self) -> bool:
        return self.n_complete == self.n_wanted

    def _settle(self, entry: int) -> bool:
        size = self.size_of(entry)
        held = self._partial.get(entry)
        if size == UNKNOWN_SIZE or self.is_complete(entry):
            return False
        if (held.total if held is not None else 0) < Cut(size).n_chunks:
            return False
        if self._loose.get(entry, size) != size:  # chunks of a stream that leave holes
            return False
        self._partial.pop(entry, None)
        self._complete[entry >> 3] |= 1 << (entry & 7)
        self.n_complete += 1
        return True


def _n_bytes(cut: Cut, held: RangeSet) -> int:
    total = held.total * CHUNK_BYTES
    tail = cut.n_chunks - 1
    if tail in held:
        total -= CHUNK_BYTES - cut.length(tail)
    return total
