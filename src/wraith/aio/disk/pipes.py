"""Transfers that have no file at one end: standard input as a source, standard output as a target.

Neither can go back: a source keeps the last 64 MiB that it sent, so that a receiver that reconnects
can go on if it lacks no more; a target writes in order and starts over never.

Spec: transfer §11.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

from wraith.aio.disk.digest_file import DigestFile
from wraith.aio.disk.failures import temporary_file
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.content.chunking import (
    DIGEST_BYTES,
    NO_SIZE_YET,
    Cut,
    chunk_digest,
    file_id,
    n_whole_chunks,
    parts_digest,
    size_field,
    verify_chunk,
)
from wraith.content.inventory import Inventory
from wraith.errors import OfferRefused, WraithError
from wraith.transfer.answers import AllPlaced, PiecesRead, StoreOpened, SurveyResult
from wraith.transfer.chunk_records import ChunkRecordWriter
from wraith.transfer.listing import Entry, Kind, ListingWriter, decode_page
from wraith.transfer.messages import HaveItem, OfferKind
from wraith.transfer.path_rules import PathRules, check_path, display_path
from wraith.transfer.reasons import DiskFailed, TooLate
from wraith.transfer.sender import Outgoing
from wraith.transfer.wishes import (
    CheckRanges,
    Complete,
    DropFiles,
    FinishFiles,
    OpenStore,
    Piece,
    ReadPages,
    ReadPieces,
    RemoveState,
    Store,
    StorePages,
    SummariseRanges,
    Survey,
    WritePieces,
)

SPOOL_BYTES = 64 * 1024 * 1024
SPOOL_CHUNKS = n_whole_chunks(SPOOL_BYTES)


class StreamSource(Store):
    """Offers what can be read from ``fd`` (owned by the caller) as one file called ``name``."""

    def __init__(self, fd: int, name: str = "stdin", *, disk: Disk = OS_DISK) -> None:
        self.disk = disk
        raw = os.fsencode(name)
        check_path(raw, PathRules())
        writer = ListingWriter()
        writer.add(Entry(Kind.FILE, 0o644, 0, size_field(None), raw))
        page = writer.finish()
        assert page is not None
        self._page = page
        self.outgoing = Outgoing(writer.index, OfferKind.STREAM, raw[:255])
        self._fd = fd
        self._digests = DigestFile(writer.index.sizes, disk=disk)
        self._spool_fd = temporary_file(disk)
        self._n_read = 0
        self._cut = NO_SIZE_YET

    def close(self) -> None:
        if self._spool_fd >= 0:
            fd, self._spool_fd = self._spool_fd, -1  # closed, whatever the disk says of it
            self.disk.close(fd)
            self._digests.close()

    def disk_error(self, exc: OSError) -> WraithError:
        return DiskFailed(f"reading the input failed: {exc.strerror}")

    def read_pages(self, wish: ReadPages) -> list[bytes]:
        return [self._page]

    def check_ranges(self, wish: CheckRanges) -> list[bool]:
        return [self._check(item) for item in wish.items]

    def read_pieces(self, wish: ReadPieces) -> PiecesRead:
        """Blocks for as long as the input does."""
        piece = wish.pieces[0]
        writer = ChunkRecordWriter()
        payload = n_chunks = 0
        for chunk in range(piece.first, piece.first + piece.n):
            if chunk >= self._n_read and n_chunks and not self._is_ready():
                break  # send what is there; the rest when it comes
            data = self._chunk(chunk)
            if not data:
                break
            digest = chunk_digest(data)
            writer.add(0, chunk, data, digest)
            self._digests.put(0, chunk, digest)
            payload += len(data)
            n_chunks += 1
        return PiecesRead(writer.finish(), payload, n_chunks, (), self._final(piece, n_chunks))

    def file_id(self, number: int) -> bytes:
        """The id of the whole stream, once it has ended."""
        del number
        return self._digests.file_id(0, self._cut.size_or(0))

    def _final(self, piece: Piece, n_chunks: int) -> int | None:
        """The size, if this read reached the end of the input."""
        return None if piece.first + n_chunks < self._n_read else self._cut.size

    def _chunk(self, chunk: int) -> bytes:
        if chunk < self._n_read:
            if chunk < self._n_read - SPOOL_CHUNKS:
                raise TooLate()
            return self.disk.pread(self._spool_fd, self._cut.length(chunk), self._spool_at(chunk))
        if self._cut.is_known:
            return b""
        data = bytearray()
        while left := self._cut.length(self._n_read) - len(data):
            got = os.read(self._fd, left)
            if not got:
                self._cut = Cut(self._cut.offset(self._n_read) + len(data))
                break
            data += got
        if data:
            self.disk.pwrite(self._spool_fd, data, self._spool_at(chunk))
            self._n_read += 1
        return bytes(data)

    def _spool_at(self, chunk: int) -> int:
        return self._cut.offset(chunk % SPOOL_CHUNKS)

    def _is_ready(self) -> bool:
        if self._cut.is_known:
            return True
        try:
            return bool(select.select([self._fd], [], [], 0)[0])
        except (OSError, ValueError):
            return True

    def _check(self, item: HaveItem) -> bool:
        if item.ranges[-1][0] + item.ranges[-1][1] > self._n_read:
            return False
        return self._digests.summary(0, item.ranges) == item.digest


class PipeTarget(Store):
    """Writes the one file of an offer to ``fd`` (owned by the caller), in order."""

    def __init__(self, fd: int) -> None:
        self.rules = PathRules()
        self.note = ""
        self._fd = fd
        self._entries: list[Entry] = []
        self._number = 0
        self._next = 0
        self._written = 0
        self._digests = bytearray()
        self._inventory: Inventory | None = None

    def close(self) -> None:
        """Nothing to close; the descriptor is the caller's."""

    def disk_error(self, exc: OSError) -> WraithError:
        return DiskFailed(f"writing the output failed: {exc.strerror}")

    def entries(self, digest: bytes | None = None) -> Iterator[Entry]:
        """The listing last received, which has one entry at most."""
        del digest
        yield from list(self._entries)

    def store_pages(self, wish: StorePages) -> None:
        self._entries = [] if wish.first == 0 else self._entries
        for page in wish.pages:
            self._entries += decode_page(page)
            if len(self._entries) > 1:
                raise OfferRefused("only a single file can go to standard output")

    def survey(self, wish: Survey) -> SurveyResult:
        if len(self._entries) != 1 or self._entries[0].kind is not Kind.FILE:
            raise OfferRefused("only a single file can go to standard output")
        return SurveyResult(place="-")

    def open_store(self, wish: OpenStore) -> StoreOpened:
        if self._inventory is None:
            self._inventory = Inventory(wish.sizes)
        elif self._next:
            raise OfferRefused("another file is on its way to standard output already")
        return StoreOpened(self._inventory)

    def summarise_ranges(self, wish: SummariseRanges) -> list[bytes]:
        return [
            parts_digest(
                self._digests[first * DIGEST_BYTES : (first + n) * DIGEST_BYTES]
                for first, n in ranges
            )
            for _, ranges in wish.items
        ]

    def drop_files(self, wish: DropFiles) -> None:
        if self._next:
            raise DiskFailed("the file changed, and what was written cannot be undone")

    def finish_files(self, wish: FinishFiles) -> None:
        """What a pipe has taken is finished."""

    def complete(self, wish: Complete) -> AllPlaced:
        size = self._entries[0].cut.size_or(self._written)
        whole = file_id(size, self._digests)
        return AllPlaced(("-",), file_ids=((self._entries[0].path, whole),))

    def remove_state(self, wish: RemoveState) -> None:
        """A pipe has none."""

    def write_pieces(self, wish: WritePieces) -> None:
        """Blocks while the pipe is full."""
        for record in wish.records:
            if record.chunk != self._next:
                raise DiskFailed("chunks came out of order, which a pipe cannot take")
            name = display_path(self._entries[record.entry].path)
            verify_chunk(record.parts, record.digest, file=name, chunk=record.chunk)
            for part in record.parts:
                left = part
                while left:
                    left = left[os.write(self._fd, left) :]
            self._digests += record.digest
            self._written += record.length
            self._next += 1
