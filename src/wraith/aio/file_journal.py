"""The journal of a receiver on a disk: opening, replaying, appending (format: transfer/resume.py).

Spec: transfer §8.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from array import array
from dataclasses import dataclass

from wraith.aio.digest_file import DigestFile
from wraith.content.chunking import CHUNK_BYTES, UNKNOWN_SIZE, n_chunks
from wraith.transfer.inventory import Inventory
from wraith.transfer.resume import (
    CompleteMark,
    Dropped,
    FileDone,
    JournalHeader,
    Placing,
    Verified,
    replay,
)


@dataclass(slots=True)
class Loaded:
    """What a journal says: what is there, which files are finished, where top names go."""

    inventory: Inventory
    finished: bytearray
    placing: dict[int, bytes]
    header: JournalHeader | None = None
    is_complete: bool = False


class Journal:
    """Appends records; a failed append leaves no half of one behind."""

    def __init__(self, path: bytes) -> None:
        """Opens the journal at ``path`` and cuts a torn tail off. [TR-51]"""
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._end = 0
        if os.fstat(self._fd).st_size:
            with (
                mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ) as data,
                memoryview(data) as view,
            ):
                for _, end in replay(view):
                    self._end = end
        os.ftruncate(self._fd, self._end)

    def append(self, data: bytes | bytearray) -> None:
        """Raises ``OSError`` (a full disk) with nothing of ``data`` in the file."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            # Half a record would hide every later one from the next replay.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._end)
            raise
        self._end += len(data)

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def load_journal(path: bytes, sizes: array[int], digests: DigestFile | None) -> Loaded:
    """Replays the journal at ``path`` for a listing with these ``sizes``; fills ``digests``."""
    loaded = Loaded(Inventory(sizes), bytearray(len(sizes)), {})
    inventory = loaded.inventory
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return loaded
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            for record, _ in replay(view):
                match record:
                    case Verified(entry, first, held) if entry < len(sizes):
                        if first + record.n > n_chunks(sizes[entry]):
                            continue
                        loose = record.n * CHUNK_BYTES if sizes[entry] == UNKNOWN_SIZE else None
                        inventory.add(entry, first, record.n, loose)
                        if digests is not None:
                            digests.put(entry, first, held)
                    case Dropped(entry) if entry < len(sizes):
                        inventory.drop(entry)
                        loaded.finished[entry] = 0
                    case FileDone(entry, size, _) if entry < len(sizes):
                        loaded.finished[entry] = 1
                        if sizes[entry] == UNKNOWN_SIZE:
                            inventory.drop(entry)
                            inventory.set_final_size(entry, size)
                            inventory.add(entry, 0, n_chunks(size))
                    case Placing(entry, name):
                        loaded.placing[entry] = name
                    case CompleteMark():
                        loaded.is_complete = True
                    case JournalHeader():
                        loaded.header = record
                    case _:
                        pass
    return loaded


def read_header(path: bytes) -> JournalHeader | None:
    """The header of the journal at ``path``; ``None`` if there is no such journal."""
    try:
        with open(path, "rb") as file:
            first = next(replay(file.read(8_192)), None)
    except OSError:
        return None
    return first[0] if first is not None and isinstance(first[0], JournalHeader) else None
