"""What a sender reads next: everything that the receiver lacks, in listing order, in batches.

Spec: transfer §5, §6.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

from wraith.content.chunking import CHUNK_BYTES, MAX_CHUNKS, UNKNOWN_SIZE
from wraith.transfer.inventory import Inventory
from wraith.transfer.wishes import Piece

READ_BYTES = 4 * 1024 * 1024
READ_PIECES_MAX = 512


class ReadBatch(NamedTuple):
    """Pieces for one wish and how many bytes they will bring; no more than one piece of an entry
    of unknown size, and then nothing else."""

    pieces: tuple[Piece, ...]
    n_bytes: int


class ReadPlan:
    """Goes once through a listing.

    Args:
        sizes: of every entry.
        held: what the receiver has.
        is_skipped: entries that it does not want.
        failed: entries that will not be sent; may grow.
    """

    def __init__(
        self,
        sizes: array[int],
        held: Inventory,
        is_skipped: Callable[[int], bool],
        failed: Container[int],
    ) -> None:
        self.is_ended = False
        self._sizes = sizes
        self._held = held
        self._is_skipped = is_skipped
        self._failed = failed
        self._pieces = self._all_pieces()
        self._put_back: Piece | None = None
        self._stream_next: dict[int, int] = {}

    def on_stream_read(self, entry: int, n_chunks: int) -> None:
        """So many chunks of an entry of unknown size were there."""
        self._stream_next[entry] += n_chunks

    def next_batch(self, *, is_reading: bool) -> ReadBatch | None:
        """What to read next; ``None`` at the end, or while a stream has to wait for the answer
        (``is_reading``: one is under way) that says where it goes on."""
        pieces: list[Piece] = []
        n_bytes = 0
        while n_bytes < READ_BYTES and len(pieces) < READ_PIECES_MAX:
            piece = self._put_back
            self._put_back = None
            if piece is None:
                if is_reading and self._is_in_stream():
                    break
                piece = next(self._pieces, None)
                if piece is None:
                    self.is_ended = True
                    break
            size = self._sizes[piece.entry]
            if size == UNKNOWN_SIZE:
                if not pieces and not is_reading:
                    return ReadBatch((piece,), READ_BYTES)
                self._put_back = piece
                break
            length = min(piece.n * CHUNK_BYTES, size - piece.first * CHUNK_BYTES)
            if pieces and n_bytes + length > READ_BYTES:
                self._put_back = piece
                break
            pieces.append(piece)
            n_bytes += length
        return ReadBatch(tuple(pieces), n_bytes) if pieces else None

    def _all_pieces(self) -> Iterator[Piece]:
        step = READ_BYTES // CHUNK_BYTES
        for entry, size in enumerate(self._sizes):
            if not size or self._is_skipped(entry):
                continue
            if size == UNKNOWN_SIZE:
                yield from self._stream_pieces(entry, step)
            elif size <= CHUNK_BYTES:  # the common case of many small files
                if not self._held.is_complete(entry) and entry not in self._failed:
                    yield Piece(entry, 0, 1)
            else:
                for first, n in self._held.missing(entry):
                    for at in range(first, first + n, step):
                        if entry in self._failed:
                            break
                        yield Piece(entry, at, min(step, first + n - at))

    def _stream_pieces(self, entry: int, step: int) -> Iterator[Piece]:
        # From the first hole on: what lies behind it is there only if damage was found before it.
        ranges = self._held.ranges(entry)
        self._stream_next[entry] = ranges[0][1] if ranges and ranges[0][0] == 0 else 0
        while self._stream_next[entry] < MAX_CHUNKS and entry not in self._failed:
            yield Piece(entry, self._stream_next[entry], step)
            if self._held.size_of(entry) != UNKNOWN_SIZE:
                break

    def _is_in_stream(self) -> bool:
        return any(
            self._held.size_of(entry) == UNKNOWN_SIZE and entry not in self._failed
            for entry in self._stream_next
        )
