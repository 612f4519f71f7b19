"""Writes received chunks into the files of one state folder, and closes the files that are whole.

Every chunk is verified before a byte of it is written, its journal record follows the bytes, and
nothing is hashed again at the end. It blocks; one thread uses it.

Spec: transfer §7 [TR-56], §8.
"""

from __future__ import annotations

import os
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from wraith.aio.disk.chunk_runs import (
    begin_writeback,
    n_verified,
    parts_of,
    reserve,
    runs,
    write_all,
)
from wraith.aio.disk.state_folder import StateFolder
from wraith.aio.disk.suspect import flush
from wraith.content.chunking import file_id
from wraith.errors import HashMismatch
from wraith.transfer.chunk_records import ChunkRecord
from wraith.transfer.journal_records import Dropped, FileDone, encode_record, encode_verified
from wraith.transfer.listing import Entry
from wraith.transfer.path_rules import display_path

FILES_KEPT: Final = 16
"""Files that are open at a time."""
FSYNC_BYTES_MIN: Final = 1024 * 1024
"""A file above this gets its place on the disk at its first chunk, and is flushed when it is
whole."""


class ChunkWriter:
    """See the module.

    Args:
        state: where the files, the journal and the digests lie; it must be open.
        sizes: of every entry, as the listing says them.
        finished: one byte per entry: 1 for those that an earlier run has finished.
        umask: taken away from the modes of files.
    """

    def __init__(
        self, state: StateFolder, sizes: array[int], finished: bytearray, umask: int
    ) -> None:
        self._state = state
        self._disk = state.disk
        self._sizes = sizes
        self._finished = finished
        self._umask = umask
        self._open: OrderedDict[int, int] = OrderedDict()

    def close(self) -> None:
        """Closes the files that are open; what is in them stays."""
        while self._open:
            self._disk.close(self._open.popitem()[1])

    def is_finished(self, number: int) -> bool:
        """The file is whole and closed."""
        return bool(self._finished[number])

    def write(self, records: Iterable[ChunkRecord]) -> None:
        """Verifies, then writes, run by run, with one journal append for all. A bad chunk keeps
        what stands before it. [TR-56]"""
        journal = bytearray()
        bad: HashMismatch | None = None
        try:
            for run in runs(records):
                n_good = n_verified(run)
                if n_good:
                    self._write_run(run[:n_good], journal)
                if n_good < len(run):
                    record = run[n_good]
                    name = display_path(self._entry(record.entry).path)
                    bad = HashMismatch(name, record.chunk)
                    break
        finally:
            self._state.journal.append(bytes(journal))
        if bad is not None:
            raise bad

    def finish(self, number: int, size: int) -> None:
        """All chunks of the file are there."""
        if self._finished[number]:
            return
        journal = bytearray()
        whole = self._state.digests.file_id(number, size)
        self._close_file(number, self._entry(number), size, whole, journal)
        self._state.journal.append(bytes(journal))

    def drop(self, entries: Sequence[int]) -> None:
        """Forgets what is there of these."""
        journal = b"".join(encode_record(Dropped(number)) for number in entries)
        self._state.journal.append(journal)
        for number in entries:
            fd = self._open.pop(number, None)
            if fd is not None:
                self._disk.close(fd)
            self._finished[number] = 0
            self._state.data.unlink(self._entry(number).path)

    def forget(self, chunks: Iterable[tuple[int, int]]) -> None:
        """Journals that these ``(entry, chunk)`` are not what was verified."""
        bad: dict[int, list[int]] = {}
        for number, chunk in chunks:
            bad.setdefault(number, []).append(chunk)
        for number, held in bad.items():
            fd = self._open.pop(number, None)
            if fd is not None:
                self._disk.close(fd)
            self._finished[number] = 0
            self._state.forget(number, held, self._sizes)

    # --- inside ---------------------------------------------------------------------------------

    def _write_run(self, run: list[ChunkRecord], journal: bytearray) -> None:
        first = run[0]
        entry = self._entry(first.entry)
        fd = self._file(first.entry, entry)
        cut = entry.cut
        at = cut.offset(first.chunk)
        n_bytes = sum(record.length for record in run)
        write_all(self._disk, fd, parts_of(run), at)
        begin_writeback(self._disk, fd, at, at + n_bytes)
        digests = b"".join(record.digest for record in run)
        self._state.digests.put(first.entry, first.chunk, digests)
        journal += encode_verified(first.entry, first.chunk, digests)
        if cut.is_small:
            self._close_file(first.entry, entry, entry.size, file_id(entry.size, digests), journal)

    def _entry(self, number: int) -> Entry:
        return self._state.listing.entry(number)

    def _file(self, number: int, entry: Entry) -> int:
        fd = self._open.get(number)
        if fd is None:
            fd = self._state.data.open(entry.path, os.O_RDWR | os.O_CREAT, create=True)
            self._open[number] = fd
            if (size := entry.cut.size_or(0)) > FSYNC_BYTES_MIN:
                reserve(self._disk, fd, size)
            if len(self._open) > FILES_KEPT:
                self._disk.close(self._open.popitem(last=False)[1])
        return fd

    def _close_file(
        self, number: int, entry: Entry, size: int, whole: bytes, journal: bytearray
    ) -> None:
        """All chunks are there: mode, time, one fsync for a large one."""
        fd = self._file(number, entry)
        if not entry.cut.is_small:
            self._disk.ftruncate(fd, size)
        self._disk.fchmod(fd, entry.mode & ~self._umask)
        self._disk.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        if size > FSYNC_BYTES_MIN:
            flush(self._disk, fd)
        del self._open[number]
        self._disk.close(fd)
        self._finished[number] = 1
        journal += encode_record(FileDone(number, size, whole))
