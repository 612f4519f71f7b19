"""Plans what a sender reads next: everything that the receiver lacks, in listing order, in batches.

Spec: transfer §5, §6.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

from wraith.content.chunking import Cut, n_whole_chunks, runs_of
from wraith.content.inventory import Inventory
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

    def on_read(self, entry: int, n_chunks: int) -> bool:
        """So many chunks of what was to be read of ``entry`` were there. True for a stream, which
        goes on behind them and may have ended."""
        is_stream = entry in self._stream_next
        if is_stream:
            self._stream_next[entry] += n_chunks
        return is_stream

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
            cut = Cut(self._sizes[piece.entry])
            if not cut.is_known:
                if not pieces and not is_reading:
                    return ReadBatch((piece,), READ_BYTES)
                self._put_back = piece
                break
            length = cut.n_bytes(piece.first, piece.n)
            if pieces and n_bytes + length > READ_BYTES:
                self._put_back = piece
                break
            pieces.append(piece)
            n_bytes += length
        return ReadBatch(tuple(pieces), n_bytes) if pieces else None

    def _all_pieces(self) -> Iterator[Piece]:
        step = n_whole_chunks(READ_BYTES)
        for entry, size in enumerate(self._sizes):
            if not size or self._is_skipped(entry):
                continue
            cut = Cut(size)
            if not cut.is_known:
                yield from self._stream_pieces(entry, cut, step)
            elif cut.is_small:  # the common case of many small files
                if not self._held.is_complete(entry) and entry not in self._failed:
                    yield Piece(entry, 0, 1)
            else:
                for first, n in self._held.missing(entry):
                    for run_first, run_n in runs_of(first, n, step):
                        if entry in self._failed:
                            break
                        yield Piece(entry, run_first, run_n)

    def _stream_pieces(self, entry: int, cut: Cut, step: int) -> Iterator[Piece]:
        # From the first hole on: what lies behind it is there only if damage was found before it.
        ranges = self._held.ranges(entry)
        self._stream_next[entry] = ranges[0][1] if ranges and ranges[0][0] == 0 else 0
        while self._stream_next[entry] < cut.n_chunks and entry not in self._failed:
            yield Piece(entry, self._stream_next[entry], step)
            if self._held.cut(entry).is_known:
                break

    def _is_in_stream(self) -> bool:
        return any(
            not self._held.cut(entry).is_known and entry not in self._failed
            for entry in self._stream_next
        )
