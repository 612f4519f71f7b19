"""The journal of a receiver on a disk: opening, replaying, appending (format: transfer/resume.py).

Spec: transfer §8.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from dataclasses import dataclass, field
from typing import Final

from wraith.aio.disk.descriptor import OwnsDescriptor
from wraith.aio.disk.digest_file import DigestFile
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.suspect import flush
from wraith.content.chunking import NO_SIZE_YET, Cut
from wraith.content.inventory import Inventory
from wraith.errors import UnsafePath
from wraith.transfer.journal_records import (
    EVERY_ENTRY,
    Choice,
    CompleteMark,
    Dropped,
    FileDone,
    JournalHeader,
    OnExists,
    Placing,
    Verified,
    replay,
)
from wraith.transfer.path_rules import PathRules, check_path

JOURNAL: Final = b"journal"
_HEADER_BYTES_MAX: Final = 8_192


@dataclass(slots=True)
class Loaded:
    """What a journal says: what is there, which files are finished, where top names go. ``read``
    has a bit for each entry whose data were read again since; empty: none. ``void``: why nothing
    of an earlier run is believed. ``end``: bytes of the journal up to the end of its last whole
    record. ``on_exists``: the choices that hold, by entry."""

    inventory: Inventory
    finished: bytearray
    placing: dict[int, bytes]
    header: JournalHeader | None = None
    is_complete: bool = False
    on_exists: dict[int, Choice] = field(default_factory=dict)
    read: bytearray = field(default_factory=bytearray)
    void: str = ""
    end: int = 0


class Journal(OwnsDescriptor):
    """Appends records; a failed append leaves no half of one behind."""

    def __init__(self, folder: PrivateFolder, end: int | None = None) -> None:
        """Opens the journal in ``folder`` and cuts a torn tail off. [TR-51]

        Args:
            end: where its last whole record ends, if that is known.
        """
        self.disk = folder.disk
        self._end = 0
        self.fd = folder.open_file(JOURNAL, os.O_RDWR | os.O_APPEND)
        if end is not None:
            self._end = end
        elif self.disk.fstat(self.fd).st_size:
            with self.disk.mmap(self.fd) as view:
                for _, self._end in replay(view):
                    pass
        self.disk.ftruncate(self.fd, self._end)

    def append(self, data: bytes | bytearray) -> None:
        """Raises ``OSError`` (a full disk) with nothing of ``data`` in the file."""
        view = memoryview(data)
        try:
            while view:
                view = view[self.disk.write(self.fd, view) :]
        except OSError:
            # Half a record would hide every later one from the next replay.
            with contextlib.suppress(OSError):
                self.disk.ftruncate(self.fd, self._end)
            raise
        self._end += len(data)

    def sync(self) -> None:
        """Raises ``FlushFailed``."""
        flush(self.disk, self.fd)


class _Run:
    """Neighbouring records of one file, taken as one: a large file has thousands of them."""

    def __init__(self, loaded: Loaded, sizes: array[int], digests: DigestFile | None) -> None:
        self._inventory = loaded.inventory
        self._sizes = sizes
        self._digests = digests
        self._entry = self._first = self._next = 0
        self._cut = NO_SIZE_YET
        self._held: list[bytes] = []

    def add(self, record: Verified) -> None:
        """A record that speaks of what the file does not have is left out."""
        entry, first, n = record.entry, record.first, record.n
        if not self._held or entry != self._entry or first != self._next:
            self.end()
            if entry >= len(self._sizes):
                return
            self._entry, self._first, self._next = entry, first, first
            self._cut = Cut(self._sizes[entry])
        if first + n <= self._cut.n_chunks:
            self._held.append(record.digests)
            self._next += n
            if not self._cut.is_known:
                self.end()  # its bytes are counted by record

    def end(self) -> None:
        if not self._held:
            return
        entry, first, n = self._entry, self._first, self._next - self._first
        self._inventory.add(entry, first, n, self._cut.n_bytes(first, n))
        if self._digests is not None:
            self._digests.put(entry, first, b"".join(self._held))
        self._held.clear()


def load_journal(folder: PrivateFolder, sizes: array[int], digests: DigestFile | None) -> Loaded:
    """Replays the journal in ``folder`` for a listing with these ``sizes``; fills ``digests``."""
    loaded = Loaded(Inventory(sizes), bytearray(len(sizes)), {})
    inventory = loaded.inventory
    disk = folder.disk
    fd = folder.open_file(JOURNAL, os.O_RDONLY)
    try:
        if not disk.fstat(fd).st_size:
            return loaded
        with disk.mmap(fd) as view:
            run = _Run(loaded, sizes, digests)
            for record, loaded.end in replay(view):
                if isinstance(record, Verified):
                    run.add(record)
                    continue
                run.end()
                match record:
                    case Dropped(entry) if entry < len(sizes):
                        inventory.drop(entry)
                        loaded.finished[entry] = 0
                    case FileDone(entry, size, _) if entry < len(sizes):
                        loaded.finished[entry] = 1
                        inventory.add_whole(entry, size)
                    case Placing(entry, name) if entry < len(sizes) and _is_top_name(name):
                        loaded.placing[entry] = name
                    case OnExists(entry, choice) if entry == EVERY_ENTRY:
                        loaded.on_exists = {entry: choice}
                    case OnExists(entry, choice) if entry < len(sizes):
                        loaded.on_exists[entry] = choice
                    case CompleteMark():
                        loaded.is_complete = True
                    case JournalHeader():
                        loaded.header = record
                    case _:
                        pass
            run.end()
    finally:
        disk.close(fd)
    return loaded


def _is_top_name(name: bytes) -> bool:
    """Whether a journalled name may stand in the target folder: judged as if a peer had sent it,
    because what lies on a disk is not known to be ours for its place alone. [TR-125]"""
    try:
        check_path(name, PathRules())
    except UnsafePath:
        return False
    return b"/" not in name


def read_header(folder: PrivateFolder) -> JournalHeader | None:
    """The header of the journal in ``folder``; ``None`` if there is no such journal."""
    try:
        first = next(replay(folder.read(JOURNAL, _HEADER_BYTES_MAX)), None)
    except OSError:
        return None
    return first[0] if first is not None and isinstance(first[0], JournalHeader) else None
